"""Red-cell finding: one interface, and what both finders share after their own first guess.

A finder proposes ``Candidate``s (a box, a kind, a score and a coarse mask). ``cells_of`` turns
them into ``Cell``s by rules that do not depend on the finder:

- duplicates: of two proposals whose boxes overlap above IoU 0.5 the surer one stays;
- border: a cell whose box reaches the field's edge is found but not counted (``border``), since
  half a cell shows half of its parasites and every neighbouring field would count it again;
- overlap: a cell mostly under other cells is not counted (``overlap``);
- kind: only red cells count; others carry their kind as the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.records import Cell, CellKind, Image, Mask, expect_image

if TYPE_CHECKING:
    from edge_malaria.bundle import Bundle

FloatBox = tuple[float, float, float, float]

# The contract of cells.csv: no two boxes above this IoU.
MAX_BOX_IOU = 0.5
# A box that ends this close to the field's edge is taken as cut off by it.
BORDER_PX = 1
# Above this covered share a cell cannot be judged by itself.
MAX_COVERED = 0.6


class CellFinder(Protocol):
    """Finds the cells of a field."""

    name: str

    def find(self, image: Image) -> list[Cell]:
        """The things found in ``image``, uint8 [H, W, 3] RGB; [] where there are none."""
        ...


@dataclass(frozen=True, eq=False)
class Candidate:
    """A finder's proposal.

    Attributes:
        box: (x0, y0, x1, y1) px of the decoded image, half-open, around the whole of ``mask``.
        mask: bool [h, w] at any resolution, stretched over ``box``; True on the cell.
        kind: the finder's word.
        score: confidence, 0-1.
    """

    box: FloatBox
    mask: Mask
    kind: CellKind
    score: float


def box_iou(boxes: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pairwise intersection over union of boxes [N, 4] and [M, 4] -> float64 [N, M], 0-1."""
    # Column by column: several times faster than reducing over the last axis.
    left, top, right, bottom = (boxes[:, None, k] for k in range(4))
    wide = np.minimum(right, others[:, 2]) - np.maximum(left, others[:, 0])
    tall = np.minimum(bottom, others[:, 3]) - np.maximum(top, others[:, 1])
    inter = np.maximum(wide, 0.0) * np.maximum(tall, 0.0)
    area = (right - left) * (bottom - top)
    other = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
    return np.asarray(inter / np.maximum(area + other - inter, 1e-9), np.float64)


def keep_distinct(
    boxes: NDArray[np.float64], scores: NDArray[np.float64], limit: float = MAX_BOX_IOU
) -> list[int]:
    """Indices of boxes [N, 4] that survive, surest first, no two above ``limit`` IoU."""
    if len(boxes) == 0:
        return []
    iou = box_iou(boxes, boxes)
    alive = np.ones(len(boxes), bool)
    kept = []
    for index in np.argsort(-scores, kind="stable"):
        if alive[index]:
            kept.append(int(index))
            alive &= iou[index] <= limit
    return kept


@dataclass(frozen=True, eq=False)
class _Placed:
    """A candidate on the pixel grid, its box tight around its mask."""

    box: tuple[int, int, int, int]
    mask: Mask
    kind: CellKind
    score: float


def _place(candidate: Candidate, height: int, width: int) -> _Placed | None:
    left, top, right, bottom = candidate.box
    x0, y0 = max(0, round(left)), max(0, round(top))
    x1, y1 = min(width, round(right)), min(height, round(bottom))
    if x1 - x0 < 2 or y1 - y0 < 2 or not candidate.mask.any():
        return None
    # Where the box leaves the field its mask is cut in the same proportion.
    rows, columns = candidate.mask.shape
    tall, wide = (bottom - top) or 1.0, (right - left) or 1.0
    r0, r1 = round((y0 - top) / tall * rows), round((y1 - top) / tall * rows)
    c0, c1 = round((x0 - left) / wide * columns), round((x1 - left) / wide * columns)
    part = candidate.mask[max(0, r0) : max(r1, r0 + 1), max(0, c0) : max(c1, c0 + 1)]
    if part.size == 0:
        return None
    grows = part.shape[0] < y1 - y0 or part.shape[1] < x1 - x0
    how = cv2.INTER_LINEAR_EXACT if grows else cv2.INTER_AREA
    grey = cv2.resize(part.astype(np.uint8) * 255, (x1 - x0, y1 - y0), interpolation=how)
    mask = grey >= 128
    xa, ya, wide_px, tall_px = cv2.boundingRect(mask.view(np.uint8))
    if wide_px == 0:
        return None
    return _Placed(
        (x0 + xa, y0 + ya, x0 + xa + wide_px, y0 + ya + tall_px),
        np.ascontiguousarray(mask[ya : ya + tall_px, xa : xa + wide_px]),
        candidate.kind,
        candidate.score,
    )


