"""One scale for a slide: how large a red cell is, learned from its counted fields.

A finder that looks for the scale anew in every field is now and then sure of the wrong one: it
takes clumps of twenty cells for one. The slide's microscope does not change, so a field that is
off is looked at again at the slide's scale, and refused as ``scale`` where that does not hold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edge_malaria.records import Cell, Image
from edge_malaria.runtime.detect.cells import CellFinder, typical_size
from edge_malaria.runtime.detect.scale import measure_scale

# A field whose typical cell differs from the slide's by more than this factor is off.
SAME_SCALE = 1.35
# Red cells of one field are alike: upper over lower quartile of their sizes, 1.05-1.30 on nearly
# all fields. Clumps taken for cells: 1.35 and more.
ALIKE = 1.32
# Sick cells vary more, and long ones are found in parts: elliptocytes reach 1.41, thalassemia 1.33.
# So far the sizes of a field may vary whose typical cell something else confirms.
VARIED = 1.5
# Of fewer cells the quartiles say little.
TELLING_CELLS = 15
# Where found cells explain less of what is stained, and round cells say another size, a field is
# looked at again. Most fields: .69 and more; cells in rolls: .48 and more, without round ones.
EXPLAINED = 0.6
# The second pass holds where it explains so many times as much.
MUCH_MORE = 1.25


def alike(cells: Sequence[Cell], limit: float = ALIKE) -> bool:
    """Whether a field's whole red cells are of one size; True where too few can tell."""
    size = typical_size(cells)
    return size is None or len(cells) < TELLING_CELLS or bool(size[1] <= limit)


def _near(diameter_px: float, other_px: float) -> bool:
    return bool(1 / SAME_SCALE <= diameter_px / other_px <= SAME_SCALE)


def _holds(cells: Sequence[Cell], diameter_px: float | None) -> bool:
    """Whether cells are of this diameter, px; where it is None, whether they are alike."""
    size = typical_size(cells)
    if size is None:
        return True
    if diameter_px is None:
        return alike(cells)
    return alike(cells, VARIED) and _near(size[0], diameter_px)


def _sureness(cells: Sequence[Cell]) -> float:
    """The median score of the red cells, 0-1; 0 where there are none."""
    scores = [cell.score for cell in cells if cell.kind == "red-cell"]
    return float(np.median(scores)) if scores else 0.0


class SlideScale:
    """The typical red cell of a slide, px of the decoded picture.

    Attributes:
        diameter_px: the median over the counted fields so far; None before the first.
    """

    def __init__(self) -> None:
        self._fields: list[float] = []

    @property
    def diameter_px(self) -> float | None:
        """See the class."""
        return float(np.median(self._fields)) if self._fields else None

    def note(self, diameter_px: float | None) -> None:
        """Takes up a counted field's typical cell; None changes nothing."""
        if diameter_px is not None:
            self._fields.append(diameter_px)

    def holds(self, cells: Sequence[Cell]) -> bool:
        """Whether a field's cells are of the slide's size, or alike where that is not known."""
        return _holds(cells, self.diameter_px)

    def find(
        self,
        finder: CellFinder,
        image: Image,
        small: Image | None = None,
        explained: Callable[[Sequence[Cell]], float] = lambda cells: 1.0,
    ) -> tuple[list[Cell], bool]:
        """The field's cells, looked at again where they contradict the slide or each other.

        A slide's first fields are also looked at again where the cells leave out much of what is
        stained: no earlier field says that their scale is right.

        Args:
            finder: looks at the field.
            image: uint8 [H, W, 3] RGB.
            small: a smaller copy; see ``CellFinder``.
            explained: the share of what is stained that cells explain, 0-1.

        Returns:
            The cells, and whether their scale holds.
        """
        cells = finder.find(image, small, self.diameter_px)
        if self.holds(cells):
            return self._or_more(cells, finder, image, small, explained), True
        for diameter in self._others(image):
            again = finder.find_at(image, diameter, small)
            # An answer that leaves the scale it was asked at is no answer; nor is a less sure one
            # where the first was of one piece: another objective, and cells cut into parts.
            surer = not alike(cells) or _sureness(again) > _sureness(cells)
            if typical_size(again) is not None and surer and _holds(again, diameter):
                return again, True
        return cells, False

    def _or_more(
        self,
        cells: list[Cell],
        finder: CellFinder,
        image: Image,
        small: Image | None,
        explained: Callable[[Sequence[Cell]], float],
    ) -> list[Cell]:
        """The cells, or those of the size of single round cells where they explain much more."""
        if self.diameter_px is not None:
            return cells
        share = explained(cells)
        scale = None if share >= EXPLAINED else measure_scale(image)
        if scale is None or not scale.sure:
            return cells
        again = finder.find_at(image, scale.diameter_px, small)
        more = explained(again) >= MUCH_MORE * share
        return again if more and _holds(again, scale.diameter_px) else cells

    def _others(self, image: Image) -> list[float]:
        """Scales to look at again: the slide's, or what the outlines of lone cells say."""
        if self.diameter_px is not None:
            return [self.diameter_px]
        scale = measure_scale(image)
        return [] if scale is None else [scale.diameter_px]
