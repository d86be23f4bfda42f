"""Linear, nearest and centred resizing: the rules in fractions, and what libraries do."""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge_malaria.prepare.contract import RESIZES, Preparation
from edge_malaria.prepare.preprocess import network_input
from edge_malaria.prepare.resize import crop_or_pad, linear_resize, nearest_resize, resized
from edge_malaria.records import Image

small, sides = st.integers(1, 24), st.integers(1, 20)


def _noise(height: int, width: int, seed: int) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def _at(d: int, size: int, side: int) -> Fraction:
    """Where output pixel d lies, in source pixels, kept inside the outermost pixels' centres."""
    place = (Fraction(d) + Fraction(1, 2)) * size / side - Fraction(1, 2)
    return min(max(place, Fraction(0)), Fraction(size - 1))


@settings(max_examples=60, deadline=None)
@given(small, small, sides, st.integers(0, 99))
@example(2, 2, 1, 0)
@example(1, 1, 3, 0)
def test_linear_is_the_rule_in_fractions(height: int, width: int, side: int, seed: int) -> None:
    image = _noise(height, width, seed)
    out = linear_resize(image, side)
    for y in range(side):
        for x in range(side):
            v, h = _at(y, height, side), _at(x, width, side)
            rows, columns = (
                (floor(v), min(floor(v) + 1, height - 1)),
                (
                    floor(h),
                    min(floor(h) + 1, width - 1),
                ),
            )
            down, across = v - floor(v), h - floor(h)
            for c in range(3):
                near = [[Fraction(int(image[r, k, c])) for k in columns] for r in rows]
                top = near[0][0] * (1 - across) + near[0][1] * across
                bottom = near[1][0] * (1 - across) + near[1][1] * across
                # Python rounds a half to the even number, as the rule does.
                assert out[y, x, c] == round(top * (1 - down) + bottom * down)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 128), st.integers(0, 99))
def test_linear_is_opencvs_to_one_level(height: int, width: int, side: int, seed: int) -> None:
    image = _noise(height, width, seed)
    theirs = cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR_EXACT)
    assert np.abs(linear_resize(image, side).astype(int) - theirs).max() <= 1


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 128), st.integers(0, 99))
def test_nearest_is_opencvs_exact_one(height: int, width: int, side: int, seed: int) -> None:
    image = _noise(height, width, seed)
    theirs = cv2.resize(image, (side, side), interpolation=cv2.INTER_NEAREST_EXACT)
    apart = (nearest_resize(image, side) != theirs).any(axis=2)
    # OpenCV's scale is a rounded number: a centre that lies on a pixel's border may fall before it.
    for y, x in np.argwhere(apart):
        borders = [(2 * d + 1) * size % (2 * side) == 0 for d, size in ((y, height), (x, width))]
        assert any(borders)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(0, 9))
def test_pad_keeps_the_middle_unscaled(height: int, width: int, side: int, seed: int) -> None:
    image = _noise(height, width, seed)
    image[image == 0] = 1
    out = crop_or_pad(image, side)
    rows, columns = min(height, side), min(width, side)
    assert int((out.max(axis=2) > 0).sum()) == rows * columns
    top, left = (height - rows) // 2, (width - columns) // 2
    to, to_left = (side - rows) // 2, (side - columns) // 2
    part = image[top : top + rows, left : left + columns]
    np.testing.assert_array_equal(out[to : to + rows, to_left : to_left + columns], part)


@pytest.mark.slow
def test_they_are_what_tensorflow_does(tensorflow: Any) -> None:
    tf = tensorflow
    for height, width, side in ((131, 117, 64), (46, 394, 50), (20, 30, 256), (97, 99, 97)):
        image = _noise(height, width, height)
        linear = tf.image.resize(image, (side, side), "bilinear").numpy()
        # Half a level of rounding, and TensorFlow's float32.
        assert np.abs(linear_resize(image, side) - linear).max() <= 0.5 + 1e-3
        nearest = tf.image.resize(image, (side, side), "nearest").numpy()
        np.testing.assert_array_equal(nearest_resize(image, side), nearest)
        padded = tf.image.resize_with_crop_or_pad(image, side, side).numpy()
        np.testing.assert_array_equal(crop_or_pad(image, side), padded)


@pytest.mark.parametrize("way", RESIZES)
def test_every_way_gives_a_new_contiguous_picture_and_keeps_its_size(way: str) -> None:
    image = _noise(48, 48, 3)
    out = resized(image, 48, way)
    np.testing.assert_array_equal(out, image)
    assert out.flags.c_contiguous and out.dtype == np.uint8
    view = _noise(300, 300, 4)[20:151, 30:159]
    np.testing.assert_array_equal(resized(view, 31, way), resized(view.copy(), 31, way))
    assert resized(view, 31, way).shape == (31, 31, 3)


def test_the_mask_is_applied_before_the_resize_or_not_at_all() -> None:
    crop, mask = np.full((96, 96, 3), 200, np.uint8), np.zeros((96, 96), bool)
    mask[:, :48] = True
    black = network_input(crop, Preparation(48, "nearest"), mask)
    assert (black[:, :24] == 200).all() and (black[:, 24:] == 0).all()
    kept = network_input(crop, Preparation(48, "nearest", "none"), mask)
    assert (kept == 200).all()
