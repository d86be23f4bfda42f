"""From the finder network's answer to boxes and masks.

The network answers at half resolution with eight numbers a pixel: logits of a red cell's, a white
cell's and a platelet's centre, a logit of lying on a red or white cell, and the distances to the
cell's left, top, right and bottom edge in output pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.records import CellKind
from edge_malaria.runtime.detect.cells import Candidate, keep_distinct
from edge_malaria.runtime.detect.light import FloatMap

# A red cell is this many pixels across in what the network sees.
NOMINAL_DIAMETER_PX = 20.0
STRIDE_PX = 2

CHANNEL_KINDS: tuple[CellKind, ...] = ("red-cell", "white-cell", "platelet")
PLATELET = 2
CHANNEL_COVER = 3
CHANNEL_EDGES = slice(4, 8)
CHANNELS = 8


# A mask ends within this many half-sides of its box: the network knows a cell's four edges better
# than the cover map does, but between them cells are squarer than ellipses.
BOX_MARGIN = 1.03

# Points of a mask a side, before it is stretched over its box; their places in half-sides.
GRID = 24
_UNIT = np.asarray(((np.arange(GRID) + 0.5) / GRID * 2 - 1) * BOX_MARGIN, np.float32)
# Cells whose masks are made together: bounds the memory and OpenCV's 32,767 rows.
_AT_ONCE = 500


@dataclass(frozen=True)
class FinderSettings:
    """What is chosen after fitting, on the fields outside the report thirds.

    Attributes:
        red, white, platelet: least probability of a centre, 0-1.
        distinct_iou: of two boxes of one kind above this IoU the less sure one goes.
        reach: how far beyond its box's ellipse a mask may go, in radii.
    """

    red: float = 0.5
    white: float = 0.4
    platelet: float = 0.4
    distinct_iou: float = 0.45
    reach: float = 1.12


@dataclass(frozen=True, eq=False)
class Peaks:
    """Centres with their boxes in network pixels: [N] kinds and scores, [N, 4] boxes."""

    kinds: NDArray[np.int64]
    scores: NDArray[np.float64]
    boxes: NDArray[np.float64]


def _sigmoid(value: FloatMap) -> FloatMap:
    return np.asarray(1.0 / (1.0 + np.exp(-value)), np.float32)


def centres(
    logit: FloatMap, floor: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Local maxima above a probability: rows, columns, probabilities, each [N]."""
    around = cv2.dilate(logit, np.ones((3, 3), np.uint8))
    y, x = np.nonzero((logit >= around) & (logit > np.log(floor / (1 - floor))))
    return y, x, _sigmoid(logit[y, x]).astype(np.float64)


def read_peaks(answer: FloatMap, settings: FinderSettings) -> Peaks:
    """The network's answer [h, w, 8] -> centres above their thresholds, surest boxes only."""
    height, width = answer.shape[:2]
    least = (settings.red, settings.white, settings.platelet)
    kinds, scores, boxes = [], [], []
    for kind, floor in enumerate(least):
        logit = np.ascontiguousarray(answer[:, :, kind])
        y, x, score = centres(logit, floor)
        edges = np.maximum(answer[y, x, CHANNEL_EDGES].astype(np.float64), 0.75)
        if kind == PLATELET:
            edges = _platelet_edges(logit, y, x)
        corner = np.stack([x + 0.5, y + 0.5, x + 0.5, y + 0.5], 1)
        found = corner + edges * np.array([-1, -1, 1, 1])
        kept = keep_distinct(found, score, settings.distinct_iou)
        kinds += [kind] * len(kept)
        scores.append(score[kept])
        boxes.append(found[kept])
    limit = np.array([width, height, width, height]) * STRIDE_PX
    stacked = np.clip(np.concatenate(boxes) * STRIDE_PX, 0, limit)
    return Peaks(np.array(kinds, np.int64), np.concatenate(scores), stacked)


