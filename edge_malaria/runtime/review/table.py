"""Decisions as a CSV table, for people without a screen and for other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from edge_malaria.data.tables import read_table
from edge_malaria.errors import DataError
from edge_malaria.files import csv_text, from_csv_text, write_text
from edge_malaria.runtime.review.session import ReviewSession
from edge_malaria.runtime.slide.lines import ReviewDecision
from edge_malaria.runtime.slide.review import CellKey, FlaggedCell, reader_name

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
        head = [csv_text(cell.field), cell.index, *cell.box, f"{cell.p_parasitized:.5f}"]
        standing = session.review.decisions(cell.key)
        for reader, line in sorted(standing.items()):
            table.writerow([*head, line.decision, csv_text(reader), line.at])
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
        path: of the table, as Excel too writes it; rows with an empty decision say nothing.
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
    table = read_table(path, COLUMNS)
    # Tables are read without surrounding blanks; a file's name may have some.
    cells = {(cell.field.strip(), cell.index): cell for cell in session.cells}
    rows = []
    for number, row in zip(table.lines, table.records, strict=True):
        if not row["decision"]:
            continue
        try:
            rows.append(_row(row, reader, cells))
        except ValueError as error:
            raise DataError(f"{path}, line {number}: {error}. Nothing was taken up.") from error
    return rows


def _row(row: Mapping[str, str], reader: str, cells: Mapping[CellKey, FlaggedCell]) -> _Row:
    decision = row["decision"]
    if decision not in DECISIONS:
        raise ValueError(f"expected a decision of {', '.join(DECISIONS)}, got {decision!r}")
    key = (from_csv_text(row["field"]), int(row["index"]))
    cell = cells.get(key)
    if cell is None:
        raise ValueError(f"cell {key[1]} of {key[0]} is not flagged on this slide")
    box = tuple(int(row[name]) for name in ("x0", "y0", "x1", "y1"))
    if box != tuple(cell.box):
        raise ValueError(f"expected the box {tuple(cell.box)}, got {box}: another slide's table?")
    who = from_csv_text(row["reader"]) or reader
    if not who:
        raise ValueError("no reader: fill in the column or give --reader NAME")
    return _Row(*cell.key, cast("ReviewDecision", decision), reader_name(who), row["at"])
