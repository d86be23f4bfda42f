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

# A mask ends within this many half-sides of its box.
BOX_MARGIN = 1.03

CHANNEL_KINDS: tuple[CellKind, ...] = ("red-cell", "white-cell", "platelet")
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
        peaks, answer: what it said, in network and in output pixels.
        factor: network pixels a pixel of the decoded image.
        seen_px: median red-cell size in network pixels; None for fewer than three.
        trust: share of the field that red cells of about nominal size take, each weighted by how
            far its score lies above one half: off its scale the network is hardly ever sure.
    """

    peaks: _Peaks
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


def read_peaks(answer: FloatMap, settings: FinderSettings) -> _Peaks:
    """The network's answer [h, w, 8] -> middles above their thresholds, surest boxes only."""
    height, width = answer.shape[:2]
    least = (settings.red, settings.white, settings.platelet)
    kinds, scores, boxes = [], [], []
    for kind, floor in enumerate(least):
        logit = np.ascontiguousarray(answer[:, :, kind])
        around = cv2.dilate(logit, np.ones((3, 3), np.uint8))
        peak = (logit >= around) & (logit > np.log(floor / (1 - floor)))
        y, x = np.nonzero(peak)
        edges = np.maximum(answer[y, x, CHANNEL_EDGES].astype(np.float64), 0.75)
        if kind == 2:
            edges = _platelet_edges(answer[:, :, kind], y, x)
        cx, cy = x + 0.5, y + 0.5
        found = np.stack(
            [cx - edges[:, 0], cy - edges[:, 1], cx + edges[:, 2], cy + edges[:, 3]], 1
        )
        score = _sigmoid(logit[y, x]).astype(np.float64)
        kept = keep_distinct(found, score, settings.distinct_iou)
        kinds += [kind] * len(kept)
        scores.append(score[kept])
        boxes.append(found[kept])
    stacked = np.concatenate(boxes) * STRIDE_PX
    # Resampling answers half a pixel off at the field's edge; keep boxes on the network's field.
    limit = np.array([width, height, width, height]) * STRIDE_PX
    return _Peaks(np.array(kinds), np.concatenate(scores), np.clip(stacked, 0, limit))


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
        peaks = drop_red_in_white(look.peaks)
        reach = self.settings.reach
        return cells_of(candidates(peaks, look.answer, look.factor, reach), image.shape)

    def _best_look(self, image: Image) -> _Look:
        """Finds the scale: sure answers of nominal size, on as much of the field as possible."""
        longest = max(image.shape[:2])
        best = max((self._look(image, side / longest) for side in LOOK_SIDES_PX), key=_trust)
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
        small = shrink(image, factor)
        height, width = small.shape[:2]
        down, right = -height % SIDE_MULTIPLE_PX, -width % SIDE_MULTIPLE_PX
        padded = cv2.copyMakeBorder(small, 0, down, 0, right, cv2.BORDER_REFLECT_101)
        answer = self.engine.run(np.asarray(padded, np.uint8)[None])[0]
        answer = answer[: -(-height // STRIDE_PX), : -(-width // STRIDE_PX)]
        peaks = read_peaks(answer, self.settings)
        red = (peaks.kinds == 0) & (peaks.scores > 0.5)
        sizes = np.sqrt(np.prod(peaks.boxes[red, 2:] - peaks.boxes[red, :2], axis=1))
        fits = (sizes > 0.5 * NOMINAL_DIAMETER_PX) & (sizes < 2 * NOMINAL_DIAMETER_PX)
        if fits.sum() < 3:
            return _Look(peaks, answer, factor, None, 0.0)
        sure = peaks.scores[red][fits] - 0.5
        trust = float((sure * sizes[fits] ** 2).sum()) / (height * width)
        return _Look(peaks, answer, factor, float(np.median(sizes[fits])), trust)


def _trust(look: _Look) -> float:
    return look.trust


def candidates(peaks: _Peaks, answer: FloatMap, factor: float, reach: float) -> list[Candidate]:
    """Boxes and masks in pixels of the decoded image from an answer at ``factor`` of it.

    A pixel is a cell's if the cover map holds it (or it lies in the inner half of the ellipse)
    and it lies in the cell's own ellipse, or just outside of it and in nobody else's.
    """
    cover = np.ascontiguousarray(answer[:, :, CHANNEL_COVER])
    fine = 2
    grown = cv2.resize(cover, None, fx=fine, fy=fine, interpolation=cv2.INTER_LINEAR)
    covered = grown > 0.0
    per_px = fine / STRIDE_PX
    boxes = peaks.boxes * per_px
    best = np.full(grown.shape, np.inf, np.float32)
    looks = []
    for box, kind in zip(boxes, peaks.kinds, strict=True):
        view, far = _ellipse(box, grown.shape, reach if kind < 2 else 1.0)
        looks.append((view, far))
        if kind < 2:
            np.minimum(best[view], far, out=best[view])
    found = []
    for (view, far), kind, score in zip(looks, peaks.kinds, peaks.scores, strict=True):
        if far.size == 0:
            continue
        if kind < 2:
            own = (far <= 1.0) | (far <= best[view])
            mask = own & (far <= reach) & (covered[view] | (far < 0.6))
        else:
            mask = far <= 1.0
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if rows.size == 0:
            continue
        a, b, c, d = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        y, x = view[0].start, view[1].start
        scale = per_px * factor
        box = ((x + c) / scale, (y + a) / scale, (x + d) / scale, (y + b) / scale)
        found.append(Candidate(box, mask[a:b, c:d], CHANNEL_KINDS[kind], float(score)))
    return found


def _ellipse(
    box: NDArray[np.float64], shape: tuple[int, ...], reach: float
) -> tuple[tuple[slice, slice], FloatMap]:
    """A window around a box and, in it, the distance from its middle in radii: float32 [h, w].

    The window ends soon after the box, whose edges the network knows better than the cover map
    does; between the axes the mask may go further out, as cells are squarer than ellipses.
    """
    cx, cy = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    rx, ry = max(0.5, (box[2] - box[0]) / 2), max(0.5, (box[3] - box[1]) / 2)
    wide, tall = BOX_MARGIN * rx, BOX_MARGIN * ry
    x0, x1 = max(0, round(cx - wide)), min(shape[1], round(cx + wide))
    y0, y1 = max(0, round(cy - tall)), min(shape[0], round(cy + tall))
    x = ((np.arange(x0, x1) + 0.5 - cx) / rx) ** 2
    y = ((np.arange(y0, y1) + 0.5 - cy) / ry) ** 2
    return (slice(y0, y1), slice(x0, x1)), np.sqrt(y[:, None] + x[None, :]).astype(np.float32)
