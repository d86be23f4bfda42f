"""The preprocessing contract: what it does, bit for bit."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_malaria.prepare.preprocess import apply_mask, cell_inputs, network_input, network_inputs
from edge_malaria.records import Cell

sides = st.integers(1, 140)


@settings(deadline=None)  # a busy machine is no fault
@given(sides, sides, st.integers(0, 2**32 - 1))
def test_shape_dtype_and_that_the_crop_is_never_changed(h: int, w: int, seed: int) -> None:
    crop = np.random.default_rng(seed).integers(0, 256, (h, w, 3), dtype=np.uint8)
    kept = crop.copy()
    out = network_input(crop, 48, np.ones((h, w), bool))
    assert out.shape == (48, 48, 3) and out.dtype == np.uint8
    assert (crop == kept).all()


def test_the_background_is_black_before_the_resize_not_after() -> None:
    crop = np.full((96, 96, 3), 200, np.uint8)
    mask = np.zeros((96, 96), bool)
    mask[:, :49] = True
    out = network_input(crop, 48, mask)
    assert (out[:, :24] == 200).all() and (out[:, 25:] == 0).all()
    # The pixel over the edge averages one masked and one unmasked column.
    assert (out[:, 24] == 100).all()


def test_it_is_inter_area_and_not_another_interpolation() -> None:
    crop = np.random.default_rng(3).integers(0, 256, (131, 117, 3), dtype=np.uint8)
    expected = cv2.resize(crop, (48, 48), interpolation=cv2.INTER_AREA)
    other = cv2.resize(crop, (48, 48), interpolation=cv2.INTER_LINEAR)
    # Its float32 sums may round an exact half to the other level.
    apart = np.abs(network_input(crop, 48).astype(int) - expected)
    assert apart.max() <= 1 and np.mean(apart > 0) < 1e-3
    assert (network_input(crop, 48) != other).any()


def test_an_integer_shrink_is_the_plain_mean() -> None:
    crop = np.random.default_rng(4).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    means = crop.reshape(48, 2, 48, 2, 3).astype(np.float64).mean(axis=(1, 3))
    assert np.abs(network_input(crop, 48) - means).max() <= 0.5


def test_a_batch_may_be_empty() -> None:
    assert network_inputs([], 48).shape == (0, 48, 48, 3)


def test_cells_are_cut_by_box_and_masked() -> None:
    image = np.full((50, 60, 3), 90, np.uint8)
    cell = Cell((5, 6, 25, 36), np.zeros((30, 20), bool))
    assert (cell_inputs(image, [cell], 48) == 0).all()


@pytest.mark.parametrize("shape", [(3, 3), (3, 3, 4), (0, 3, 3)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected crop"):
        network_input(np.zeros(shape, np.uint8), 48)


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="mask of shape"):
        apply_mask(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), bool))
