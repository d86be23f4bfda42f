"""Registration: drawn slides whose true places are known."""

from __future__ import annotations

import numpy as np
import pytest

from edge_malaria.records import Cell
from edge_malaria.runtime.slide.counted_cells import CountedCells
from edge_malaria.runtime.slide.registration import Placement, Registrar
from edge_malaria.synthetic import DrawnSlide


@pytest.fixture(scope="module")
def slide() -> DrawnSlide:
    """A slide of 3 x 2 views."""
    return DrawnSlide(4, 0.02, width_px=1920, height_px=960, view_px=(640, 480))


@pytest.mark.parametrize("shift", [(0, 0), (37, -21), (320, 0), (-300, 120), (450, 0), (90, 330)])
def test_a_shift_is_found_to_a_few_pixels(slide: DrawnSlide, shift: tuple[int, int]) -> None:
    registrar = Registrar()
    registrar.commit(registrar.place(slide.view(640, 100, shot=1)[0]))
    dx, dy = shift
    there, truth = slide.view(640 + dx, 100 + dy, shot=2, defocus_px=0.8, light=0.9)
    moved = (truth.x_px - 640, truth.y_px - 100)
    found = registrar.place(there)
    assert found.chain == 0
    assert np.hypot(found.x_px - moved[0], found.y_px - moved[1]) < 3.0
    overlap = (1 - abs(moved[0]) / 640) * (1 - abs(moved[1]) / 480)
    assert found.new_share == pytest.approx(1 - overlap, abs=0.04)


def test_other_places_start_their_own_chain(slide: DrawnSlide) -> None:
    registrar = Registrar()
    chains = []
    for x, y in ((0, 0), (640, 0), (1280, 0), (0, 480)):
        placed = registrar.place(slide.view(x, y)[0])
        registrar.commit(placed)
        chains.append(placed.chain)
        assert placed.new_share == 1.0
    assert chains == [0, 1, 2, 3]


def test_a_still_stage_shows_nothing_new(slide: DrawnSlide) -> None:
    registrar = Registrar()
    registrar.commit(registrar.place(slide.view(500, 200, shot=0)[0]))
    for shot in range(1, 6):
        still = registrar.place(slide.view(500, 200, shot=shot)[0])
        assert still.new_share < 0.02


def test_a_refused_frame_does_not_count_its_place(slide: DrawnSlide) -> None:
    registrar = Registrar()
    registrar.commit(registrar.place(slide.view(500, 200, shot=0)[0]), refused="out-of-focus")
    again = registrar.place(slide.view(500, 200, shot=1)[0])
    assert again.new_share == 1.0
    assert registrar.refused_here(again) == "out-of-focus"
    registrar.commit(again)
    assert registrar.place(slide.view(500, 200, shot=2)[0]).new_share < 0.02


def test_featureless_frames_match_nothing() -> None:
    registrar = Registrar()
    blank = np.full((480, 640, 3), 200, np.uint8)
    registrar.commit(registrar.place(blank))
    assert registrar.place(np.zeros((480, 640, 3), np.uint8)).new_share == 1.0


def test_sizes_may_differ(slide: DrawnSlide) -> None:
    registrar = Registrar()
    registrar.commit(registrar.place(slide.view(0, 0)[0]))
    other = registrar.place(np.ascontiguousarray(slide.view(0, 0)[0][:240, :300]))
    assert other.new_share == 1.0


def cell(x: int, y: int, *, counted: bool = True) -> Cell:
    """A 20 px cell at (x, y)."""
    mask = np.ones((20, 20), np.bool_)
    return Cell((x, y, x + 20, y + 20), mask, counted=counted, reason="" if counted else "border")


def test_every_cell_is_counted_once_along_the_edge_of_an_overlap() -> None:
    counted = CountedCells()
    first = Placement(0, 0.0, 0.0, 100, 100)
    # The right-hand cell was cut off by the first frame's border: it has not been counted.
    counted.add([cell(10, 10), cell(70, 40), cell(82, 70, counted=False)], first)
    second = Placement(0, 50.0, 0.0, 100, 100, new_share=0.5)
    earlier = [(-50.0, 0.0, 100, 100)]
    seen = counted.seen([cell(20, 40), cell(32, 70), cell(70, 10)], second, earlier)
    assert seen == [True, False, False]
    # The same cell, a pixel or two off, where the first frame ends.
    near_edge = Placement(0, 79.0, 0.0, 100, 100)
    counted.add([cell(78, 20)], first)
    assert counted.seen([cell(1, 21)], near_edge, [(-79.0, 0.0, 100, 100)]) == [True]
    assert counted.seen([cell(1, 21)], Placement(1, 79.0, 0.0, 100, 100), []) == [False]
