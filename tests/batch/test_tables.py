"""The tables of a batch and the rates by slide."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from edge_malaria.batch.manifest import Slide
from edge_malaria.batch.slide_task import (
    Row,
    failed,
)
from edge_malaria.batch.tables import COLUMNS, summary, write_tables


def test_tables_and_rates_by_slide(tmp_path: Path) -> None:
    def row(name: str, verdict: str, reference: str) -> Row:
        return Row(
            name, verdict, "reader", 100, 2, 0.02, 0.01, 0.04, 9e4, "done", "", "", reference
        )

    rows = [
        row("a", "parasites-detected", "positive"),
        row("b", "parasites-detected", "positive"),
        row("c", "indeterminate", "positive"),
        row("d", "not-detected", "negative"),
        row("e", "not-detected", ""),
        failed(Slide("f", "x", reference="negative"), "=cmd()\nbroken"),
    ]
    found = write_tables(tmp_path, rows)
    assert found == summary(rows) == json.loads((tmp_path / "summary.json").read_text())
    assert found["sensitivity"]["right"] == 2 and found["sensitivity"]["slides"] == 3
    assert found["sensitivity"]["undecided"] == 1
    assert found["specificity"]["rate"] == 0.5, "a failed slide is not one without parasites"
    low, high = found["specificity"]["ci95"]
    assert low < 0.5 < high
    table = list(csv.reader((tmp_path / "slides.csv").read_text().splitlines()))
    assert tuple(table[0]) == COLUMNS and len(table) == 7
    assert table[-1][-1] == "'=cmd() broken"
    from pyarrow import parquet

    stored = parquet.read_table(tmp_path / "slides.parquet").to_pylist()
    assert stored[0]["parasitemia"] == 0.02 and stored[-1]["verdict"] == ""
    assert stored[-1]["cells_counted"] is None and stored[-1]["reference"] == "negative"