def _platelet_edges(
    logit: FloatMap, y: NDArray[np.int64], x: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Platelets have no learnt extent: half their middle's height, at least one pixel."""
    half = (logit > np.log(0.3 / 0.7)).astype(np.uint8)
    distance = cv2.distanceTransform(np.pad(half, 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    radius = np.clip(distance[y, x] * 1.3, 1.0, 3.0).astype(np.float64)
    return np.repeat(radius[:, None], 4, axis=1)


def drop_red_in_white(peaks: Peaks) -> Peaks:
    """Leaves out red centres that lie in the body of a surer white cell: its lobes, its nucleus."""
    white = np.flatnonzero(peaks.kinds == 1)
    keep = np.ones(len(peaks.kinds), bool)
    centre = (peaks.boxes[:, :2] + peaks.boxes[:, 2:]) / 2
    for index in white:
        x0, y0, x1, y1 = peaks.boxes[index]
        far = np.hypot(
            (centre[:, 0] - (x0 + x1) / 2) * 2 / (x1 - x0),
            (centre[:, 1] - (y0 + y1) / 2) * 2 / (y1 - y0),
        )
        keep &= ~((peaks.kinds == 0) & (far < 0.75) & (peaks.scores < peaks.scores[index] + 0.2))
    return Peaks(peaks.kinds[keep], peaks.scores[keep], peaks.boxes[keep])


def candidates(peaks: Peaks, answer: FloatMap, factor: float, reach: float) -> list[Candidate]:
    """Boxes and masks in pixels of the decoded image from an answer at ``factor`` of it.

    A point is a cell's if the cover map holds it (or it lies in the inner part of the ellipse) and
    it lies in the cell's own ellipse, or just outside of it and in nobody else's.
    """
    count = len(peaks.kinds)
    cover = np.ascontiguousarray(answer[:, :, CHANNEL_COVER])
    middle = (peaks.boxes[:, :2] + peaks.boxes[:, 2:]) / 2
    radius = np.maximum((peaks.boxes[:, 2:] - peaks.boxes[:, :2]) / 2, 0.5)
    masks = np.empty((count, GRID, GRID), np.bool_)
    for start in range(0, count, _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        masks[part] = _masks(part, middle, radius, peaks.kinds < PLATELET, cover, reach)
    edge = radius * BOX_MARGIN
    boxes = (np.hstack([middle - edge, middle + edge]) / factor).tolist()
    kinds = [CHANNEL_KINDS[kind] for kind in peaks.kinds]
    rows = zip(boxes, masks, kinds, peaks.scores.tolist(), strict=True)
    return [Candidate(tuple(box), mask, kind, score) for box, mask, kind, score in rows]


def _masks(
    part: slice,
    middle: NDArray[np.float64],
    radius: NDArray[np.float64],
    cell: NDArray[np.bool_],
    cover: FloatMap,
    reach: float,
) -> NDArray[np.bool_]:
    """The masks of the cells in ``part``: bool [n, GRID, GRID]."""
    far = _UNIT[:, None] ** 2 + _UNIT[None, :] ** 2
    x = (middle[part, :1] + radius[part, :1] * _UNIT).astype(np.float32)
    y = (middle[part, 1:] + radius[part, 1:] * _UNIT).astype(np.float32)
    held = _sampled(cover, x, y) > 0
    beside = np.broadcast_to(cell, (len(x), len(cell))).copy()
    for axis in (0, 1):
        apart = np.abs(middle[part, None, axis] - middle[None, :, axis])
        apart = apart - radius[part, None, axis] - radius[None, :, axis]
        beside &= apart < 0.1 * NOMINAL_DIAMETER_PX
    beside[np.arange(len(x)), np.arange(part.start, part.start + len(x))] = False
    inside = np.broadcast_to(far <= 1.0, held.shape)
    own = inside | (far <= _nearest(beside, x, y, middle, radius))
    mask = own & (far <= reach**2) & (held | (far < 0.4))
    return np.where(cell[part, None, None], mask, inside)


def _nearest(
    beside: NDArray[np.bool_],
    x: FloatMap,
    y: FloatMap,
    middle: NDArray[np.float64],
    radius: NDArray[np.float64],
) -> FloatMap:
    """Squared distance, in their radii, of grid points from the nearest other cell: [n, G, G]."""
    nearest = np.full((len(x), GRID, GRID), np.inf, np.float32)
    mine, other = np.nonzero(beside)
    if not len(mine):
        return nearest
    centre, half = middle[other].astype(np.float32), radius[other].astype(np.float32)
    across = ((x[mine] - centre[:, :1]) / half[:, :1]) ** 2
    along = ((y[mine] - centre[:, 1:]) / half[:, 1:]) ** 2
    first = np.flatnonzero(np.diff(mine, prepend=-1))
    rank = np.arange(len(mine)) - np.repeat(first, np.diff(first, append=len(mine)))
    # Each cell's first neighbour, then each one's second: several times faster than reduceat.
    for turn in range(int(rank.max()) + 1):
        chosen = np.flatnonzero(rank == turn)
        pairs = along[chosen, :, None] + across[chosen, None, :]
        nearest[mine[chosen]] = np.minimum(nearest[mine[chosen]], pairs)
    return nearest


def _sampled(cover: FloatMap, x: FloatMap, y: FloatMap) -> FloatMap:
    """The cover map at the grid points of n cells: x, y [n, GRID] -> float32 [n, GRID, GRID]."""
    across = np.repeat(x / STRIDE_PX - 0.5, GRID, axis=0)
    along = np.repeat(y / STRIDE_PX - 0.5, GRID).reshape(-1, GRID)
    border = cv2.BORDER_REPLICATE
    there = cv2.remap(cover, across, along, cv2.INTER_LINEAR, borderMode=border)
    return np.asarray(there, np.float32).reshape(len(x), GRID, GRID)
