"""Refracting cells have a dark ring along their outline: such a field is out of focus."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge_malaria.records import Cell, Image
from edge_malaria.runtime.detect.classical import ClassicalFinder
from edge_malaria.runtime.quality.cell_quality import assess_cells
from edge_malaria.runtime.quality.field_quality import QualityLimits, assess
from edge_malaria.runtime.quality.rims import typical_rim
from edge_malaria.synthetic import SmearTruth, draw_field

DIAMETER_PX = 60


@pytest.fixture(scope="module")
def drawn() -> tuple[Image, SmearTruth]:
    return draw_field(11, 960, 720, cell_diameter_px=DIAMETER_PX, parasitemia=0.0)


def ringed(drawn: tuple[Image, SmearTruth], share: float, width: float) -> Image:
    """The field with a ring of ``width`` cell diameters along each cell, of ``share`` the light."""
    image, truth = drawn
    changed = image.astype(np.float32)
    reach = 2 * round(width * DIAMETER_PX) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    for item in truth.red_cells:
        x0, y0, x1, y1 = item.box
        mask = item.mask.astype(np.uint8)
        inner = cv2.erode(mask, disc, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        changed[y0:y1, x0:x1][(mask > 0) & (inner == 0)] *= share
    return np.asarray(cv2.GaussianBlur(np.rint(changed).astype(np.uint8), (0, 0), 1.0), np.uint8)


def reason(image: Image, limits: QualityLimits | None = None) -> str:
    cells = ClassicalFinder().find(image)
    side = max(image.shape[:2])
    return assess_cells(cells, assess(image), side, limits, small=image, image=image).reason


def test_a_dark_ring_is_out_of_focus(drawn: tuple[Image, SmearTruth]) -> None:
    assert reason(drawn[0]) == ""
    refracting = ringed(drawn, 0.7, 0.06)
    assert reason(refracting) == "out-of-focus"
    assert reason(refracting, QualityLimits(max_rim=9.0)) == "", "nothing else is wrong with it"


def test_a_faint_ring_and_a_wide_one_are_counted(drawn: tuple[Image, SmearTruth]) -> None:
    # A wide dark band is what a pale centre leaves of a cell.
    assert reason(ringed(drawn, 0.95, 0.06)) == ""
    assert reason(ringed(drawn, 0.8, 0.25)) == ""


def test_the_rim_of_a_typical_cell(drawn: tuple[Image, SmearTruth]) -> None:
    cells = ClassicalFinder().find(drawn[0])
    plain = typical_rim(drawn[0], cells)
    ring = typical_rim(ringed(drawn, 0.7, 0.06), cells)
    assert plain is not None and ring is not None
    assert plain.ratio == pytest.approx(1.0, abs=0.2)
    assert ring.ratio > 1.72 and ring.depth > plain.depth + 0.1


def test_too_few_free_cells_tell_nothing(drawn: tuple[Image, SmearTruth]) -> None:
    cells = [cell for cell in ClassicalFinder().find(drawn[0]) if cell.counted]
    assert typical_rim(drawn[0], []) is None
    assert typical_rim(drawn[0], cells[:3]) is None
    beyond = Cell((0, 0, 40, 40), np.ones((40, 40), np.bool_), "red-cell", True, "", 0.9)
    assert typical_rim(drawn[0], [beyond] * 9) is None, "the surroundings lie past the edge"
