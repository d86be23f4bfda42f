"""A drawing in progress: light that passes, built up dye by dye."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.records import Box
from edge_malaria.synthetic.shapes import SHIFT, Gray
from edge_malaria.synthetic.stains import Floats

_UNIT = float(2**SHIFT)


@dataclass
class Patch:
    """A drawing in progress: what share of the light passes at each pixel.

    Attributes:
        light: float32 [3, H, W], 1 = clear; planes, because that is several times faster.
        mask: uint8 [H, W], 255 on the object.
        radius_px: half the cell's diameter.
        boxes: of the parasites drawn so far.
    """

    light: Floats
    mask: Gray
    radius_px: float
    boxes: list[Box] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) px."""
        return self.mask.shape[0], self.mask.shape[1]

    @property
    def centre(self) -> float:
        """x and y of the middle, px."""
        return float(self.mask.shape[0]) / 2

    def absorb(self, layer: Gray, colour: Floats, strength: float = 1.0) -> None:
        """Puts a dye on: ``layer`` 255 is full, 0 none; above 1 a ``colour`` lightens."""
        y0, y1, x0, x1 = extent(layer)
        if y0 == y1:
            return
        share = layer[y0:y1, x0:x1].astype(np.float32) * np.float32(strength / 255)
        self.light[:, y0:y1, x0:x1] *= 1 - share * (1 - colour)[:, None, None]


def extent(layer: Gray) -> tuple[int, int, int, int]:
    """(y0, y1, x0, x1) of what is not 0."""
    x, y, width, height = cv2.boundingRect(layer)
    return y, y + height, x, x + width


def box_of(layer: Gray) -> Box:
    """The box around what is clearly visible of a layer."""
    y0, y1, x0, x1 = extent((layer > 24).astype(np.uint8))
    return x0, y0, x1, y1


def _fixed(value: float) -> int:
    return round(value * _UNIT)


def disc(layer: Gray, x: float, y: float, radius: float) -> None:
    """Adds a full disc to ``layer``."""
    centre = (_fixed(x - 0.5), _fixed(y - 0.5))
    cv2.circle(layer, centre, max(1, _fixed(radius)), 255, -1, cv2.LINE_AA, SHIFT)


def blank(patch: Patch) -> Gray:
    """An empty layer of the patch's size."""
    return np.zeros(patch.shape, np.uint8)


def new_patch(diameter_px: float, room: float) -> Patch:
    """A clear patch with ``room`` times the diameter on a side."""
    side = 2 * int(diameter_px * room / 2 + 4)
    return Patch(
        np.ones((3, side, side), np.float32), np.zeros((side, side), np.uint8), diameter_px / 2
    )


def layer(thickness: Floats, transmission: Floats) -> Floats:
    """Light float32 [3, H, W] behind a stuff of ``transmission`` [3] at ``thickness`` 1."""
    opacity = (1 - transmission).astype(np.float32)
    return 1 - thickness.astype(np.float32) * opacity[:, None, None]


def edge_and_depth(mask: NDArray[np.uint8], width_px: float) -> tuple[Floats, Floats]:
    """Soft coverage 0-1 across the outline, and depth below it (0 at the rim, 1 deepest)."""
    inside = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    outside = cv2.distanceTransform(255 - mask, cv2.DIST_L2, 5)
    step = np.clip((inside - outside) / np.float32(2 * width_px) + np.float32(0.5), 0, 1)
    soft = step * step * (3 - 2 * step)
    deepest = max(float(inside.max()), 1.0)
    return soft.astype(np.float32), np.clip(inside / np.float32(deepest), 0, 1).astype(np.float32)
