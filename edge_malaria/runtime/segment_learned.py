"""The learned finder: a small network says where cells have their middle and how far they reach.

The field is shrunk until a red cell is ``NOMINAL_DIAMETER_PX`` across, whatever the camera. The
network answers at half that resolution with eight numbers a pixel (see ``CHANNEL_*``); peaks of
the middles become boxes, and the cover map, cut by each box's ellipse, becomes the cells' masks.
Where two cells overlap, both keep the lens they share, as both may carry what lies there.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.errors import ModelShapeError
from edge_malaria.records import Cell, CellKind, Image
from edge_malaria.runtime.engines import Engine
from edge_malaria.runtime.segment import Candidate, cells_of, check_field, keep_distinct
from edge_malaria.runtime.segment_light import shrink
from edge_malaria.runtime.segment_scale import measure_scale

FloatMap = NDArray[np.float32]

NOMINAL_DIAMETER_PX = 20.0
STRIDE_PX = 2
# The sides of what the network sees are multiples of this: it halves three times.
SIDE_MULTIPLE_PX = 8
# The field is looked at this large (longest side) to find its scale; the coarser looks are cheap.
LOOK_SIDES_PX = (448, 224, 112)
# Below this trust (see ``_Look``) the scale is asked of the classical measure too.
LEAST_TRUST = 0.01
# The network is at its best where cells measure about their nominal size.
SCALE_TOLERANCE = (0.88, 1.2)
MOST_CORRECTIONS = 2
# A field of more pixels than this at the network's scale holds cells too small to tell.
MAX_NETWORK_PIXELS = 1600 * 1600

# A mask ends within this many half-sides of its box: the network knows a cell's four edges better
# than the cover map does, but between them cells are squarer than ellipses.
BOX_MARGIN = 1.03

# Points of a mask a side, before it is stretched over its box; their places in half-sides.
GRID = 24
_UNIT = ((np.arange(GRID) + 0.5) / GRID * 2 - 1) * BOX_MARGIN

CHANNEL_KINDS: tuple[CellKind, ...] = ("red-cell", "white-cell", "platelet")
PLATELET = 2
CHANNEL_COVER = 3
CHANNEL_EDGES = slice(4, 8)
CHANNELS = 8


@dataclass(frozen=True)
class FinderSettings:
    """What is chosen after fitting, on the fields outside the report thirds.

    Attributes:
        red, white, platelet: least probability of a middle, 0-1.
        distinct_iou: of two boxes of one kind above this IoU the less sure one goes.
        reach: how far beyond its box's ellipse a mask may go, in radii.
    """

    red: float = 0.3
    white: float = 0.4
    platelet: float = 0.4
    distinct_iou: float = 0.45
    reach: float = 1.12


@dataclass(frozen=True, eq=False)
class _Look:
    """One run of the network.

    Attributes:
        answer: what it said, float32 [h, w, 8].
        factor: network pixels a pixel of the decoded image.
        seen_px: median red-cell size in network pixels; None for fewer than three.
        trust: share of the field that red cells of about nominal size take, each weighted by how
            far its score lies above one half: off its scale the network is hardly ever sure.
    """

    answer: FloatMap
    factor: float
    seen_px: float | None
    trust: float


@dataclass(frozen=True, eq=False)
class _Peaks:
    """Middles with their boxes in network pixels: [N] kinds and scores, [N, 4] boxes."""

    kinds: NDArray[np.int64]
    scores: NDArray[np.float64]
    boxes: NDArray[np.float64]


def _sigmoid(value: FloatMap) -> FloatMap:
    return np.asarray(1.0 / (1.0 + np.exp(-value)), np.float32)


def _middles(
    logit: FloatMap, floor: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Local maxima above a probability: rows, columns, probabilities, each [N]."""
    around = cv2.dilate(logit, np.ones((3, 3), np.uint8))
    y, x = np.nonzero((logit >= around) & (logit > np.log(floor / (1 - floor))))
    return y, x, _sigmoid(logit[y, x]).astype(np.float64)


def read_peaks(answer: FloatMap, settings: FinderSettings) -> _Peaks:
    """The network's answer [h, w, 8] -> middles above their thresholds, surest boxes only."""
    height, width = answer.shape[:2]
    least = (settings.red, settings.white, settings.platelet)
    kinds, scores, boxes = [], [], []
    for kind, floor in enumerate(least):
        logit = np.ascontiguousarray(answer[:, :, kind])
        y, x, score = _middles(logit, floor)
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
    return _Peaks(np.array(kinds, np.int64), np.concatenate(scores), stacked)


