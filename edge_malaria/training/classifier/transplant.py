"""Parasites carried over onto other laboratories' healthy red cells, as density.

Parasites of other laboratories must not train what ships, and a network fitted to their healthy
cells alone learns that whatever looks foreign is healthy. Density adds (Beer-Lambert): what a
parasitized training cell has above its own median is cut out and added to a healthy cell elsewhere,
turned, scaled, paler or blurred.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.prepare.stain import BLACK_LEVEL
from edge_malaria.records import Image

Floats = NDArray[np.float32]

DENSITY = (-np.log(np.maximum(np.arange(256), 1) / 255.0)).astype(np.float32)
# Haemoglobin hardly absorbs red light, Giemsa's azure does: red counts more than green.
_SIGN = (0.6, 0.4)
# Density above the cell's median that belongs to a parasite; where it must be reached once.
_BODY, _CORE = 0.10, 0.22
# Smaller spots are noise; a larger share of a cell leaves nothing of it to compare with.
_LEAST_PX, _MOST_SHARE = 6, 0.6
# A parasite fainter than this is none that a label could be trusted on.
FAINTEST = 0.22
_SQUARE = np.ones((3, 3), np.uint8)


@dataclass(frozen=True, eq=False)
class Parasite:
    """What a parasitized cell has above its median.

    Attributes:
        density: float32 [h, w, 3], natural log, tapering to 0 at its edge.
        cover: float32 [h, w], 0-1.
        peak: green density of its darker parts.
    """

    density: Floats
    cover: Floats
    peak: float


def on_cell(cell: Image) -> NDArray[np.uint8]:
    """uint8 [S, S], 1 on the cell of an input with black background."""
    return np.asarray(cell.max(axis=2) > BLACK_LEVEL, np.uint8)


def _eroded(mask: NDArray[np.uint8], times: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.erode(mask, _SQUARE, iterations=times, borderValue=0), np.uint8)


def _spots(above: Floats, inner: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 [S, S], 1 on spots of stain away from the rim."""
    sign = cv2.GaussianBlur(_SIGN[0] * above[:, :, 0] + _SIGN[1] * above[:, :, 1], (3, 3), 0.7)
    found = ((sign > _BODY) & (inner > 0)).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(found, connectivity=8)
    kept = np.zeros_like(found)
    for index in range(1, count):
        spot = labels == index
        if stats[index, cv2.CC_STAT_AREA] >= 4 and sign[spot].max() > _CORE:
            kept[spot] = 1
    closed = cv2.morphologyEx(cv2.dilate(kept, _SQUARE), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    return np.asarray(closed & inner if kept.sum() >= _LEAST_PX else np.zeros_like(kept), np.uint8)


def extract(cell: Image) -> Parasite | None:
    """The parasites of one input (uint8 [S, S, 3] on black); None where none is clear."""
    mask = on_cell(cell)
    if mask.sum() < 400:
        return None
    density = DENSITY[cell]
    above = density - np.median(density[mask > 0], axis=0).astype(np.float32)
    spots = _spots(above, _eroded(mask, 3))
    if not 0 < spots.sum() <= _MOST_SHARE * mask.sum():
        return None
    cover = np.asarray(cv2.GaussianBlur(spots.astype(np.float32), (5, 5), 1.0), np.float32)
    density = above * cover[:, :, None]
    peak = float(np.percentile(density[:, :, 1][spots > 0], 92))
    if not (peak >= 0.2):
        return None
    rows, columns = np.nonzero(cover > 0.02)
    part = (slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1))
    return Parasite(density[part], cover[part], peak)


def transplant(cell: Image, parasite: Parasite, rng: np.random.Generator) -> Image | None:
    """``parasite`` inside a healthy input of the same side; None where it finds no room.

    Args:
        cell: uint8 [S, S, 3] RGB on black.
        parasite: from ``extract``.
        rng: decides turn, size, place, contrast, hue and blur.
    """
    mask = on_cell(cell)
    laid = _laid(mask, parasite, rng)
    if laid is None:
        return None
    faintest = min(max(FAINTEST / parasite.peak, 0.3), 1.0)
    contrast = np.exp(rng.uniform(np.log(faintest), np.log(1.25)))
    if rng.random() < 0.5:
        laid = np.asarray(cv2.GaussianBlur(laid, (5, 5), rng.uniform(0.4, 1.3)), np.float32)
    hue = np.exp(rng.normal(0.0, 0.12, 3)).astype(np.float32)
    density = DENSITY[cell] + contrast * laid * hue * mask[:, :, None]
    light = 255.0 * np.exp(-np.clip(density, 0.0, 6.0)) * mask[:, :, None]
    return np.asarray(np.rint(light), np.uint8)


def _laid(mask: NDArray[np.uint8], parasite: Parasite, rng: np.random.Generator) -> Floats | None:
    """The parasite's density at a random place, float32 [S, S, 3], mostly inside the cell."""
    side = mask.shape[0]
    inner = _eroded(mask, 2)
    if inner.sum() < 300:
        return None
    scale, turn = np.exp(rng.normal(0.0, 0.22)), rng.uniform(0.0, 2.0 * np.pi)
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    if rng.random() < 0.5:
        linear = linear @ np.diag([-1.0, 1.0])
    height, width = parasite.cover.shape
    rows, columns = np.nonzero(inner)
    stack = np.dstack([parasite.density, parasite.cover])
    whole = float(parasite.cover.sum()) * scale**2
    for attempt in range(6):
        place = rng.integers(len(rows))
        shift = np.array([columns[place], rows[place]]) - linear @ [
            (width - 1) / 2,
            (height - 1) / 2,
        ]
        laid = cv2.warpAffine(stack, np.column_stack([linear, shift]), (side, side))
        room, least = (inner, 0.9) if attempt < 3 else (mask, 0.8)
        if float((laid[:, :, 3] * room).sum()) >= least * whole:
            return np.asarray(laid[:, :, :3], np.float32)
    return None


def with_contrast(
    batch: Image, rng: np.random.Generator, share: float, least: float = 0.4, most: float = 1.3
) -> Image:
    """Cells whose density about their own median is multiplied: another lens, focus or fixation.

    Args:
        batch: uint8 [N, S, S, 3] on black; never changed.
        rng: decides everything.
        share: of the cells that are changed.
        least: of the factor, drawn evenly in its logarithm.
        most: of the factor.
    """
    changed = batch.copy()
    for index in np.flatnonzero(rng.random(len(batch)) < share):
        cell = batch[index]
        mask = on_cell(cell)
        if mask.sum() < 50:
            continue
        density = DENSITY[cell]
        median = np.median(density[mask > 0], axis=0)
        factor = np.exp(rng.uniform(np.log(least), np.log(most)))
        light = 255.0 * np.exp(-np.clip(median + factor * (density - median), 0.0, 6.0))
        made = np.asarray(np.rint(light * mask[:, :, None]), np.uint8)
        if rng.random() < 0.4:
            blurred = cv2.GaussianBlur(made, (5, 5), rng.uniform(0.3, 1.0))
            made = np.asarray(blurred * mask[:, :, None], np.uint8)
        changed[index] = made
    return changed
