"""Decoding the finder's answers, without and with the shipped network."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge_malaria.errors import ModelShapeError
from edge_malaria.runtime.detect.cells import box_iou, cells_of
from edge_malaria.runtime.detect.classical import ClassicalFinder
from edge_malaria.runtime.detect.learned import LearnedFinder, _View
from edge_malaria.runtime.detect.light import halved, shrink
from edge_malaria.runtime.detect.opening import default_finder
from edge_malaria.runtime.detect.peaks import (
    FinderSettings,
    candidates,
    drop_red_in_white,
    read_peaks,
)
from edge_malaria.runtime.engines.fake import FakeEngine
from edge_malaria.training.finder.data import real_tile
from edge_malaria.training.finder.drawn import drawn_fields
from edge_malaria.training.finder.scenes import PLATELET, RED, WHITE, Tile
from edge_malaria.training.finder.targets import targets

SIDE = 128


def tile(boxes: list[tuple[float, float, float, float]], kinds: list[int]) -> Tile:
    array = np.array(boxes, np.float32).reshape(-1, 4)
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    cover = np.zeros((SIDE, SIDE), bool)
    for (x0, y0, x1, y1), kind in zip(array, kinds, strict=True):
        if kind != PLATELET:
            far = ((x - (x0 + x1) / 2) * 2 / (x1 - x0)) ** 2
            cover |= far + ((y - (y0 + y1) / 2) * 2 / (y1 - y0)) ** 2 <= 1
    count = len(kinds)
    return Tile(
        np.zeros((SIDE, SIDE, 3), np.uint8),
        array,
        np.array(kinds, np.int64),
        np.where(cover, np.uint8(255), np.uint8(0)),
        np.ones(count, bool),
        np.ones((SIDE, SIDE), bool),
    )


def perfect_answer(shown: Tile) -> np.ndarray:
    """The answer of a network that met its targets: probabilities turned into logits."""
    wanted = targets(shown)[:, :, :8]
    chance = np.clip(wanted[:, :, :4], 1e-3, 1 - 1e-3)
    wanted[:, :, :4] = np.log(chance / (1 - chance))
    return wanted


def decoded(shown: Tile, factor: float = 1.0):
    answer = perfect_answer(shown)
    peaks = drop_red_in_white(read_peaks(answer, FinderSettings()))
    shape = (round(SIDE / factor), round(SIDE / factor), 3)
    return cells_of(candidates(peaks, answer, factor, 1.12), shape)


@pytest.mark.parametrize("factor", [1.0, 0.5, 0.18])
def test_a_perfect_answer_gives_the_boxes_back_at_any_scale(factor):
    boxes = [(20, 20, 40, 42), (60, 30, 84, 50), (30, 80, 48, 99)]
    cells = decoded(tile(boxes, [RED] * 3), factor)
    found = np.array([c.box for c in cells], float) * factor
    assert len(cells) == 3
    assert (box_iou(np.array(boxes, float), found).max(1) > 0.85).all()
    assert all(c.counted for c in cells)


def test_overlapping_cells_keep_their_boxes_and_share_the_lens():
    boxes = [(30, 40, 50, 60), (39, 40, 59, 60)]
    cells = decoded(tile(boxes, [RED, RED]))
    found = np.array([c.box for c in cells], float)
    assert (box_iou(np.array(boxes, float), found).max(1) > 0.8).all()
    left, right = sorted(cells, key=lambda c: c.box[0])
    lens = left.mask[:, 42 - left.box[0] : 47 - left.box[0]].sum()
    assert lens > 0
    assert right.mask[:, 42 - right.box[0] : 47 - right.box[0]].sum() > 0


def test_white_cells_and_platelets_are_told_apart():
    shown = tile([(20, 20, 60, 60), (80, 80, 100, 100), (100, 20, 106, 26)], [WHITE, RED, PLATELET])
    cells = decoded(shown)
    assert sorted(c.kind for c in cells) == ["platelet", "red-cell", "white-cell"]
    assert [c.counted for c in cells if c.kind == "red-cell"] == [True]


def test_an_unsure_red_middle_inside_a_white_cell_goes():
    answer = perfect_answer(tile([(20, 20, 60, 60)], [WHITE]))
    answer[20, 20, 0] = 0.5
    peaks = read_peaks(answer, FinderSettings())
    assert (peaks.kinds == 0).sum() == 1
    assert (drop_red_in_white(peaks).kinds == 0).sum() == 0


def test_an_empty_answer_has_no_peaks():
    peaks = read_peaks(perfect_answer(tile([], [])), FinderSettings())
    assert len(peaks.kinds) == 0


def test_drawn_training_fields_decode_to_their_truth():
    rng = np.random.default_rng(3)
    seen = 0
    for field in drawn_fields(3):
        shown = real_tile(rng, field, SIDE)
        inside = (shown.boxes[:, :2] > 2).all(1) & (shown.boxes[:, 2:] < SIDE - 2).all(1)
        truth = shown.boxes[inside & (shown.kinds == RED) & shown.known].astype(float)
        cells = [c for c in decoded(shown) if c.kind == "red-cell"]
        found = np.array([c.box for c in cells], float).reshape(-1, 4)
        seen += len(truth)
        assert len(truth) == 0 or (box_iou(truth, found).max(1) >= 0.5).mean() >= 0.9
    assert seen > 20


def test_a_classifier_is_refused_as_a_finder():
    with pytest.raises(ModelShapeError, match="not a finder"):
        LearnedFinder(FakeEngine(lambda batch: np.zeros(len(batch), np.float32)))


def test_without_a_bundle_the_classical_finder_stands_in():
    assert isinstance(default_finder(None), ClassicalFinder)


@pytest.mark.parametrize("size", [(1300, 1810), (2592, 1944), (640, 333)])
def test_a_halved_copy_shrinks_to_the_same_bits(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    image = cv2.resize(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8), size)
    small = halved(image, 640)
    assert max(small.shape) < 1280
    for side in (80, 224, 448, 639):
        factor = side / max(image.shape)
        view = _View(image, small)
        assert np.array_equal(view.shrunk(factor), shrink(image, factor))
