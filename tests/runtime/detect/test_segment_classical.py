"""The classical finder on drawn discs: scale, pale centres, touching cells, light, kinds."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge_malaria.runtime.detect.cells import box_iou
from edge_malaria.runtime.detect.classical import ClassicalFinder
from edge_malaria.runtime.detect.scale import measure_scale

STAINS = {"eosin": (205, 130, 150), "slate": (110, 115, 140), "violet": (140, 40, 110)}


def smear(
    centres: list[tuple[int, int]],
    diameter: int,
    stain: str = "eosin",
    shape: tuple[int, int] = (480, 640),
    pale: float = 0.0,
    dark_corner: bool = False,
) -> np.ndarray:
    """Discs on a pale slide; where discs overlap the light is taken twice."""
    light = np.full((*shape, 3), (225, 228, 215), np.float32)
    if dark_corner:
        y, x = np.mgrid[: shape[0], : shape[1]]
        light *= (1.0 - 0.35 * (x / shape[1]) * (y / shape[0]))[:, :, None]
    taken = np.zeros(shape, np.float32)
    for x, y in centres:
        one = np.zeros(shape, np.float32)
        cv2.circle(one, (x, y), diameter // 2, 1.0, cv2.FILLED, cv2.LINE_AA)
        if pale:
            cv2.circle(one, (x, y), round(diameter * pale / 2), 0.05, cv2.FILLED, cv2.LINE_AA)
        taken += one
    absorbance = np.log(np.array([225, 228, 215]) / np.array(STAINS[stain]))
    picture = cv2.GaussianBlur(light * np.exp(-taken[:, :, None] * absorbance), (0, 0), 1.0)
    noise = np.random.default_rng(0).normal(0, 1.5, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def grid(diameter: int, shape: tuple[int, int] = (480, 640)) -> list[tuple[int, int]]:
    step = round(1.5 * diameter)
    return [
        (x, y)
        for y in range(step, shape[0] - diameter, step)
        for x in range(step, shape[1] - diameter, step)
    ]


def found_of(image: np.ndarray) -> np.ndarray:
    cells = ClassicalFinder().find(image)
    return np.array([c.box for c in cells if c.counted], float).reshape(-1, 4)


def squares(centres: list[tuple[int, int]], diameter: int) -> np.ndarray:
    half = diameter / 2
    return np.array([(x - half, y - half, x + half, y + half) for x, y in centres])


@pytest.mark.parametrize("diameter", [16, 30, 60, 95])
def test_scale_is_measured_in_the_field(diameter):
    scale = measure_scale(smear(grid(diameter), diameter))
    assert scale is not None
    assert scale.diameter_px == pytest.approx(diameter, rel=0.12)


@pytest.mark.parametrize("diameter", [20, 45, 90])
@pytest.mark.parametrize("stain", STAINS)
@pytest.mark.parametrize("pale", [0.0, 0.45])
def test_lone_cells_are_found_whole(diameter, stain, pale):
    centres = grid(diameter)
    found = found_of(smear(centres, diameter, stain, pale=pale))
    iou = box_iou(squares(centres, diameter), found)
    assert len(found) == len(centres)
    assert (iou.max(1) > 0.8).all()


def test_touching_and_overlapping_cells_are_split():
    centres = grid(50)
    centres += [(x + 34, y) for x, y in centres[::3]]
    found = found_of(smear(centres, 50))
    iou = box_iou(squares(centres, 50), found)
    assert (iou.max(1) >= 0.5).mean() >= 0.9


def test_a_dark_corner_hides_no_cell():
    centres = grid(45)
    found = found_of(smear(centres, 45, dark_corner=True))
    assert (box_iou(squares(centres, 45), found).max(1) > 0.7).all()


def test_a_cell_at_the_border_is_found_but_not_counted():
    cells = ClassicalFinder().find(smear([*grid(50), (0, 240)], 50))
    (cut,) = [c for c in cells if c.box[0] == 0]
    assert cut.reason == "border"


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_even_field_holds_nothing(level):
    assert ClassicalFinder().find(np.full((300, 400, 3), level, np.uint8)) == []


def test_a_white_cell_and_platelets_are_no_red_cells():
    image = smear([c for c in grid(45) if np.hypot(c[0] - 320, c[1] - 240) > 90], 45)
    cv2.circle(image, (320, 240), 50, (190, 170, 205), cv2.FILLED)
    for x, y in ((305, 225), (335, 232), (318, 258)):
        cv2.circle(image, (x, y), 22, (70, 40, 130), cv2.FILLED)
    cells = ClassicalFinder().find(image)
    white = [c for c in cells if c.kind == "white-cell"]
    assert len(white) == 1
    over = [
        c
        for c in cells
        if c.kind == "red-cell" and abs(c.box[0] - 300) < 30 and abs(c.box[1] - 220) < 30
    ]
    assert over == []


def test_mirroring_the_field_mirrors_the_cells():
    image = smear(grid(45), 45)
    there = found_of(image)
    back = found_of(np.ascontiguousarray(image[:, ::-1]))
    mirrored = np.stack([640 - back[:, 2], back[:, 1], 640 - back[:, 0], back[:, 3]], 1)
    assert (box_iou(there, mirrored).max(1) > 0.9).all()
    assert len(there) == len(back)
