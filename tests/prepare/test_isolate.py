"""``--mask auto``: the middle cell stays, the rest goes black."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge_malaria.prepare.isolate import is_masked, isolate_central_cell
from edge_malaria.synthetic import draw_cell, pick_stain
from edge_malaria.synthetic.cells import DrawnKind


def scene(*discs: tuple[int, int, int], side: int = 80) -> np.ndarray:
    image = np.full((side, side, 3), 235, np.uint8)
    for x, y, radius in discs:
        cv2.circle(image, (x, y), radius, (190, 150, 170), -1)
    return image


@pytest.mark.parametrize("side", [40, 80, 160])
def test_a_lone_cell_keeps_its_outline(side: int) -> None:
    radius = round(side * 0.35)
    crop, mask = isolate_central_cell(scene((side // 2, side // 2, radius), side=side))
    assert mask is not None
    assert mask.shape == crop.shape[:2]
    assert abs(mask.sum() / (np.pi * radius**2) - 1) < 0.15


def test_touching_neighbours_go_black() -> None:
    image = scene((40, 40, 24), (85, 40, 24), (40, -4, 22))
    crop, mask = isolate_central_cell(image)
    assert mask is not None
    assert abs(mask.sum() / (np.pi * 24**2) - 1) < 0.15
    assert max(crop.shape[:2]) <= 56


def test_a_pale_centre_is_no_hole() -> None:
    image = scene((40, 40, 30))
    cv2.circle(image, (40, 40), 7, (230, 228, 230), -1)
    crop, mask = isolate_central_cell(image)
    assert mask is not None
    middle = mask.shape[0] // 2, mask.shape[1] // 2
    assert mask[middle]
    assert crop.shape[0] >= 58


@pytest.mark.parametrize("kind", ["schizont", "late-trophozoite", "ring", "healthy"])
def test_a_dark_parasite_is_not_taken_for_the_cell(kind: DrawnKind) -> None:
    rng = np.random.default_rng(4)
    for _ in range(40):
        stain = pick_stain(rng)
        cell = draw_cell(rng, kind, 60, stain)
        height, width = cell.mask.shape
        frame = np.empty((120, 160, 3), np.float32)
        frame[:] = stain.background
        window = (slice(30, 30 + height), slice(50, 50 + width))
        frame[window][cell.mask] = cell.image[cell.mask]
        noisy = cv2.GaussianBlur(frame, (0, 0), 0.6) + rng.normal(0, 1.5, frame.shape)
        _, mask = isolate_central_cell(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))
        assert mask is not None
        assert 0.8 < mask.sum() / cell.mask.sum() < 1.35


def test_a_masked_crop_stays_as_it_is() -> None:
    crop = scene((40, 40, 30))
    crop[crop[..., 0] == 235] = 0
    assert is_masked(crop)
    same, mask = isolate_central_cell(crop)
    assert same is crop
    assert mask is None


@pytest.mark.parametrize("value", [0, 128, 255])
def test_an_empty_crop_is_not_invented_into_a_cell(value: int) -> None:
    crop = np.full((80, 80, 3), value, np.uint8)
    _, mask = isolate_central_cell(crop)
    assert mask is None


@pytest.mark.parametrize("side", [1, 2, 7, 8, 9])
def test_tiny_crops_do_not_fail(side: int) -> None:
    crop, _ = isolate_central_cell(np.full((side, side, 3), 77, np.uint8))
    assert crop.shape[:2] == (side, side)
