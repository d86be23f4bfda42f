"""Things that a finder takes for red cells, though chromatin or granules fill them.

Giant platelets and small dark white cells are as round and nearly as large as red cells. Azure
stains take red light, haemoglobin and eosin hardly do: what takes much more red light than the
field's red cells do, over much of its area, is none of them. Magenta nuclei take green light
instead, more than any red cell. A parasite fills less of its cell: of 4,600 parasitized cells of
the home laboratory none reaches the limits, nor does one of 130 boxed in iml.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.records import Cell, CellKind, Image
from edge_malaria.runtime.detect.cells import typical_size
from edge_malaria.runtime.detect.light import FloatMap, background, shrink

# Median red absorbance over that of the field's typical red cell, and the share of the cell that
# is much darker in red. Parasitized cells: up to 1.97 and .26; giant platelets: 2 to 5, .3 to .8.
LEAST_RATIO = 2.0
LEAST_SHARE = 0.3
# A thing of a red cell's size, in typical red cells, may be a schizont's host: it stays. Nine of
# ten giant platelets are smaller, white cells that the network takes for red cells larger.
SMALL = 0.95
LARGE = 1.05
LEAST_RATIO_LARGE = 3.0
LEAST_SHARE_LARGE = 0.5
# The same in green, of what is that large. Parasitized cells: up to 2.2; nuclei of
# white cells that the network takes for red cells: 2.3 to 4.3, over .84 and more of their area.
LEAST_RATIO_GREEN = 2.5
LEAST_SHARE_GREEN = 0.7
# Much darker: this much above the typical cell's absorbance (natural log), and twice of it.
DARKER_BY = 0.25
LEAST_DARK = 0.3
# Where the red cells themselves take so much red light (dense blue stain), chromatin hardly takes
# more: nothing is told by it.
MOST_TYPICAL_RED = 0.6
# Fewer red cells tell nothing about their stain.
LEAST_CELLS = 4
# Only cells whose inner box is so much darker than the typical one are looked at closely.
CLOSER_LOOK = 1.5


def without_stained(cells: Sequence[Cell], small: Image, factor: float) -> list[Cell]:
    """The cells; those that chromatin fills are platelets or white cells instead of red ones.

    Args:
        cells: of a field, boxes in its pixels.
        small: uint8 [H, W, 3] RGB, the field as the finder saw it.
        factor: pixels of ``small`` a pixel of the field.
    """
    places = [i for i, cell in enumerate(cells) if cell.kind == "red-cell"]
    size = typical_size(cells)
    if len(places) < LEAST_CELLS or size is None:
        return list(cells)
    levels = np.log(np.maximum(np.arange(256), 1)).astype(np.float32)
    # The empty slide's light is smooth: a quarter of its pixels hold it all.
    coarse = np.log(background(shrink(small, 0.5))[:, :, :2])
    light = cv2.resize(coarse, small.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    boxes = np.array([cells[i].box for i in places]) * factor
    stains, dark = [], np.zeros(len(places), np.bool_)
    for channel in (0, 1):
        seen = np.asarray(cv2.LUT(np.ascontiguousarray(small[:, :, channel]), levels), np.float32)
        taken = np.asarray(light[:, :, channel] - seen, np.float32)
        inner = _inner_means(taken, boxes)
        typical = max(float(np.median(inner)), 0.03)
        stains.append((taken, typical))
        dark |= inner >= CLOSER_LOOK * typical
    if not (stains[0][1] <= MOST_TYPICAL_RED):
        return list(cells)
    found = list(cells)
    for place in np.asarray(places)[dark].tolist():
        kind = _kind(cells[place], stains, factor, size[0])
        if kind != "red-cell":
            found[place] = replace(cells[place], kind=kind, counted=False, reason=kind)
    return found


def _inner_means(taken: FloatMap, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of ``taken`` in the inner 60 % of each box, float64 [N]."""
    height, width = taken.shape
    total = cv2.integral(taken)
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, 0.3 * (boxes[:, 2:] - boxes[:, :2])
    low = np.clip(np.floor(middle - half), 0, (width - 1, height - 1)).astype(int)
    high = np.maximum(np.clip(np.ceil(middle + half), 1, (width, height)).astype(int), low + 1)
    sums = (
        total[high[:, 1], high[:, 0]]
        - total[low[:, 1], high[:, 0]]
        - total[high[:, 1], low[:, 0]]
        + total[low[:, 1], low[:, 0]]
    )
    return np.asarray(sums / np.prod(high - low, axis=1), np.float64)


def _kind(
    cell: Cell, stains: Sequence[tuple[FloatMap, float]], factor: float, typical_px: float
) -> CellKind:
    """What a dark thing is; ``stains``: absorbance of red and green, and the typical cell's."""
    x0, y0, x1, y1 = cell.box
    size = float(np.sqrt((x1 - x0) * (y1 - y0))) / typical_px
    if SMALL < size < LARGE:
        return "red-cell"
    (red, typical_red), (green, typical_green) = stains
    ratio, share = _ratio_and_share(cell, red, factor, typical_red)
    if size <= SMALL:
        return "platelet" if ratio >= LEAST_RATIO and share >= LEAST_SHARE else "red-cell"
    if ratio >= LEAST_RATIO_LARGE and share >= LEAST_SHARE_LARGE:
        return "white-cell"
    ratio, share = _ratio_and_share(cell, green, factor, typical_green)
    in_green = ratio >= LEAST_RATIO_GREEN and share >= LEAST_SHARE_GREEN
    return "white-cell" if in_green else "red-cell"


def _ratio_and_share(
    cell: Cell, taken: FloatMap, factor: float, typical: float
) -> tuple[float, float]:
    """The cell's median absorbance over the typical cell's, and the share that is much darker."""
    x0, y0, x1, y1 = (round(edge * factor) for edge in cell.box)
    part = taken[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
    if part.size == 0:
        return 0.0, 0.0
    size = (part.shape[1], part.shape[0])
    mask = cv2.resize(cell.mask.astype(np.uint8), size, interpolation=cv2.INTER_AREA) > 0
    values = part[mask]
    if values.size == 0:
        return 0.0, 0.0
    dark = max(LEAST_DARK, 2 * typical, typical + DARKER_BY)
    return float(np.median(values)) / typical, float((values > dark).mean())