def _platelet_edges(
    logit: FloatMap, y: NDArray[np.int64], x: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Platelets have no learnt extent: half their middle's height, at least one pixel."""
    half = (logit > np.log(0.3 / 0.7)).astype(np.uint8)
    distance = cv2.distanceTransform(np.pad(half, 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    radius = np.clip(distance[y, x] * 1.3, 1.0, 3.0).astype(np.float64)
    return np.repeat(radius[:, None], 4, axis=1)


def drop_red_in_white(peaks: _Peaks) -> _Peaks:
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
        keep &= ~((peaks.kinds == 0) & (far < 0.65) & (peaks.scores < peaks.scores[index] + 0.2))
    return _Peaks(peaks.kinds[keep], peaks.scores[keep], peaks.boxes[keep])


class LearnedFinder:
    """A network behind an engine, with the scale measured in the field itself.

    Args:
        engine: runs the finder's model file.
        settings: thresholds; see ``FinderSettings``.

    Raises:
        ModelShapeError: the model does not answer with eight channels.
    """

    name = "learned"

    def __init__(self, engine: Engine, settings: FinderSettings | None = None) -> None:
        shape = engine.output.shape
        if len(shape) != 3 or shape[-1] != CHANNELS:
            raise ModelShapeError(
                f"a finder answers with [h, w, {CHANNELS}], got {shape}: not a finder's model."
            )
        self.engine = engine
        self.settings = settings or FinderSettings()

    def find(self, image: Image) -> list[Cell]:
        """The things found in ``image``, uint8 [H, W, 3] RGB; see ``CellFinder``."""
        check_field(image)
        return self._cells(image, self._best_look(image))

    def find_at(self, image: Image, diameter_px: float) -> list[Cell]:
        """``find`` where the red cells' diameter, px of ``image``, is known."""
        check_field(image)
        return self._cells(image, self._look(image, NOMINAL_DIAMETER_PX / diameter_px))

    def _cells(self, image: Image, look: _Look) -> list[Cell]:
        peaks = drop_red_in_white(read_peaks(look.answer, self.settings))
        reach = self.settings.reach
        return cells_of(candidates(peaks, look.answer, look.factor, reach), image.shape)

    def _best_look(self, image: Image) -> _Look:
        """Finds the scale: sure answers of nominal size, on as much of the field as possible."""
        longest = max(image.shape[:2])
        first = min(4.0, LOOK_SIDES_PX[0] / longest)
        small = shrink(image, first)
        looks = [self._see(small, first)]
        for side in LOOK_SIDES_PX[1:]:
            part = side / LOOK_SIDES_PX[0]
            looks.append(self._see(shrink(small, part), first * part))
        best = max(looks, key=_trust)
        if longest > 2 * LOOK_SIDES_PX[0] and not (best.trust >= LEAST_TRUST):
            # Very small cells in a very large picture show at a finer look only.
            best = max(best, self._look(image, 2 * LOOK_SIDES_PX[0] / longest), key=_trust)
        if not (best.trust >= LEAST_TRUST):
            scale = measure_scale(image)
            if scale is not None:
                guess = self._look(image, NOMINAL_DIAMETER_PX / scale.diameter_px)
                best = max(best, guess, key=_trust)
        for _ in range(MOST_CORRECTIONS):
            low, high = SCALE_TOLERANCE
            if best.seen_px is None or low <= best.seen_px / NOMINAL_DIAMETER_PX <= high:
                break
            best = self._look(image, best.factor * NOMINAL_DIAMETER_PX / best.seen_px)
        return best

    def _look(self, image: Image, factor: float) -> _Look:
        """Runs the network at ``factor`` of the field's resolution."""
        area = image.shape[0] * image.shape[1] * factor**2
        factor = float(np.clip(factor * min(1.0, np.sqrt(MAX_NETWORK_PIXELS / area)), 1e-3, 4.0))
        return self._see(shrink(image, factor), factor)

    def _see(self, small: Image, factor: float) -> _Look:
        """Runs the network on a field that was shrunk by ``factor``."""
        height, width = small.shape[:2]
        down, right = -height % SIDE_MULTIPLE_PX, -width % SIDE_MULTIPLE_PX
        padded = cv2.copyMakeBorder(small, 0, down, 0, right, cv2.BORDER_REFLECT_101)
        answer = self.engine.run(np.asarray(padded, np.uint8)[None])[0]
        answer = answer[: -(-height // STRIDE_PX), : -(-width // STRIDE_PX)]
        y, x, score = _middles(np.ascontiguousarray(answer[:, :, 0]), 0.5)
        edges = np.maximum(answer[y, x, CHANNEL_EDGES], 0.0) * STRIDE_PX
        sizes = np.sqrt((edges[:, 0] + edges[:, 2]) * (edges[:, 1] + edges[:, 3]))
        fits = (sizes > 0.5 * NOMINAL_DIAMETER_PX) & (sizes < 2 * NOMINAL_DIAMETER_PX)
        if fits.sum() < 3:
            return _Look(answer, factor, None, 0.0)
        trust = float(((score[fits] - 0.5) * sizes[fits] ** 2).sum()) / (height * width)
        return _Look(answer, factor, float(np.median(sizes[fits])), trust)


def _trust(look: _Look) -> float:
    return look.trust


def candidates(peaks: _Peaks, answer: FloatMap, factor: float, reach: float) -> list[Candidate]:
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
