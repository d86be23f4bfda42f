"""One scale for a slide: fields off it are looked at again, and refused where it does not hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_malaria.records import Cell, Image
from edge_malaria.runtime.detect.cells import typical_size
from edge_malaria.runtime.detect.classical import ClassicalFinder
from edge_malaria.runtime.detect.slide_scale import SlideScale, alike
from edge_malaria.runtime.quality.explained import explained_share
from edge_malaria.runtime.quality.field_quality import assess
from edge_malaria.synthetic import draw_field


def cells(sizes: list[int]) -> list[Cell]:
    return [
        Cell((0, 0, size, size), np.ones((size, size), bool), "red-cell", True, "", 0.9)
        for size in sizes
    ]


def test_the_scale_is_the_median_over_fields() -> None:
    scale = SlideScale()
    assert scale.diameter_px is None
    for diameter in (40.0, 42.0, 130.0, None):
        scale.note(diameter)
    assert scale.diameter_px == 42.0


def test_typical_size_leaves_cut_cells_out() -> None:
    whole = cells([40] * 5)
    cut = Cell((0, 0, 8, 8), np.ones((8, 8), bool), "red-cell", False, "border", 0.9)
    assert typical_size([*whole, cut, cut]) == (40.0, 1.0)
    assert typical_size(whole[:2]) is None


def test_cells_of_another_size_or_unlike_each_other_contradict() -> None:
    scale = SlideScale()
    assert scale.holds(cells([60] * 20))
    assert not scale.holds(cells([30] * 8 + [80] * 12))
    scale.note(40.0)
    assert scale.holds(cells([44] * 20))
    assert not scale.holds(cells([120] * 20))


def test_long_cells_found_in_parts_hold_where_the_slide_confirms_their_size() -> None:
    scale, varied = SlideScale(), cells([48] * 8 + [58] * 4 + [68] * 8)
    assert not scale.holds(varied)
    scale.note(60.0)
    assert scale.holds(varied)
    assert not scale.holds(cells([35] * 8 + [58] * 4 + [90] * 8)), "clumps and parts of cells"


class Astray(ClassicalFinder):
    """Takes groups for cells and passes most by at first, as a learned finder now and then."""

    def find(
        self, image: Image, small: Image | None = None, diameter_px: float | None = None
    ) -> list[Cell]:
        return self.find_at(image, 3 * 40.0)[::5]


def test_a_first_field_of_which_little_is_found_is_looked_at_at_the_size_of_its_round_cells() -> (
    None
):
    image = draw_field(5, 800, 600, cell_diameter_px=40)[0]
    ground = assess(image).ground
    astray = Astray()

    def explained(cells: Sequence[Cell]) -> float:
        return explained_share(cells, ground, 800)

    first = astray.find(image)
    assert alike(first), "nothing else says that they are wrong"
    assert explained(first) < 0.6
    plain, _ = SlideScale().find(astray, image)
    assert len(plain) == len(first)
    found, holds = SlideScale().find(astray, image, None, explained)
    assert holds
    assert explained(found) > 0.9
    size = typical_size(found)
    assert size is not None
    assert 36 <= size[0] <= 46


def test_a_field_of_another_magnification_does_not_hold() -> None:
    scale, finder = SlideScale(), ClassicalFinder()
    near = draw_field(5, 800, 600, cell_diameter_px=40)[0]
    found, holds = scale.find(finder, near)
    assert holds
    size = typical_size(found)
    assert size is not None
    scale.note(size[0])
    far = draw_field(6, 800, 600, cell_diameter_px=100)[0]
    assert not scale.find(finder, far)[1]
    assert scale.find(finder, draw_field(7, 800, 600, cell_diameter_px=43)[0])[1]
