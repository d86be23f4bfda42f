"""What a batch leaves: ``slides.csv``, ``slides.parquet`` and ``summary.json``."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_malaria.batch.slide_task import Row
from edge_malaria.errors import MissingExtra
from edge_malaria.files import csv_text, write_bytes, write_json, write_text
from edge_malaria.metrics import wilson_interval

COLUMNS = (
    "slide", "verdict", "basis", "cells_counted", "cells_positive", "parasitemia", "low", "high",
    "limit_of_detection", "status", "reason",
)  # fmt: skip


def write_tables(out: Path, rows: Sequence[Row]) -> dict[str, Any]:
    """Writes all three; returns the summary.

    Raises:
        MissingExtra: pyarrow is not installed (the other two are written).
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        values = row.as_json()
        writer.writerow([_cell(values[name]) for name in COLUMNS])
    write_text(out / "slides.csv", text.getvalue())
    found = summary(rows)
    write_json(out / "summary.json", found)
    _write_parquet(out / "slides.parquet", rows)
    return found


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Counts, and sensitivity and specificity by slide where another method's result is known.

    A slide that is indeterminate or failed is neither detected nor not detected: it counts against
    the rate, and its number stands beside it.
    """
    verdicts = Counter(row.verdict or row.status for row in rows)
    found: dict[str, Any] = {"slides": len(rows), "verdicts": dict(sorted(verdicts.items()))}
    for name, reference, right in (
        ("sensitivity", "positive", "parasites-detected"),
        ("specificity", "negative", "not-detected"),
    ):
        known = [row for row in rows if row.reference == reference]
        if not known:
            found[name] = None
            continue
        hits = sum(row.verdict == right for row in known)
        undecided = sum(row.verdict in ("indeterminate", "") for row in known)
        found[name] = {
            "rate": hits / len(known),
            "ci95": list(wilson_interval(hits, len(known)) or ()),
            "slides": len(known),
            "right": hits,
            "undecided": undecided,
        }
    return found


def _cell(value: object) -> object:
    if value is None:
        return ""
    return csv_text(value) if isinstance(value, str) else value


def _write_parquet(path: Path, rows: Sequence[Row]) -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtra("pyarrow, for slides.parquet,", "cluster") from error
    whole = {"cells_counted": pyarrow.int64(), "cells_positive": pyarrow.int64()}
    rates = ("parasitemia", "low", "high", "limit_of_detection")
    fields = [
        pyarrow.field(
            name, whole.get(name, pyarrow.float64() if name in rates else pyarrow.string())
        )
        for name in (*COLUMNS, "site", "reference")
    ]
    table = pyarrow.Table.from_pylist(
        [row.as_json() for row in rows], schema=pyarrow.schema(fields)
    )
    sink = io.BytesIO()
    parquet.write_table(table, sink)
    write_bytes(path, sink.getvalue())
