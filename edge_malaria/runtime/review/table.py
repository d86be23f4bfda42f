"""Decisions as a CSV table, for people without a screen and for other programs."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from edge_malaria.errors import DataError
from edge_malaria.files import write_text
from edge_malaria.runtime.review.session import ReviewSession
from edge_malaria.runtime.slide.lines import ReviewDecision
from edge_malaria.runtime.slide.review import reader_name

COLUMNS = (
    "field", "index", "x0", "y0", "x1", "y1", "p_parasitized", "decision", "reader", "at",
)  # fmt: skip
# A table may not withdraw: an empty decision says nothing.
DECISIONS = ("parasite", "no-parasite", "unsure")


@dataclass(frozen=True)
class _Row:
    field: str
    index: int
    decision: ReviewDecision
    reader: str
    at: str


def table_of(session: ReviewSession) -> str:
    """A row for each flagged cell and reader who decided on it; one without where nobody did."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(COLUMNS)
    for cell in session.cells:
        head = [cell.field, cell.index, *cell.box, f"{cell.p_parasitized:.5f}"]
        standing = session.review.decisions(cell.key)
        for reader, line in sorted(standing.items()):
            table.writerow([*head, line.decision, reader, line.at])
        if not standing:
            table.writerow([*head, "", "", ""])
    return out.getvalue()


def export_table(session: ReviewSession, path: Path) -> None:
    """Writes the table to ``path``.

    Raises:
        StorageError: not writable.
    """
    write_text(path, table_of(session))


def import_table(session: ReviewSession, path: Path, reader: str = "") -> int:
    """Takes up the decisions of a table: all, or none where one of them cannot be.

    Args:
        session: the slide's review.
        path: of the table; rows with an empty decision say nothing.
        reader: who decided, where a row does not say.

    Returns:
        How many decisions were new.

    Raises:
        DataError: not readable, no such table, or a row that does not fit; names its line.
        StorageError: disk full or not writable.
    """
    rows = _read(session, path, reader)
    taken = 0
    for row in rows:
        standing = session.review.decisions((row.field, row.index)).get(row.reader)
        if standing is not None and standing.decision == row.decision:
            continue
        session.decide(row.field, row.index, row.decision, row.reader, row.at)
        taken += 1
    return taken


def _read(session: ReviewSession, path: Path, reader: str) -> list[_Row]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no UTF-8 text: save the table as CSV (UTF-8).") from error
    table = csv.DictReader(io.StringIO(text, newline=""))
    missing = [name for name in COLUMNS if name not in (table.fieldnames or ())]
    if missing:
        raise DataError(f"{path}: expected the columns {', '.join(COLUMNS)}; no {missing[0]!r}.")
    boxes = {cell.key: cell.box for cell in session.cells}
    rows = []
    for number, row in enumerate(table, 2):
        if not (row["decision"] or "").strip():
            continue
        try:
            rows.append(_row(row, reader, boxes))
        except ValueError as error:
            raise DataError(f"{path}, line {number}: {error}. Nothing was taken up.") from error
    return rows


def _row(
    row: dict[str, str], reader: str, boxes: dict[tuple[str, int], tuple[int, int, int, int]]
) -> _Row:
    decision = row["decision"].strip()
    if decision not in DECISIONS:
        raise ValueError(f"expected a decision of {', '.join(DECISIONS)}, got {decision!r}")
    key = (row["field"], int(row["index"]))
    if key not in boxes:
        raise ValueError(f"cell {key[1]} of {key[0]} is not flagged on this slide")
    box = tuple(int(row[name]) for name in ("x0", "y0", "x1", "y1"))
    if box != boxes[key]:
        raise ValueError(f"expected the box {boxes[key]}, got {box}: another slide's table?")
    who = (row["reader"] or "").strip() or reader
    if not who:
        raise ValueError("no reader: fill in the column or give --reader NAME")
    at = (row["at"] or "").strip()
    return _Row(*key, cast("ReviewDecision", decision), reader_name(who), at)
