"""The table of flagged cells: out, filled in, and back."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from edge_malaria.errors import DataError
from edge_malaria.runtime.review.session import ReviewSession
from edge_malaria.runtime.review.table import COLUMNS, export_table, import_table


def test_a_table_goes_out_and_comes_back(session: ReviewSession, tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    export_table(session, path)
    with path.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == len(session.cells)
    scores = [float(row["p_parasitized"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    for row in rows:
        row["decision"] = "no-parasite"
    rows[0]["decision"], rows[0]["reader"] = "parasite", "Ben"
    write(path, rows)
    with pytest.raises(DataError, match="no reader"):
        import_table(session, path)
    assert import_table(session, path, "Ana") == len(rows)
    assert import_table(session, path, "Ana") == 0
    assert session.review.count().readers == ("Ana", "Ben")
    assert session.review.count().confirmed == 1
    export_table(session, path)
    with path.open(newline="") as handle:
        assert next(csv.DictReader(handle))["decision"] == "parasite"


def test_a_table_that_excel_saved_comes_back(session: ReviewSession, tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    export_table(session, path)
    with path.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    for row in rows:
        row["decision"], row["reader"] = "parasite", "'=Ana"
    lines = [";".join(COLUMNS), *(";".join(row.values()) for row in rows)]
    path.write_bytes("\r\n".join(lines).encode("utf-16"))
    assert import_table(session, path) == len(rows)
    assert session.review.count().readers == ("=Ana",)
    export_table(session, path)
    assert all(line.split(",")[-2] == "'=Ana" for line in path.read_text().splitlines()[1:])
    assert import_table(session, path) == 0, "the same decisions by the same reader"


def write(path: Path, rows: list[dict[str, str]]) -> None:
    """Writes a table."""
    with path.open("w", newline="") as handle:
        table = csv.DictWriter(handle, COLUMNS)
        table.writeheader()
        table.writerows(rows)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("decision", "yes", "expected a decision"),
        ("index", "99999", "not flagged"),
        ("x0", "1", "another slide"),
        ("reader", "a\tb\x07", "reader's name"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_as_a_whole(
    session: ReviewSession, tmp_path: Path, column: str, value: str, message: str
) -> None:
    path = tmp_path / "cells.csv"
    export_table(session, path)
    with path.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    for row in rows:
        row["decision"], row["reader"] = "parasite", "Ana"
    rows[-1][column] = value
    write(path, rows)
    with pytest.raises(DataError, match=rf"line {len(rows) + 1}: .*{message}"):
        import_table(session, path)
    assert list(session.journal.reviews()) == []
