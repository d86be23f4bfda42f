"""Counts of found cells against boxes: what a white cell's lobe counts as."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.fields.cell_truth import count_boxed, rates
from edge_malaria.records import Cell, CellKind

FIELD = np.full((200, 200, 3), 220, np.uint8)
WHITE = {"x": "50", "y": "50", "w": "80", "h": "80", "label": "WBC"}


def found(x: int, y: int, side: int, kind: CellKind = "red-cell") -> Cell:
    red = kind == "red-cell"
    mask = np.ones((side, side), np.bool_)
    return Cell((x, y, x + side, y + side), mask, kind, red, "" if red else kind, 0.9)


@pytest.mark.parametrize(
    ("cell", "as_red", "holds"),
    [
        (found(50, 50, 80), 1, 1),
        # A lobe: no white cell counts as red by the boxes, and yet something in it does.
        (found(70, 70, 30), 0, 1),
        # A red cell beside it that overlaps its rim.
        (found(115, 75, 35), 0, 0),
        (found(70, 70, 30, "white-cell"), 0, 0),
    ],
)
def test_a_lobe_that_counts_as_a_red_cell_is_told(cell, as_red, holds):
    count = count_boxed(FIELD, [cell], [WHITE])
    assert count["white"] == 1
    assert (count["white_counted_as_red"], count["white_holding_red"]) == (as_red, holds)
    assert rates(count)["white_holding_red"] == holds


def test_nothing_found_is_no_lobe():
    assert count_boxed(FIELD, [], [WHITE])["white_holding_red"] == 0
