"""Features of cells measure what they name."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_malaria.records import Image
from edge_malaria.synthetic import draw_cell
from edge_malaria.training.baselines import texture, words
from edge_malaria.training.baselines.features import (
    FEATURE_NAMES,
    SHAPE_NAMES,
    cell_mask,
    handcrafted,
    shape_features,
)
from tests.training.baselines.test_baselines import masked


def disc(side: int, radius: float, colour: tuple[int, int, int] = (200, 120, 140)) -> Image:
    image = np.zeros((side, side, 3), np.uint8)
    cv2.circle(image, (side // 2, side // 2), int(radius), colour, cv2.FILLED)
    return image


def test_every_feature_has_one_name_and_a_finite_value() -> None:
    rng = np.random.default_rng(0)
    found = handcrafted(masked(draw_cell(rng, "ring")))
    assert len(FEATURE_NAMES) == len(set(FEATURE_NAMES)) == len(found)
    assert np.isfinite(found).all()


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from(["black", "white", "noise", "one pixel"]),
)
def test_odd_crops_have_finite_features(height: int, width: int, content: str) -> None:
    crop = np.zeros((height, width, 3), np.uint8)
    if content == "white":
        crop[:] = 255
    elif content == "noise":
        crop[:] = np.random.default_rng(height * 41 + width).integers(0, 256, crop.shape)
    elif content == "one pixel":
        crop[height // 2, width // 2] = 200
    assert np.isfinite(handcrafted(crop)).all()
    assert np.isfinite(words.histograms([handcrafted_size(crop)], np.eye(3, 131, dtype="f4"))).all()


def handcrafted_size(crop: Image) -> Image:
    return np.asarray(cv2.resize(crop, (words.SIDE_PX, words.SIDE_PX)), np.uint8)


def test_shape_of_a_disc_and_of_a_bar() -> None:
    named = dict(zip(SHAPE_NAMES, shape_features(cell_mask(disc(101, 40))), strict=True))
    assert named["area_px"] == pytest.approx(np.pi * 40**2, rel=0.03)
    assert named["equivalent_diameter_px"] == pytest.approx(80, rel=0.02)
    assert 0.85 < named["circularity"] <= 1.05
    assert named["aspect_ratio"] == 1.0
    bar = np.zeros((60, 120, 3), np.uint8)
    bar[20:40, 10:110] = 180
    longer = dict(zip(SHAPE_NAMES, shape_features(cell_mask(bar)), strict=True))
    assert longer["aspect_ratio"] == 5.0
    assert longer["circularity"] < 0.5 < named["circularity"]


def test_hu_moments_do_not_turn_with_the_cell() -> None:
    bar = np.zeros((101, 101, 3), np.uint8)
    bar[40:61, 20:81] = 180
    turned = np.ascontiguousarray(np.rot90(bar))
    upright = shape_features(cell_mask(bar))[-7:]
    assert shape_features(cell_mask(turned))[-7:-4] == pytest.approx(upright[:3], abs=0.05)


def test_cell_mask_fills_holes_and_leaves_specks() -> None:
    image = disc(60, 20)
    image[28:32, 28:32] = 0
    image[2, 2] = 90
    mask = cell_mask(image)
    assert mask[30, 30]
    assert not mask[2, 2]


def test_colour_is_measured_on_the_cell_alone() -> None:
    small = dict(zip(FEATURE_NAMES, handcrafted(disc(90, 20, (210, 100, 130))), strict=True))
    assert small["rgb_r_p50"] == 210
    assert small["rgb_g_p50"] == 100
    assert small["histogram_r_6"] > 0.8


def test_co_occurrence_of_a_checkerboard_by_hand() -> None:
    levels = (np.indices((8, 8)).sum(axis=0) % 2).astype(np.uint8) * 3
    whole = np.ones((8, 8), np.bool_)
    table = texture.co_occurrence(levels, whole, (0, 1))
    assert table[0, 3] == table[3, 0] == 0.5
    named = dict(zip(texture.HARALICK, texture.haralick(table), strict=True))
    assert named["contrast"] == 9.0
    assert named["correlation"] == pytest.approx(-1.0)
    assert named["entropy"] == pytest.approx(1.0)
    diagonal = texture.haralick(texture.co_occurrence(levels, whole, (1, -1)))
    assert diagonal[0] == 0.0


def test_co_occurrence_counts_no_pair_off_the_cell() -> None:
    levels = np.zeros((8, 8), np.uint8)
    levels[:, 4:] = 15
    mask = np.zeros((8, 8), np.bool_)
    mask[:, :4] = True
    assert texture.co_occurrence(levels, mask, (0, 1))[0, 0] == 1.0
    assert texture.co_occurrence(levels, ~whole(8), (0, 1)).sum() == 0.0


def whole(side: int) -> np.ndarray:
    return np.ones((side, side), np.bool_)


def test_binary_patterns_of_a_flat_and_of_a_spotted_field() -> None:
    flat = np.full((16, 16), 90, np.uint8)
    assert texture.binary_patterns(flat, whole(16), 1)[8] == 1.0
    spotted = flat.copy()
    spotted[4::8, 4::8] = 200
    assert texture.binary_patterns(spotted, whole(16), 1)[0] == pytest.approx(4 / 14**2)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 40))
def test_binary_patterns_ignore_brightness_and_quarter_turns(seed: int, lift: int) -> None:
    grey = np.random.default_rng(seed).integers(0, 200, (20, 20)).astype(np.uint8)
    plain = texture.binary_patterns(grey, whole(20), 2)
    assert plain.sum() == pytest.approx(1.0, abs=1e-5)
    assert np.array_equal(texture.binary_patterns(grey + np.uint8(lift), whole(20), 2), plain)
    turned = texture.binary_patterns(np.rot90(grey), whole(20), 2)
    assert np.array_equal(turned, plain)


def test_words_of_a_cell_sum_to_one_and_come_from_training_cells() -> None:
    rng = np.random.default_rng(1)
    cells = np.stack(
        [handcrafted_size(masked(draw_cell(rng, k))) for k in ("healthy", "schizont") * 6]
    )
    codebook = words.fit_codebook(cells, seed=0, words=16)
    assert codebook.shape == (16, words.DESCRIPTOR)
    assert np.array_equal(codebook, words.fit_codebook(cells, seed=0, words=16))
    table = words.histograms(cells, codebook)
    assert table.sum(axis=1) == pytest.approx(1.0)
    assert words.histograms(np.zeros((1, 64, 64, 3), np.uint8), codebook).shape == (1, 16)
