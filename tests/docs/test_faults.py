"""docs/FAULTS.md names a test for every case, and each of them is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
LEAST_ROWS = 40


def _rows() -> list[list[str]]:
    text = (ROOT / "docs" / "FAULTS.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[part.strip() for part in line.strip("|").split(" | ")] for line in lines[1:]]


def test_every_case_has_its_test() -> None:
    rows = _rows()
    assert len(rows) >= LEAST_ROWS
    for row in rows:
        assert len(row) == 4, row
        assert row[1] and row[2] and row[3], row


def test_every_test_that_is_named_exists() -> None:
    named = [found for row in _rows() for found in re.findall(r"`(tests/[^`]+)`", row[3])]
    assert len(named) >= LEAST_ROWS
    missing = []
    for name in named:
        file, _, function = name.partition("::")
        path = ROOT / file
        text = path.read_text() if path.is_file() else ""
        if not text or (function and not re.search(rf"^\s*def {function}\(", text, re.MULTILINE)):
            missing.append(name)
    assert not missing


def test_the_rows_are_sorted_by_part() -> None:
    parts = [row[0].casefold() for row in _rows()]
    assert parts == sorted(parts)
