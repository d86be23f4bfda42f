"""Colours that no red cell of any laboratory has: grey, one channel of a picture, a turned hue.

A classifier answers for them, and hardly ever "parasitized". Stains differ widely between
laboratories, so the limits of a single cell are wide. The median of many cells is known far
better, and its limits are narrow. ``python -m benchmarks.fields.cell_tints`` reads both off the
sources that may decide; no set that only reports is among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_malaria.prepare.stain import lit_points
from edge_malaria.records import Image, Mask

# Fewest lit points that tell a cell's tint.
_LEAST_POINTS = 8
# Optical density against white of each level (natural log); 255 has hardly any.
_DENSITY = -np.log((np.arange(256) + 1) / 256)
_LEAST_DENSITY = 0.02
# Of one cell: least colour, and the densities of red and blue over that of green.
CELL_COLOUR = 0.017
CELL_RED = (0.18, 1.47)
CELL_BLUE = (0.28, 1.65)
# Of the median of at least so many cells, taken as one slide.
SLIDE_CELLS = 10
SLIDE_COLOUR = 0.066
SLIDE_RED = (0.34, 1.08)
SLIDE_BLUE = (0.39, 1.23)


@dataclass(frozen=True)
class CellTint:
    """The colour of a cell, however strong its stain.

    Attributes:
        colour: mean distance of the channels' densities from their mean, over that mean; 0 is grey.
        red_to_green, blue_to_green: densities of the cell's median colour.
    """

    colour: float
    red_to_green: float
    blue_to_green: float


def cell_tint(crop: Image, mask: Mask | None = None) -> CellTint | None:
    """The tint of one cell; None where nothing, or hardly anything, is lit.

    Args:
        crop: uint8 [H, W, 3] RGB, tight around the cell.
        mask: bool [H, W], True on the cell; None where the background is black already.
    """
    points = lit_points(crop, mask)
    if len(points) < _LEAST_POINTS:
        return None
    density = _DENSITY[points]
    apart = np.abs(density - density.mean(axis=1, keepdims=True)).mean()
    red, green, blue = _DENSITY[np.median(points, axis=0).astype(int)]
    return CellTint(
        float(apart / max(float(density.mean()), 1e-3)),
        float(red / max(float(green), _LEAST_DENSITY)),
        float(blue / max(float(green), _LEAST_DENSITY)),
    )


def _within(value: float, limits: tuple[float, float]) -> bool:
    return bool(limits[0] <= value <= limits[1])


def foreign_cell(tint: CellTint | None) -> bool:
    """Whether no red cell of any laboratory looks like this; True where nothing is seen."""
    return not (
        tint is not None
        and tint.colour >= CELL_COLOUR
        and _within(tint.red_to_green, CELL_RED)
        and _within(tint.blue_to_green, CELL_BLUE)
    )


def foreign_slide(tints: Sequence[CellTint | None]) -> bool:
    """Whether no laboratory's slide has such a median cell; False where too few cells tell."""
    seen = [tint for tint in tints if tint is not None]
    if len(seen) < SLIDE_CELLS:
        return False
    colour, red, blue = np.median(
        [(t.colour, t.red_to_green, t.blue_to_green) for t in seen], axis=0
    ).tolist()
    return not (colour >= SLIDE_COLOUR and _within(red, SLIDE_RED) and _within(blue, SLIDE_BLUE))