def _covered(placed: Sequence[_Placed], height: int, width: int) -> list[float]:
    """The share of each cell's mask, 0-1, that lies under another cell; at a coarse grid."""
    longest = max(height, width)
    step = max(1, longest // 800)
    layers = np.zeros((height // step + 2, width // step + 2), np.uint8)
    samples = []
    for item in placed:
        x0, y0, _, _ = item.box
        dots = item.mask[::step, ::step]
        view = layers[y0 // step : y0 // step + dots.shape[0], x0 // step :][:, : dots.shape[1]]
        dots = dots[: view.shape[0], : view.shape[1]]
        view += dots
        samples.append((view, dots))
    return [float((view[dots] > 1).mean()) if dots.any() else 0.0 for view, dots in samples]


def _reason(item: _Placed, covered: float, height: int, width: int) -> str:
    x0, y0, x1, y1 = item.box
    if item.kind != "red-cell":
        return item.kind
    if x0 < BORDER_PX or y0 < BORDER_PX or x1 > width - BORDER_PX or y1 > height - BORDER_PX:
        return "border"
    if not (covered <= MAX_COVERED):
        return "overlap"
    return ""


def cells_of(candidates: Sequence[Candidate], shape: tuple[int, ...]) -> list[Cell]:
    """The shared rules: candidates of a field of ``shape`` [H, W, ...] -> its cells.

    Returns:
        Cells sorted from top left to bottom right by rows of pixels, no two boxes above IoU 0.5.
    """
    height, width = int(shape[0]), int(shape[1])
    placed = [p for p in (_place(c, height, width) for c in candidates) if p is not None]
    if not placed:
        return []
    boxes = np.array([p.box for p in placed], np.float64)
    kept = keep_distinct(boxes, np.array([p.score for p in placed]))
    distinct = sorted((placed[i] for i in kept), key=lambda p: (p.box[1], p.box[0]))
    cells = []
    for item, covered in zip(distinct, _covered(distinct, height, width), strict=True):
        reason = _reason(item, covered, height, width)
        cells.append(Cell(item.box, item.mask, item.kind, reason == "", reason, item.score))
    return cells


def default_finder(
    bundle: Bundle | None,
    variant: str = "int8",
    engine: str | None = None,
    threads: int = 1,
) -> CellFinder:
    """The finder that measured best per millisecond among those that ``bundle`` allows.

    Args:
        bundle: its learned finder is used where it has one, else the classical finder.
        variant: of the finder's model.
        engine: ``litert`` or ``onnx``; by default litert if installed, else onnx.
        threads: the engine's threads.

    Raises:
        UsageError: the bundle's finder has no such variant for this engine.
        MissingExtra: no engine is installed.
    """
    # The finders take their rules from this module, so they are imported late.
    from edge_malaria.runtime.engines import default_engine, open_engine
    from edge_malaria.runtime.segment_classical import ClassicalFinder
    from edge_malaria.runtime.segment_learned import LearnedFinder

    if bundle is None or bundle.finder is None:
        return ClassicalFinder()
    name = engine or default_engine()
    file = bundle.finder.file(variant, name)
    return LearnedFinder(open_engine(bundle.read(file.file), name, threads))


def check_field(image: Image) -> None:
    """Raises ValueError unless ``image`` is a field: uint8 [H, W, 3], not empty."""
    expect_image(image, "field")
