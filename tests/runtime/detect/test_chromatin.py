"""Round things full of chromatin are no red cells; parasites do not make their cell one of them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge_malaria.records import Cell, Image
from edge_malaria.runtime.detect.chromatin import without_stained
from edge_malaria.synthetic import draw_field


def truth_cells(seed: int, parasitemia: float) -> tuple[Image, list[Cell], int]:
    """A drawn field, its red cells from the truth, and how many hold parasites."""
    image, truth = draw_field(seed, 960, 720, cell_diameter_px=60, parasitemia=parasitemia)
    red = truth.red_cells
    cells = [Cell(o.box, o.mask, "red-cell", True, "", 0.9) for o in red]
    return image, cells, sum(o.parasitized for o in red)


@pytest.mark.parametrize("seed", range(6))
def test_parasitized_cells_stay_red_cells(seed: int) -> None:
    image, cells, parasitized = truth_cells(seed, 0.5)
    assert parasitized > 5
    small = cv2.resize(image, None, fx=1 / 3, fy=1 / 3, interpolation=cv2.INTER_AREA)
    kept = without_stained(cells, np.asarray(small), 1 / 3)
    assert sum(cell.kind != "red-cell" for cell in kept) == 0


@pytest.mark.parametrize(
    ("diameter", "colour", "kind"),
    [
        (48, (70, 45, 120), "platelet"),
        (84, (70, 45, 120), "white-cell"),
        # A magenta nucleus takes hardly any red light.
        (84, (170, 20, 130), "white-cell"),
    ],
)
def test_a_dark_round_thing_does_not_count(
    diameter: int, colour: tuple[int, int, int], kind: str
) -> None:
    image, cells, _ = truth_cells(2, 0.0)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (diameter, diameter)) > 0
    grain = np.random.default_rng(0).integers(-12, 12, (diameter, diameter, 1))
    image[300 : 300 + diameter, 400 : 400 + diameter][disc] = (np.array(colour) + grain).astype(
        np.uint8
    )[disc]
    dark = Cell((400, 300, 400 + diameter, 300 + diameter), disc, "red-cell", True, "", 0.7)
    beside = [c for c in cells if c.box[2] < 380 or c.box[0] > 520]
    kept = without_stained([*beside, dark], image, 1.0)
    assert [cell.kind for cell in kept[:-1]] == ["red-cell"] * len(beside)
    assert (kept[-1].kind, kept[-1].counted, kept[-1].reason) == (kind, False, kind)


def test_too_few_cells_tell_nothing() -> None:
    image, cells, _ = truth_cells(2, 0.0)
    assert without_stained(cells[:3], image, 1.0) == cells[:3]
