"""The lit part of a field: found where it is a disc or a part, and nowhere else."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge_malaria.records import Image
from edge_malaria.runtime.detect.aperture import find_aperture
from edge_malaria.runtime.detect.classical import ClassicalFinder
from edge_malaria.runtime.detect.flat_field import field_correction
from edge_malaria.synthetic import draw_field

CENTRE, RADIUS = (480, 360), 340


def through_an_eyepiece(field: Image) -> Image:
    """A field with everything but a disc nearly black, as a phone sees it."""
    disc = np.zeros(field.shape[:2], np.uint8)
    cv2.circle(disc, CENTRE, RADIUS, 255, cv2.FILLED)
    soft = cv2.GaussianBlur(disc, (0, 0), 3)[:, :, None] / 255.0
    return np.asarray(field * soft + 22 * (1 - soft), np.uint8)


@pytest.fixture(scope="module")
def field() -> Image:
    return draw_field(11, 960, 720, cell_diameter_px=50)[0]


def far_from_centre(box: tuple[int, int, int, int]) -> float:
    x0, y0, x1, y1 = box
    return float(np.hypot((x0 + x1) / 2 - CENTRE[0], (y0 + y1) / 2 - CENTRE[1]))


def test_a_lit_field_has_no_aperture(field: Image) -> None:
    assert find_aperture(field) is None
    assert field_correction(field).apply(field) is field


def test_densely_stained_cells_at_the_border_are_no_rim() -> None:
    image = np.full((720, 960, 3), 225, np.uint8)
    for x, y in [(0, 60), (0, 200), (959, 300), (400, 0), (500, 719), (480, 360), (300, 400)]:
        cv2.circle(image, (x, y), 70, (95, 60, 110), cv2.FILLED)
    assert find_aperture(image) is None


def test_cells_outside_are_gone_and_cells_at_the_rim_do_not_count(field: Image) -> None:
    round_field = through_an_eyepiece(field)
    correction = field_correction(round_field)
    assert correction.aperture is not None
    assert correction.aperture.lit_share == pytest.approx(np.pi * RADIUS**2 / 960 / 720, abs=0.05)
    seen = correction.apply(round_field)
    finder = ClassicalFinder()
    cells = correction.without_cut_cells(finder.find(seen), seen.shape)
    red = [cell for cell in cells if cell.kind == "red-cell"]
    assert all(far_from_centre(cell.box) < RADIUS + 25 for cell in red)
    assert all(far_from_centre(cell.box) < RADIUS - 15 for cell in red if cell.counted)
    rim = [c for c in red if not c.counted and far_from_centre(c.box) < RADIUS - 5]
    assert {cell.reason for cell in rim} <= {"border", "overlap"}
    # Well inside, the same cells count as in the whole field.
    inner = {c.box for c in finder.find(field) if c.counted and far_from_centre(c.box) < 270}
    found = [c for c in red if c.counted and far_from_centre(c.box) < 280]
    assert len(found) >= 0.9 * len(inner)


def test_half_a_field_behind_a_shade_is_a_part(field: Image) -> None:
    shaded = field.copy()
    shaded[:, :400] = 8
    aperture = find_aperture(shaded)
    assert aperture is not None
    assert aperture.lit_share == pytest.approx(560 / 960, abs=0.04)
    # The picture's own edge is no rim: only the shade's side is left out.
    assert aperture.mask(720, 960)[:, 430:].all()
    assert not aperture.mask(720, 960)[:, :400].any()
