"""The margin of an export that has only a few labelled cells."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_malaria.data.dataset import Dataset, Row
from edge_malaria.export.margin import LEAST_CELLS, shown_by, widened
from edge_malaria.parity import Settings


def cells(sick: int, well: int) -> Dataset:
    """Labelled cells."""
    rows = [Row(f"p{i}", 1) for i in range(sick)] + [Row(f"u{i}", 0) for i in range(well)]
    return Dataset(Path("cells"), tuple(rows))


@given(st.integers(LEAST_CELLS, 5000))
def test_so_many_cells_can_show_the_margin_and_no_smaller_one(count: int) -> None:
    assert Settings(delta=shown_by(count)).min_cells <= count
    assert Settings(delta=0.9 * shown_by(count)).min_cells > count


@pytest.mark.parametrize(
    ("sick", "well", "expected"),
    [
        (300, 300, 0.01),
        (300, 5000, 0.01),
        (5, 400, 0.6),
        (60, 50, 0.06),
        (3, 50, 0.01),
        (0, 9, 0.01),
    ],
)
def test_the_smaller_class_decides_and_it_is_said(sick: int, well: int, expected: float) -> None:
    said: list[str] = []
    assert widened(0.01, cells(sick, well), said.append) == pytest.approx(expected)
    assert len(said) == (expected > 0.01)


def test_without_labels_or_with_a_wider_margin_nothing_changes() -> None:
    said: list[str] = []
    assert widened(0.01, None, said.append) == 0.01
    assert widened(0.3, cells(20, 20), said.append) == 0.3
    assert not said
