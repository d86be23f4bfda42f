"""The learned finder: a small network says where cells have their centre and how far they reach.

The field is shrunk until a red cell is ``NOMINAL_DIAMETER_PX`` across, whatever the camera. The
network answers at half that resolution with eight numbers a pixel (see ``detect.peaks``); peaks of
the centres become boxes, and the cover map, cut by each box's ellipse, becomes the cells' masks.
Where two cells overlap, both keep the lens they share, as both may carry what lies there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from edge_malaria.errors import ModelShapeError
from edge_malaria.records import Cell, Image
from edge_malaria.runtime.detect.cells import cells_of, check_field
from edge_malaria.runtime.detect.chromatin import without_stained
from edge_malaria.runtime.detect.light import FloatMap, shrink, shrink_to
from edge_malaria.runtime.detect.long_cells import join_halves
from edge_malaria.runtime.detect.peaks import (
    CHANNEL_EDGES,
    CHANNELS,
    NOMINAL_DIAMETER_PX,
    STRIDE_PX,
    FinderSettings,
    candidates,
    centres,
    drop_red_in_white,
    read_peaks,
)
from edge_malaria.runtime.detect.scale import measure_scale
from edge_malaria.runtime.engines.base import Engine

__all__ = ["NOMINAL_DIAMETER_PX", "FinderSettings", "LearnedFinder"]

# The sides of what the network sees are multiples of this: it halves three times.
SIDE_MULTIPLE_PX = 8
# The field is shown this large (longest side) to find its scale; the coarser passes are cheap.
PASS_SIDES_PX = (448, 224, 112)
# Between passes that share a page: further than a cell reaches.
PASS_GAP_PX = 16
# Off a cell's scale the network is rarely this sure of its centre.
SURE = 0.6
# Below this trust (see ``_Pass``) the scale is asked of the classical measure too.
LEAST_TRUST = 0.003
# A scale known from earlier fields is rounded to such steps (natural log), and looked for anew
# below this trust; fields of sparse but sure cells reach it.
KNOWN_STEP = 0.05
KNOWN_TRUST = 0.01
# The network is at its best where cells measure about their nominal size.
SCALE_TOLERANCE = (0.92, 1.1)
MOST_CORRECTIONS = 2
# A field below this longest side at the nominal scale is looked at up to ``FINEST`` times finer.
SMALL_SIDE_PX = 256
FINEST = 1.2
# A field of more pixels than this at the network's scale holds cells too small to tell.
MAX_NETWORK_PIXELS = 1600 * 1600


@dataclass(frozen=True, eq=False)
class _Pass:
    """One run of the network.

    Attributes:
        answer: what it said, float32 [h, w, 8].
        factor: network pixels a pixel of the decoded image.
        seen_px: median size of sure red cells, network pixels; None for fewer than three.
        trust: share of the field that red cells of about nominal size take, each weighted by how
            far its score lies above ``SURE``: off its scale the network is hardly ever sure.
    """

    answer: FloatMap
    factor: float
    seen_px: float | None
    trust: float


@dataclass(frozen=True, eq=False)
class _View:
    """A field and, where at hand, its halved copy; ``kept`` holds what was shrunk last."""

    image: Image
    small: Image | None = None
    kept: dict[tuple[int, int], Image] = field(default_factory=dict)

    @property
    def longest(self) -> int:
        return int(max(self.image.shape[:2]))

    def shrunk(self, factor: float) -> Image:
        """The field at ``factor`` of its resolution, from the copy where that is large enough."""
        height, width = self.image.shape[:2]
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        if size not in self.kept:
            # Asked for twice: by the network, and by what looks at the cells it found.
            self.kept.clear()
            small = self.small
            enough = small is not None and small.shape[1] >= size[0] and small.shape[0] >= size[1]
            source = small if enough and small is not None else self.image
            self.kept[size] = shrink_to(source, size)
        return self.kept[size]


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

    def find(
        self, image: Image, small: Image | None = None, diameter_px: float | None = None
    ) -> list[Cell]:
        """The things found in ``image``, uint8 [H, W, 3] RGB; see ``CellFinder``."""
        check_field(image)
        view = _View(image, small)
        one = None if diameter_px is None else self._known_pass(view, diameter_px)
        return self._cells(view, one or self._best_pass(view))

    def _known_pass(self, view: _View, diameter_px: float) -> _Pass | None:
        """The pass at a known scale; None where it does not hold in this field."""
        # In steps, so that the fields of a slide share one size: another one costs the engine
        # a new layout of its memory.
        diameter = float(np.exp(np.round(np.log(diameter_px) / KNOWN_STEP) * KNOWN_STEP))
        aim = _aim(diameter, view.longest)
        one = self._pass(view, aim / diameter)
        low, high = SCALE_TOLERANCE
        holds = one.seen_px is not None and low <= one.seen_px / aim <= high
        return one if holds and one.trust >= KNOWN_TRUST else None

    def find_at(self, image: Image, diameter_px: float, small: Image | None = None) -> list[Cell]:
        """``find`` where the red cells' diameter, px of ``image``, is known; see ``CellFinder``."""
        check_field(image)
        view = _View(image, small)
        return self._cells(view, self._pass(view, NOMINAL_DIAMETER_PX / diameter_px))

    def _cells(self, view: _View, one: _Pass) -> list[Cell]:
        peaks = drop_red_in_white(read_peaks(one.answer, self.settings))
        peaks = join_halves(peaks, one.answer)
        found = candidates(peaks, one.answer, one.factor, self.settings.reach)
        cells = cells_of(found, view.image.shape)
        return without_stained(cells, view.shrunk(one.factor), one.factor)

    def _best_pass(self, view: _View) -> _Pass:
        """Finds the scale: sure answers of nominal size, on as much of the field as possible."""
        longest = view.longest
        best = max(self._first_passes(view, min(4.0, PASS_SIDES_PX[0] / longest)), key=_trust)
        if longest > 2 * PASS_SIDES_PX[0] and not (best.trust >= LEAST_TRUST):
            # Very small cells in a very large picture show in a finer pass only.
            best = max(best, self._pass(view, 2 * PASS_SIDES_PX[0] / longest), key=_trust)
        if not (best.trust >= LEAST_TRUST):
            scale = measure_scale(view.image)
            if scale is not None:
                guess = self._pass(view, NOMINAL_DIAMETER_PX / scale.diameter_px)
                best = max(best, guess, key=_trust)
        for _ in range(MOST_CORRECTIONS):
            if best.seen_px is None:
                break
            aim = _aim(best.seen_px / best.factor, longest)
            low, high = SCALE_TOLERANCE
            if low <= best.seen_px / aim <= high:
                break
            best = self._pass(view, best.factor * aim / best.seen_px)
        return best

    def _pass(self, view: _View, factor: float) -> _Pass:
        """Runs the network at ``factor`` of the field's resolution."""
        area = view.image.shape[0] * view.image.shape[1] * factor**2
        factor = float(np.clip(factor * min(1.0, np.sqrt(MAX_NETWORK_PIXELS / area)), 1e-3, 4.0))
        return self._see(view.shrunk(factor), factor)

    def _see(self, small: Image, factor: float) -> _Pass:
        """Runs the network on a field that was shrunk by ``factor``."""
        height, width = small.shape[:2]
        down, right = -height % SIDE_MULTIPLE_PX, -width % SIDE_MULTIPLE_PX
        padded = cv2.copyMakeBorder(small, 0, down, 0, right, cv2.BORDER_REFLECT_101)
        answer = self.engine.run(np.asarray(padded, np.uint8)[None])[0]
        return _judged(answer[: -(-height // STRIDE_PX), : -(-width // STRIDE_PX)], factor)

    def _first_passes(self, view: _View, factor: float) -> list[_Pass]:
        """The field at three scales in one run, the smaller two side by side below the largest.

        One run, because an engine lays out its memory anew for every other size.
        """
        fine = view.shrunk(factor)
        parts = [shrink(fine, side / PASS_SIDES_PX[0]) for side in PASS_SIDES_PX[1:]]
        places = _side_by_side(fine, parts)
        right = max(x + part.shape[1] for (_, x), part in zip(places, [fine, *parts], strict=True))
        below = max(y + part.shape[0] for (y, _), part in zip(places, [fine, *parts], strict=True))
        size = (below + -below % SIDE_MULTIPLE_PX, right + -right % SIDE_MULTIPLE_PX, 3)
        page = np.empty(size, np.uint8)
        page[:] = np.median(parts[-1], axis=(0, 1)).astype(np.uint8)
        for (y, x), part in zip(places, [fine, *parts], strict=True):
            page[y : y + part.shape[0], x : x + part.shape[1]] = part
        answer = self.engine.run(page[None])[0]
        passes = []
        for (y, x), part, side in zip(places, [fine, *parts], PASS_SIDES_PX, strict=True):
            rows = slice(y // STRIDE_PX, -(-(y + part.shape[0]) // STRIDE_PX))
            columns = slice(x // STRIDE_PX, -(-(x + part.shape[1]) // STRIDE_PX))
            passes.append(_judged(answer[rows, columns], factor * side / PASS_SIDES_PX[0]))
        return passes


def _side_by_side(fine: Image, parts: list[Image]) -> list[tuple[int, int]]:
    """(row, column) of the finest pass and of the others below it, on even pixels, apart."""
    below = fine.shape[0] + PASS_GAP_PX
    below += below % STRIDE_PX
    places, x = [(0, 0)], 0
    for part in parts:
        places.append((below, x))
        x += part.shape[1] + PASS_GAP_PX
        x += x % STRIDE_PX
    return places


def _judged(answer: FloatMap, factor: float) -> _Pass:
    """An answer with the size of its sure red cells and how far it can be trusted."""
    y, x, score = centres(np.ascontiguousarray(answer[:, :, 0]), SURE)
    edges = np.maximum(answer[y, x, CHANNEL_EDGES], 0.0) * STRIDE_PX
    sizes = np.sqrt((edges[:, 0] + edges[:, 2]) * (edges[:, 1] + edges[:, 3]))
    fits = (sizes > 0.5 * NOMINAL_DIAMETER_PX) & (sizes < 2 * NOMINAL_DIAMETER_PX)
    if fits.sum() < 3:
        return _Pass(answer, factor, None, 0.0)
    area = answer.shape[0] * answer.shape[1] * STRIDE_PX**2
    trust = float(((score[fits] - SURE) * sizes[fits] ** 2).sum()) / area
    return _Pass(answer, factor, float(np.median(sizes[fits])), trust)


def _aim(diameter_px: float, longest_px: int) -> float:
    """How large cells should be to the network, its pixels, in a field of this longest side.

    Where a field is small a finer pass costs little and places edges better.
    """
    room = SMALL_SIDE_PX * diameter_px / (longest_px * NOMINAL_DIAMETER_PX)
    return NOMINAL_DIAMETER_PX * float(np.clip(room, 1.0, FINEST))


def _trust(one: _Pass) -> float:
    return one.trust
