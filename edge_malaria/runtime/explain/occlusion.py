"""Which part of a cell the decision rests on, by covering it: needs nothing but the engine.

A square of the cell's own median colour is moved over the network's input; where the logit falls,
the network was looking (Zeiler, Fergus, "Visualizing and understanding convolutional networks",
arXiv 1311.2901). The median colour looks like plain cytoplasm, so that covering shows nothing new.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.errors import ImageError
from edge_malaria.records import RESEARCH_USE, Image, expect

Logits = Callable[[Image], NDArray[np.float32]]

# A ring is about a quarter of its cell; a square of a sixth covers its chromatin and half the rim.
PATCH_SHARE = 1.0 / 6.0
STRIDE_PX = 2
PANEL_PX = 384
_TOWARDS = np.array([220.0, 30.0, 30.0])  # covering lowers the logit: spoke for a parasite
_AGAINST = np.array([30.0, 80.0, 220.0])
_FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True, eq=False)
class OcclusionMap:
    """What covering did.

    Attributes:
        logit: of the uncovered cell.
        drop: float32 [S, S], mean fall of the logit under the squares that covered each pixel; 0
            outside the cell.
        peak: x, y of the largest fall, in input pixels (middle of the pixel).
    """

    logit: float
    drop: NDArray[np.float32]
    peak: tuple[float, float]


def cell_mask(inputs: Image) -> NDArray[np.bool_]:
    """True on the cell: not black. uint8 [..., S, S, 3] -> bool [..., S, S]."""
    return np.asarray(inputs.max(axis=-1) > 0)


def inside_cell(inputs: Image, rim_share: float = 1.0 / 24.0) -> NDArray[np.bool_]:
    """The cell without its rim, whose edge against black excites any network.

    Args:
        inputs: uint8 [N, S, S, 3], black outside the cell.
        rim_share: of S that is taken off.

    Returns:
        bool [N, S, S].
    """
    rim = max(1, round(inputs.shape[1] * rim_share))
    kernel = np.ones((2 * rim + 1, 2 * rim + 1), np.uint8)
    eroded = [
        cv2.erode(mask.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        for mask in cell_mask(inputs)
    ]
    return np.asarray(eroded, bool)


def occlude(cell: Image, logits: Logits) -> OcclusionMap:
    """Covers one cell square by square.

    Args:
        cell: uint8 [S, S, 3], the network's input, black outside the cell.
        logits: uint8 [N, S, S, 3] -> float32 [N]; ``lambda b: engine.run(b).reshape(-1)``.

    Raises:
        ImageError: nothing but background.
    """
    expect(cell.ndim == 3 and cell.shape[0] == cell.shape[1], "[S, S, 3]", cell.shape)
    mask = cell_mask(cell)
    if not mask.any():
        raise ImageError("the image is black all over: there is no cell to look at.")
    colour = np.median(cell[mask], axis=0).astype(np.uint8)
    corners = [
        (x, y)
        for y in _starts(len(cell))
        for x in _starts(len(cell))
        if mask[_window(x, y, len(cell))].any()
    ]
    covered = np.repeat(cell[None], len(corners), axis=0)
    for picture, (x, y) in zip(covered, corners, strict=True):
        square = _window(x, y, len(cell))
        picture[square][mask[square]] = colour
    values = np.asarray(logits(np.concatenate([cell[None], covered])), np.float64)
    total, times = np.zeros(mask.shape), np.zeros(mask.shape)
    for value, (x, y) in zip(values[1:], corners, strict=True):
        square = _window(x, y, len(cell))
        total[square] += values[0] - value
        times[square] += 1.0
    drop = np.where(mask, total / np.maximum(times, 1.0), 0.0).astype(np.float32)
    row, column = divmod(int(np.where(mask, drop, -np.inf).argmax()), len(cell))
    return OcclusionMap(float(values[0]), drop, (column + 0.5, row + 0.5))


def _patch_px(size: int) -> int:
    return max(2, round(size * PATCH_SHARE))


def _starts(size: int) -> list[int]:
    last = size - _patch_px(size)
    return sorted({*range(0, last + 1, STRIDE_PX), last})


def _window(x: int, y: int, size: int) -> tuple[slice, slice]:
    side = _patch_px(size)
    return slice(y, y + side), slice(x, x + side)


def paint(cell: Image, values: NDArray[np.float32], peak: tuple[float, float]) -> Image:
    """A map over a cell, enlarged, with a cross on the peak: uint8 [PANEL_PX, PANEL_PX, 3].

    Args:
        cell: uint8 [S, S, 3].
        values: float32 [S, S]; above 0 red, below 0 blue, strongest at the largest magnitude.
        peak: x, y in input pixels.
    """
    side = (PANEL_PX, PANEL_PX)
    large = cv2.resize(cell, side, interpolation=cv2.INTER_NEAREST).astype(np.float64)
    fine = cv2.resize(values, side, interpolation=cv2.INTER_LINEAR)
    alpha = 0.75 * np.abs(fine)[..., None] / max(float(np.abs(values).max()), 1e-9)
    colour = np.where((fine > 0)[..., None], _TOWARDS, _AGAINST)
    mixed = np.rint(large * (1.0 - alpha) + colour * alpha).clip(0, 255)
    painted = np.asarray(mixed, np.uint8)
    x, y = (round(place * PANEL_PX / len(cell)) for place in peak)
    cv2.drawMarker(painted, (x, y), (255, 255, 255), cv2.MARKER_CROSS, 18, 2)
    return painted


def panel(cell: Image, found: OcclusionMap, probability: float) -> Image:
    """The cell, the map over it and a scale, with the probability below; uint8 [H, W, 3]."""
    plain = cv2.resize(cell, (PANEL_PX, PANEL_PX), interpolation=cv2.INTER_NEAREST)
    gap = np.full((PANEL_PX, 12, 3), 255, np.uint8)
    top = np.hstack([plain, gap, paint(cell, found.drop, found.peak), gap, _scale(found.drop)])
    foot = np.full((64, top.shape[1], 3), 255, np.uint8)
    text = f"p parasitized {probability:.4f}   logit {found.logit:.2f}   red: covering lowers it"
    for line, y in ((text, 24), (RESEARCH_USE, 50)):
        cv2.putText(foot, line, (8, y), _FONT, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return np.asarray(np.vstack([top, foot]), np.uint8)


def _scale(drop: NDArray[np.float32]) -> Image:
    """A bar from the largest fall (red, top) to the largest rise (blue, bottom)."""
    most = float(np.abs(drop).max())
    bar = np.full((PANEL_PX, 90, 3), 255, np.uint8)
    steps = np.linspace(1.0, -1.0, PANEL_PX)[:, None]
    colour = np.where(steps > 0, _TOWARDS, _AGAINST)
    bar[:, :20] = np.rint(255.0 - (255.0 - colour) * np.abs(steps))[:, None]
    for value, y in ((most, 14), (0.0, PANEL_PX // 2 + 5), (-most, PANEL_PX - 6)):
        cv2.putText(bar, f"{value:+.2f}", (26, y), _FONT, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return bar
