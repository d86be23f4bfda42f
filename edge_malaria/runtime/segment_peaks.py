"""From the finder network's answer to boxes and masks.

The network answers at half resolution with eight numbers a pixel: logits of a red cell's, a white
cell's and a platelet's middle, a logit of lying on a red or white cell, and the distances to the
cell's left, top, right and bottom edge in output pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.records import CellKind
from edge_malaria.runtime.segment import Candidate, keep_distinct
from edge_malaria.runtime.segment_light import FloatMap

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
_UNIT = ((np.arange(GRID) + 0.5) / GRID * 2 - 1) * BOX_MARGIN


@dataclass(frozen=True)
class FinderSettings:
    """What is chosen after fitting, on the fields outside the report thirds.

    Attributes:
        red, white, platelet: least probability of a middle, 0-1.
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
    """Middles with their boxes in network pixels: [N] kinds and scores, [N, 4] boxes."""

    kinds: NDArray[np.int64]
    scores: NDArray[np.float64]
    boxes: NDArray[np.float64]


def _sigmoid(value: FloatMap) -> FloatMap:
    return np.asarray(1.0 / (1.0 + np.exp(-value)), np.float32)


def middles(
    logit: FloatMap, floor: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Local maxima above a probability: rows, columns, probabilities, each [N]."""
    around = cv2.dilate(logit, np.ones((3, 3), np.uint8))
    y, x = np.nonzero((logit >= around) & (logit > np.log(floor / (1 - floor))))
    return y, x, _sigmoid(logit[y, x]).astype(np.float64)


def read_peaks(answer: FloatMap, settings: FinderSettings) -> Peaks:
    """The network's answer [h, w, 8] -> middles above their thresholds, surest boxes only."""
    height, width = answer.shape[:2]
    least = (settings.red, settings.white, settings.platelet)
    kinds, scores, boxes = [], [], []
    for kind, floor in enumerate(least):
        logit = np.ascontiguousarray(answer[:, :, kind])
        y, x, score = middles(logit, floor)
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
    """Leaves out red middles that lie in the body of a surer white cell: its lobes, its nucleus."""
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
    cover = np.ascontiguousarray(answer[:, :, CHANNEL_COVER])
    cell = peaks.kinds < PLATELET
    middle = (peaks.boxes[:, :2] + peaks.boxes[:, 2:]) / 2
    radius = np.maximum((peaks.boxes[:, 2:] - peaks.boxes[:, :2]) / 2, 0.5)
    apart = np.abs(middle[:, None] - middle[None]) - radius[:, None] - radius[None]
    beside = (apart < 0.1 * NOMINAL_DIAMETER_PX).all(2) & cell[None, :]
    np.fill_diagonal(beside, False)
    far = _UNIT[:, None] ** 2 + _UNIT[None, :] ** 2
    found = []
    for index in range(len(peaks.kinds)):
        centre, half = middle[index], radius[index]
        mask = far <= 1.0
        if cell[index]:
            others = np.flatnonzero(beside[index])
            nearest = _nearest(centre, half, middle[others], radius[others])
            own = mask | (far <= nearest)
            mask = own & (far <= reach**2) & ((_sampled(cover, centre, half) > 0) | (far < 0.4))
        edge = half * BOX_MARGIN
        x0, y0, x1, y1 = (float(v) / factor for v in (*(centre - edge), *(centre + edge)))
        kind = CHANNEL_KINDS[peaks.kinds[index]]
        found.append(Candidate((x0, y0, x1, y1), mask, kind, float(peaks.scores[index])))
    return found


def _nearest(
    centre: NDArray[np.float64],
    half: NDArray[np.float64],
    others: NDArray[np.float64],
    radii: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Squared distance, in their radii, of a cell's grid points from the nearest other cell."""
    if not len(others):
        return np.full((GRID, GRID), np.inf)
    x = ((centre[0] + half[0] * _UNIT - others[:, :1]) / radii[:, :1]) ** 2
    y = ((centre[1] + half[1] * _UNIT - others[:, 1:]) / radii[:, 1:]) ** 2
    return np.asarray((y[:, :, None] + x[:, None, :]).min(0), np.float64)


def _sampled(
    cover: FloatMap, centre: NDArray[np.float64], half: NDArray[np.float64]
) -> NDArray[np.float32]:
    """The cover map at a cell's grid points, float32 [GRID, GRID]."""
    step = half * (2 * BOX_MARGIN / GRID) / STRIDE_PX
    start = (centre + half * _UNIT[0]) / STRIDE_PX - 0.5
    matrix = np.array([[step[0], 0, start[0]], [0, step[1], start[1]]])
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    there = cv2.warpAffine(cover, matrix, (GRID, GRID), flags=how, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(there, np.float32)
