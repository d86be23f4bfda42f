"""The rules that every finder shares: duplicates, border, overlap, kinds, masks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_malaria.runtime.detect.cells import Candidate, box_iou, cells_of, keep_distinct

SHAPE = (120, 160, 3)


def disc(side: int = 20) -> np.ndarray:
    axis = np.arange(side) - (side - 1) / 2
    return np.hypot(axis[:, None], axis[None, :]) <= side / 2


def candidate(x: float, y: float, side: float = 20, kind: str = "red-cell", score: float = 0.9):
    return Candidate((x, y, x + side, y + side), disc(), kind, score)


spots = st.tuples(
    st.floats(-15, 150), st.floats(-15, 110), st.floats(4, 60), st.floats(0.05, 0.99)
).map(lambda v: candidate(v[0], v[1], v[2], score=v[3]))


def pixel_iou(a: tuple[int, ...], b: tuple[int, ...]) -> float:
    canvas = np.zeros((2, 80, 80), bool)
    for layer, (x0, y0, x1, y1) in zip(canvas, (a, b), strict=True):
        layer[y0:y1, x0:x1] = True
    return float((canvas[0] & canvas[1]).sum() / (canvas[0] | canvas[1]).sum())


boxes = st.tuples(
    st.integers(0, 30), st.integers(0, 30), st.integers(1, 40), st.integers(1, 40)
).map(lambda v: (v[0], v[1], v[0] + v[2], v[1] + v[3]))


@given(boxes, boxes)
def test_box_iou_is_the_share_of_common_pixels(a, b):
    iou = box_iou(np.array([a], float), np.array([b], float))[0, 0]
    assert iou == pytest.approx(pixel_iou(a, b))


@given(st.lists(boxes, max_size=25), st.randoms(use_true_random=False))
def test_keep_distinct_keeps_the_surest_of_every_heap(found, random):
    array = np.array(found, float).reshape(-1, 4)
    scores = np.array([random.random() for _ in found])
    kept = keep_distinct(array, scores)
    iou = box_iou(array, array)
    for a in kept:
        assert all(a == b or iou[a, b] <= 0.5 for b in kept)
    for a in set(range(len(found))) - set(kept):
        assert any(iou[a, b] > 0.5 and scores[b] >= scores[a] for b in kept)


@settings(max_examples=60)
@given(st.lists(spots, max_size=30))
def test_cells_lie_in_the_field_with_tight_masks_and_no_two_alike(found):
    cells = cells_of(found, SHAPE)
    for cell in cells:
        x0, y0, x1, y1 = cell.box
        assert 0 <= x0 < x1 <= SHAPE[1]
        assert 0 <= y0 < y1 <= SHAPE[0]
        assert cell.mask[0].any()
        assert cell.mask[-1].any()
        assert cell.mask[:, 0].any()
        assert cell.mask[:, -1].any()
        touches = x0 == 0 or y0 == 0 or x1 == SHAPE[1] or y1 == SHAPE[0]
        assert not (touches and cell.counted)
    array = np.array([c.box for c in cells], float).reshape(-1, 4)
    iou = box_iou(array, array) - np.eye(len(cells))
    assert (iou <= 0.5).all()


def test_no_candidates_no_cells():
    assert cells_of([], SHAPE) == []


def test_a_whole_cell_is_counted_and_one_at_the_border_is_not():
    whole, cut = cells_of([candidate(50, 40), candidate(-8, 60)], SHAPE)
    assert (whole.counted, whole.reason) == (True, "")
    assert (cut.counted, cut.reason) == (False, "border")
    assert cut.box[0] == 0


def test_a_cell_cut_by_the_border_shows_the_right_part_of_its_mask():
    (cell,) = cells_of([candidate(-10, 40)], SHAPE)
    assert cell.box == (0, 40, 10, 60)
    # The right half of a disc: broad at the border, narrow at the far side.
    assert cell.mask[:, 0].sum() > 2 * cell.mask[:, -1].sum()


def test_of_two_on_one_place_the_surer_stays():
    (cell,) = cells_of([candidate(50, 40, score=0.4), candidate(52, 41, score=0.8)], SHAPE)
    assert cell.score == 0.8


def test_a_cell_mostly_under_others_is_found_but_not_counted():
    cells = cells_of([candidate(40, 40), candidate(50, 40), candidate(60, 40)], SHAPE)
    assert {c.box[0]: c.reason for c in cells} == {40: "", 50: "overlap", 60: ""}


def test_cells_that_only_touch_are_counted():
    cells = cells_of([candidate(40, 40), candidate(60, 40)], SHAPE)
    assert [c.counted for c in cells] == [True, True]


@pytest.mark.parametrize("kind", ["white-cell", "platelet", "debris"])
def test_only_red_cells_count(kind):
    (cell,) = cells_of([candidate(50, 40, kind=kind)], SHAPE)
    assert (cell.counted, cell.reason, cell.kind) == (False, kind, kind)


def test_masks_grow_with_their_box():
    (cell,) = cells_of([candidate(30, 30, side=60)], SHAPE)
    assert cell.mask.mean() == pytest.approx(np.pi / 4, abs=0.03)
