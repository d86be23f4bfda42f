"""Counting instructions: the same work gives the same count, and growth is told."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest

from benchmarks.speed.counting import counted
from benchmarks.speed.instructions import grown
from edge_malaria.errors import EdgeMalariaError

ROOT = Path(__file__).resolve().parents[2]
# A Python without what a virtual environment adds at its start: less to count for nothing.
BARE = ("-I", "-S", "-c")
BEFORE = {"field": 1_000_000.0, "slide": 5000.0, "cell": 1000.0, "start": 500.0}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
def test_the_same_work_gives_the_same_count_and_more_work_more() -> None:
    source = "total = 0\nfor i in range({}): total += i"
    first, again = (counted([*BARE, source.format(1000)], ROOT) for _ in range(2))
    more = counted([*BARE, source.format(201_000)], ROOT)
    assert abs(again - first) < 0.01 * first
    # A turn of the loop takes at least ten instructions, whatever the version of Python.
    assert more - first > 10 * 200_000
    with pytest.raises(EdgeMalariaError, match="counting failed"):
        counted([*BARE, "raise SystemExit(3)"], ROOT)


def test_growth_beyond_the_limit_is_told_and_nothing_else() -> None:
    assert grown({**BEFORE, "field": 1_049_000.0}, BEFORE) == []
    assert grown({**BEFORE, "cell": 100.0}, BEFORE) == []
    (line,) = grown({**BEFORE, "cell": 1051.0}, BEFORE)
    assert line.startswith("cell: ") and "1.051" in line
    assert len(grown({**BEFORE, "start": math.nan}, BEFORE)) == 1
