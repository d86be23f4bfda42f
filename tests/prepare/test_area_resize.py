"""Area averaging in whole numbers, against the rule written out in Python's own integers."""

from __future__ import annotations

import tracemalloc
from typing import Literal

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_malaria.prepare import running_totals
from edge_malaria.prepare.area_resize import area_resize
from edge_malaria.records import Image

Kind = Literal["noise", "constant", "checker", "halves"]
sizes, outputs = st.integers(1, 300), st.integers(8, 128)


def _image(kind: Kind, height: int, width: int, seed: int) -> Image:
    rng = np.random.default_rng(seed)
    if kind == "noise":
        return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    if kind == "constant":
        return np.full((height, width, 3), rng.integers(0, 256, 3), np.uint8)
    checker = np.add.outer(np.arange(height), np.arange(width)) % 2
    # Neighbouring levels: means lie half-way between them wherever areas are even.
    levels = np.array([0, 255]) if kind == "checker" else np.array([0, 1]) + rng.integers(0, 255)
    return np.repeat(levels[checker][:, :, None], 3, axis=2).astype(np.uint8)


def _taps(size: int, side: int, two: bool) -> NDArray[np.int64]:
    """The rule of one axis, pixel by pixel: [side, size]."""
    weights = np.zeros((side, size), np.int64)
    for d in range(side):
        start, end = d * size, (d + 1) * size
        first = start // side
        if not two:
            for i in range(first, -(-end // side)):
                weights[d, i] = min(end, (i + 1) * side) - max(start, i * side)
            continue
        edge = (first + 1) * side
        second = (end - edge) % size if end > edge and first + 1 < size else 0
        weights[d, first] += size - second
        if second:
            weights[d, first + 1] += second
    return weights


def _reference(image: Image, side: int) -> Image:
    height, width = image.shape[:2]
    two = height < side or width < side
    down = np.tensordot(_taps(height, side, two), image.astype(np.int64), 1)
    sums = np.tensordot(_taps(width, side, two), down, (1, 1)).transpose(1, 0, 2)
    total = height * width
    quotient, rest = sums // total, sums % total
    up = (2 * rest > total) | ((2 * rest == total) & (quotient % 2 == 1))
    return np.asarray(quotient + up, np.uint8)


@settings(max_examples=120, deadline=None)
@given(
    sizes,
    sizes,
    outputs,
    st.sampled_from(["noise", "constant", "checker", "halves"]),
    st.integers(0),
)
@example(160, 160, 48, "noise", 0)
@example(96, 96, 48, "halves", 1)
@example(48, 48, 48, "noise", 0)
@example(48, 300, 48, "noise", 0)
@example(47, 300, 48, "noise", 0)
@example(1, 1, 8, "noise", 0)
@example(257, 256, 48, "noise", 0)
def test_it_is_the_rule_in_whole_numbers(
    height: int, width: int, side: int, kind: Kind, seed: int
) -> None:
    image = _image(kind, height, width, seed)
    kept = image.copy()
    out = area_resize(image, side)
    assert out.dtype == np.uint8 and out.shape == (side, side, 3) and out.flags.c_contiguous
    np.testing.assert_array_equal(out, _reference(image, side))
    np.testing.assert_array_equal(image, kept)


@pytest.mark.parametrize("level", [254, 255])
@pytest.mark.parametrize("shape", [(2000, 1900), (4096, 4096), (257, 256), (256, 257)])
def test_the_largest_sums_are_exact(shape: tuple[int, int], level: int) -> None:
    """Bright pictures at and beyond what float32 can add up."""
    assert (area_resize(np.full((*shape, 3), level, np.uint8), 48) == level).all()


@pytest.mark.parametrize(("low", "expected"), [(0, 0), (1, 2), (100, 100), (253, 254)])
def test_a_half_goes_to_the_even_level(low: int, expected: int) -> None:
    image = np.full((96, 96, 3), low, np.uint8)
    image[:, ::2] += 1
    assert (area_resize(image, 48) == expected).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(48, 300), st.integers(48, 300), st.integers(0, 99))
def test_it_is_opencvs_area_average_to_one_level(height: int, width: int, seed: int) -> None:
    image = _image("noise", height, width, seed)
    theirs = cv2.resize(image, (48, 48), interpolation=cv2.INTER_AREA)
    assert np.abs(area_resize(image, 48).astype(int) - theirs).max() <= 1


def test_a_picture_of_the_networks_size_is_unchanged() -> None:
    image = _image("noise", 48, 48, 3)
    np.testing.assert_array_equal(area_resize(image, 48), image)


def test_a_view_into_a_field_gives_what_its_copy_gives() -> None:
    field = _image("noise", 300, 300, 4)
    view = field[20:151, 30:159]
    np.testing.assert_array_equal(area_resize(view, 48), area_resize(view.copy(), 48))


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize(
    ("height", "width"), [(49, 51), (110, 113), (112, 97), (48, 48), (255, 257)]
)
def test_colour_mask_and_resize_at_once_are_the_three_one_after_the_other(
    height: int, width: int, pairs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where OpenCV looks up single pixels alone, as before its version 5."""
    if pairs and not running_totals._PAIRS:
        pytest.skip("this OpenCV looks up single pixels alone")
    monkeypatch.setattr(running_totals, "_PAIRS", pairs)
    image = _image("noise", height, width, 5)
    rng = np.random.default_rng(6)
    mask = rng.random((height, width)) < 0.7
    table = rng.integers(0, 256, (256, 3), dtype=np.uint8)
    table[0] = 0
    shown = np.where(mask[:, :, None], table[image, np.arange(3)], 0).astype(np.uint8)
    field = np.zeros((height + 3, width + 5, 3), np.uint8)
    field[2:-1, 4:-1] = image
    found = area_resize(field[2:-1, 4:-1], 48, mask, table, np.empty((48, 48, 3), np.uint8))
    np.testing.assert_array_equal(found, _reference(shown, 48))


@pytest.mark.parametrize("shape", [(255, 257), (1, 65535), (65535, 1)])
def test_quotients_next_to_a_half_are_rounded_away_from_it(shape: tuple[int, int]) -> None:
    """The most pixels that are divided in float32, their sums one below and above each half."""
    total = shape[0] * shape[1]
    assert total == running_totals.MOST_PIXELS
    sums = np.arange(256)[:, None] * total + total // 2 + np.arange(2)
    quotients = np.divide(sums.astype(np.int32), np.float32(total), dtype=np.float32)
    np.testing.assert_array_equal(np.rint(quotients), np.arange(256)[:, None] + np.arange(2))


def test_cells_of_any_size_leave_little_in_memory() -> None:
    """A small board screens slides of a camera whose cells are 100 to 250 px wide for weeks."""
    tracemalloc.start()
    try:
        for height in range(100, 250):
            for width in (100, 140, 181, 222):
                area_resize(np.zeros((height, width, 3), np.uint8), 48)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 16e6
