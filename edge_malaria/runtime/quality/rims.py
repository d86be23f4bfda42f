"""Dark rims around cells: how far a field is out of focus though every edge is steep.

Beyond or before the focus a red cell refracts: a narrow dark ring follows its outline, and its
inside is bright. A person turns the fine focus; a classifier takes rings for parasites. Around a
pale centre the dark band is wider, so what counts is how fast the ring ends inwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_malaria.prepare.area_shrink import area_shrink
from edge_malaria.prepare.stain import evenly
from edge_malaria.records import Cell, Image
from edge_malaria.runtime.detect.light import FloatMap

# A cell's box is shown so large, and so much of what surrounds it, in px.
_BOX_PX, _SIDE_PX = 40, 60
_CELLS, _RAYS = 20, 32
# Radii along a ray, px, and those that lie outside the cell whatever its shape.
_RADII = np.arange(2.0, 29.5, 0.5)
_OUTSIDE = _RADII > 24
# A ray is darkest within 22 px; the outline lies between 19 and 25 px.
_WITHIN = slice(0, int(np.searchsorted(_RADII, 22.0)))
_FIRST, _LAST = (int(np.searchsorted(_RADII, radius)) for radius in (19.0, 25.0))
# Steps of half a px inwards from the outline: the rim, and what follows it.
_RIM, _INSIDE = slice(1, 12), slice(12, 18)
# A ray tells nothing where little is taken, or where a neighbour begins (share of its darkest).
_LEAST_TAKEN, _MOST_BEYOND = 0.03, 0.35
_LEAST_RAYS, _LEAST_CELLS = 6, 4

_ANGLES = np.arange(_RAYS) / _RAYS * 2 * np.pi
_ROWS, _COLUMNS = (
    np.rint(_SIDE_PX / 2 - 0.5 + wave(_ANGLES)[:, None] * _RADII).astype(np.int64)
    for wave in (np.sin, np.cos)
)


@dataclass(frozen=True)
class Rim:
    """The outline of a field's typical cell, in green.

    Attributes:
        ratio: absorbance of the rim over that of what follows it inwards; 1 without a ring.
        depth: their difference (natural log).
    """

    ratio: float
    depth: float


def typical_rim(image: Image, cells: Sequence[Cell]) -> Rim | None:
    """The medians over a field's counted cells; None where too few lie free.

    Args:
        image: uint8 [H, W, 3] RGB.
        cells: of the field.
    """
    counted = [cell for cell in cells if cell.counted]
    shown = [_shown(image, counted[place]) for place in evenly(len(counted), _CELLS)]
    patches = [patch for patch in shown if patch is not None]
    if not patches:
        return None
    levels = np.stack(patches)[:, _ROWS, _COLUMNS].astype(np.float32)
    clear = np.percentile(levels[:, :, _OUTSIDE], 75, axis=(1, 2), keepdims=True)
    taken = np.log(np.maximum(clear, 1.0)) - np.log(np.maximum(levels, 1.0))
    inwards = _profiles(taken)
    if len(inwards) < _LEAST_CELLS:
        return None
    rim, inside = inwards[:, _RIM].max(axis=1), inwards[:, _INSIDE].mean(axis=1)
    ratio = np.median(rim / np.maximum(inside, 0.02))
    return Rim(float(ratio), float(np.median(rim - inside)))


def _shown(image: Image, cell: Cell) -> NDArray[np.uint8] | None:
    """Green of the cell and its surroundings, its box ``_BOX_PX`` square; None past the edge."""
    x0, y0, x1, y1 = cell.box
    reach = _SIDE_PX / _BOX_PX / 2
    x, y, across, down = (x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) * reach, (y1 - y0) * reach
    left, top, right, bottom = (
        round(x - across),
        round(y - down),
        round(x + across),
        round(y + down),
    )
    if left < 0 or top < 0 or right > image.shape[1] or bottom > image.shape[0]:
        return None
    green = np.ascontiguousarray(image[top:bottom, left:right, 1])
    return area_shrink(green, (_SIDE_PX, _SIDE_PX))


def _profiles(taken: FloatMap) -> FloatMap:
    """The mean absorbance inwards from the outline: cells [N, rays, radii] -> [M, 18].

    The outline is where a ray takes half of what it takes at most. Cells of few free rays are left
    out.
    """
    beyond = taken[:, :, _OUTSIDE].mean(axis=2)
    most = taken[:, :, _WITHIN].max(axis=2)
    above = taken[:, :, _FIRST:_LAST] > 0.5 * most[:, :, None]
    free = (most > _LEAST_TAKEN) & (beyond < _MOST_BEYOND * most) & above.any(axis=2)
    outline = _LAST - 1 - np.argmax(above[:, :, ::-1], axis=2)
    steps = outline[:, :, None] - np.arange(_INSIDE.stop)
    inwards = np.take_along_axis(taken, steps, axis=2)
    count = free.sum(axis=1)
    enough = count >= _LEAST_RAYS
    total = np.where(free[:, :, None], inwards, 0.0).sum(axis=1)[enough]
    return np.asarray(total / count[enough, None], np.float32)
