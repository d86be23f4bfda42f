"""Pictures are shrunk as OpenCV on x86-64 shrinks them, by a rule that is written down."""

from __future__ import annotations

import platform

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge_malaria.prepare.area_shrink import _taps, area_shrink
from edge_malaria.records import Image

sizes, seeds = st.integers(1, 120), st.integers(0, 2**32 - 1)


def _noise(height: int, width: int, channels: int, seed: int) -> Image:
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other builds round halves apart")
@settings(max_examples=60, deadline=None)
@given(sizes, sizes, st.integers(0, 130), st.integers(0, 130), st.sampled_from([1, 3]), seeds)
@example(97, 130, 22, 34, 3, 0)
@example(90, 120, 45, 60, 3, 0)
@example(90, 120, 30, 50, 1, 0)
@example(20, 20, 0, 110, 3, 0)
def test_it_is_opencvs_area_average(
    down: int, across: int, taller: int, wider: int, channels: int, seed: int
) -> None:
    image = _noise(down + taller, across + wider, channels, seed)
    kept = image.copy()
    found = area_shrink(image, (across, down))
    theirs = cv2.resize(image, (across, down), interpolation=cv2.INTER_AREA)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, theirs.reshape(found.shape))
    np.testing.assert_array_equal(image, kept)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other builds round halves apart")
@pytest.mark.parametrize("size", [(480, 360), (471, 353), (128, 128), (160, 120)])
@pytest.mark.parametrize("shape", [(486, 648), (480, 640), (900, 720)])
def test_it_is_opencvs_for_the_pictures_of_a_field(
    shape: tuple[int, int], size: tuple[int, int]
) -> None:
    """Neighbouring levels too: their means lie half-way between them more often than others."""
    for image in (_noise(*shape, 3, 1), _noise(*shape, 3, 2) % 2 + 100):
        theirs = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        np.testing.assert_array_equal(area_shrink(image, size), theirs)


@pytest.mark.parametrize(("shape", "size"), [((31, 44), (17, 9)), ((20, 27), (20, 15))])
def test_it_is_the_rule_pixel_by_pixel(shape: tuple[int, int], size: tuple[int, int]) -> None:
    """On every machine: along a row first, each product and each sum rounded to float32."""
    image = _noise(*shape, 1, 3)
    expected = np.empty((size[1], size[0]), np.uint8)
    for y in range(size[1]):
        for x in range(size[0]):
            total = np.float32(0)
            for row, share in ((taps[0][y], taps[1][y, 0]) for taps in _taps(shape[0], size[1])):
                along = np.float32(0)
                for column, weight in ((t[0][x], t[1][x, 0]) for t in _taps(shape[1], size[0])):
                    along += np.float32(image[row, column]) * weight
                total += along * share
            expected[y, x] = np.rint(total)
    np.testing.assert_array_equal(area_shrink(image, size), expected)


def test_the_shares_of_an_output_pixel_add_up_to_one() -> None:
    for size, side in ((648, 480), (486, 353), (130, 129), (500, 3)):
        total = sum(share for _, share in _taps(size, side))
        np.testing.assert_allclose(total, 1.0, atol=1e-6)


def test_numpys_buffer_stays_as_it_was() -> None:
    before = np.getbufsize()
    area_shrink(_noise(50, 60, 3, 4), (31, 17))
    assert np.getbufsize() == before
