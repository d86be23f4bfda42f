"""Two centres in one long cell become one cell; two cells stay two."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge_malaria.runtime.detect.long_cells import join_halves
from edge_malaria.runtime.detect.peaks import CHANNEL_COVER, CHANNELS, Peaks

SIDE = 160  # network pixels of the drawn answer


def answer_of(ellipses):
    """A cover map with ellipses ((x, y), (half length, half width), degrees) in network pixels."""
    fine = np.zeros((SIDE * 4, SIDE * 4), np.uint8)
    for centre, axes, turn in ellipses:
        middle = tuple(round(4 * v) for v in centre)
        cv2.ellipse(fine, middle, tuple(round(4 * v) for v in axes), turn, 0, 360, 255, -1)
    answer = np.zeros((SIDE // 2, SIDE // 2, CHANNELS), np.float32)
    small = cv2.resize(fine, (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA)
    answer[:, :, CHANNEL_COVER] = small / 255.0 * 8.0 - 4.0
    return answer


def peaks_of(centres, sides, kinds=None):
    boxes = [
        [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
        for (x, y), (w, h) in zip(centres, sides, strict=True)
    ]
    kinds = [0] * len(boxes) if kinds is None else kinds
    scores = np.linspace(0.9, 0.6, len(boxes))
    return Peaks(np.array(kinds), scores, np.array(boxes, float))


# Ordinary cells elsewhere in the field say how large a cell is: 20 px.
ORDINARY = [(20, 130), (60, 130), (100, 130), (140, 130)]
ROUND = [((x, y), (10, 10), 0) for x, y in ORDINARY]


def halves(turn):
    """A cell of 30 x 12 px at (80, 60), its two centres 8 px from its middle, along it."""
    step = 8 * np.array([np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))])
    centres = [tuple(np.array([80, 60]) - step), tuple(np.array([80, 60]) + step)]
    return answer_of([*ROUND, ((80, 60), (15, 6), turn)]), centres


@pytest.mark.parametrize("turn", [0, 30, 45, 90])
def test_halves_of_a_long_cell_become_one_around_it(turn):
    answer, centres = halves(turn)
    peaks = peaks_of([*ORDINARY, *centres], [(20, 20)] * 4 + [(14, 13)] * 2)
    joined = join_halves(peaks, answer)
    assert len(joined.kinds) == 5
    wide = 2 * np.hypot(15 * np.cos(np.deg2rad(turn)), 6 * np.sin(np.deg2rad(turn)))
    high = 2 * np.hypot(15 * np.sin(np.deg2rad(turn)), 6 * np.cos(np.deg2rad(turn)))
    expected = [80 - wide / 2, 60 - high / 2, 80 + wide / 2, 60 + high / 2]
    assert joined.boxes[4] == pytest.approx(expected, abs=1.6)
    assert joined.scores[4] == peaks.scores[4]
    assert (joined.boxes[:4] == peaks.boxes[:4]).all()


@pytest.mark.parametrize("apart", [10, 14, 19, 21])
def test_two_round_cells_stay_two(apart):
    centres = [(80 - apart / 2, 60), (80 + apart / 2, 60)]
    answer = answer_of([*ROUND, *(((x, y), (10, 10), 0) for x, y in centres)])
    peaks = peaks_of([*ORDINARY, *centres], [(20, 20)] * 6)
    assert len(join_halves(peaks, answer).kinds) == 6


def test_two_small_cells_with_a_waist_stay_two():
    centres = [(74, 60), (86, 60)]
    answer = answer_of([*ROUND, *(((x, y), (7, 7), 0) for x, y in centres)])
    peaks = peaks_of([*ORDINARY, *centres], [(20, 20)] * 4 + [(14, 14)] * 2)
    assert len(join_halves(peaks, answer).kinds) == 6


@pytest.mark.parametrize("kind", [0, 1])
def test_a_third_cell_in_the_piece_leaves_all_as_they_are(kind):
    answer, centres = halves(0)
    third = [(80, 60)]
    peaks = peaks_of(
        [*ORDINARY, *centres, *third], [(20, 20)] * 4 + [(14, 13)] * 3, [0] * 6 + [kind]
    )
    assert len(join_halves(peaks, answer).kinds) == 7


def test_a_platelet_on_a_long_cell_does_not_keep_it_in_two():
    answer, centres = halves(0)
    peaks = peaks_of(
        [*ORDINARY, *centres, (80, 60)], [(20, 20)] * 4 + [(14, 13)] * 2 + [(4, 4)], [0] * 6 + [2]
    )
    joined = join_halves(peaks, answer)
    assert joined.kinds.tolist() == [0] * 5 + [2]


def test_fields_without_cells_pass():
    none = Peaks(np.zeros(0, np.int64), np.zeros(0), np.zeros((0, 4)))
    assert join_halves(none, answer_of([])) is none
