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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.records import Cell, CellKind, Image, Mask, expect_image

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

    def find(
        self, image: Image, small: Image | None = None, diameter_px: float | None = None
    ) -> list[Cell]:
        """The things found in ``image``; [] where there are none.

        Args:
            image: uint8 [H, W, 3] RGB.
            small: ``detect.light.halved`` of it where that is at hand: saves shrinking it again.
            diameter_px: of red cells in the fields before this one, px of ``image``: saves
                looking for the scale where it still holds.
        """
        ...

    def find_at(self, image: Image, diameter_px: float, small: Image | None = None) -> list[Cell]:
        """``find`` where the red cells' diameter, px of ``image``, is known for sure."""
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
    # Column by column and in place: several times faster than reducing over the last axis.
    left, top, right, bottom = (boxes[:, None, k] for k in range(4))
    inter = np.minimum(right, others[:, 2])
    inter -= np.maximum(left, others[:, 0])
    np.maximum(inter, 0.0, out=inter)
    tall = np.minimum(bottom, others[:, 3])
    tall -= np.maximum(top, others[:, 1])
    np.maximum(tall, 0.0, out=tall)
    inter *= tall
    union = (right - left) * (bottom - top) - inter
    union += (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
    np.maximum(union, 1e-9, out=union)
    inter /= union
    return np.asarray(inter, np.float64)


def keep_distinct(
    boxes: NDArray[np.float64], scores: NDArray[np.float64], limit: float = MAX_BOX_IOU
) -> list[int]:
    """Indices of boxes [N, 4] that survive, surest first, no two above ``limit`` IoU."""
    if len(boxes) == 0:
        return []
    rivals = box_iou(boxes, boxes) > limit
    np.fill_diagonal(rivals, False)
    # Most boxes have no rival at all: only the others are gone through one by one.
    alone = np.asarray(~rivals.any(axis=1), np.bool_)
    alive = np.ones(len(boxes), bool)
    kept = []
    for index in np.argsort(-scores, kind="stable").tolist():
        if alone[index]:
            kept.append(index)
        elif alive[index]:
            kept.append(index)
            alive &= ~rivals[index]
    return kept


@dataclass(frozen=True, eq=False)
class _Placed:
    """A candidate on the pixel grid, its box tight around its mask."""

    box: tuple[int, int, int, int]
    mask: Mask
    kind: CellKind
    score: float


def _on_grid(
    candidates: Sequence[Candidate], height: int, width: int
) -> Iterator[tuple[Candidate, tuple[int, int, int, int]]]:
    """The candidates of at least 2 px, each with its box rounded and cut off at the field."""
    boxes = np.rint(np.array([c.box for c in candidates], np.float64).reshape(-1, 4)).astype(int)
    inside = np.clip(boxes, 0, (width, height, width, height))
    for candidate, (x0, y0, x1, y1) in zip(candidates, inside.tolist(), strict=True):
        if x1 - x0 >= 2 and y1 - y0 >= 2:
            yield candidate, (x0, y0, x1, y1)


def _place(candidate: Candidate, inside: tuple[int, int, int, int]) -> _Placed | None:
    left, top, right, bottom = candidate.box
    x0, y0, x1, y1 = inside
    part = candidate.mask
    if left < x0 - 0.5 or top < y0 - 0.5 or right > x1 + 0.5 or bottom > y1 + 0.5:
        part = _part_in_field(candidate, inside)
    # Shares of 0 and 1 are rounded at one half: the outline comes out smooth.
    size = (x1 - x0, y1 - y0)
    grown = cv2.resize(part.view(np.uint8), size, interpolation=cv2.INTER_AREA)
    xa, ya, wide, tall = cv2.boundingRect(grown)
    if wide == 0:
        return None
    mask = grown.view(np.bool_)[ya : ya + tall, xa : xa + wide]
    box = (x0 + xa, y0 + ya, x0 + xa + wide, y0 + ya + tall)
    return _Placed(box, np.ascontiguousarray(mask), candidate.kind, candidate.score)


def _part_in_field(candidate: Candidate, inside: tuple[int, int, int, int]) -> Mask:
    """The mask's part for the box's part ``inside`` the field, at least one point each way."""
    left, top, right, bottom = candidate.box
    x0, y0, x1, y1 = inside
    rows, columns = candidate.mask.shape
    tall, wide = bottom - top, right - left
    r0, r1 = round((y0 - top) / tall * rows), round((y1 - top) / tall * rows)
    c0, c1 = round((x0 - left) / wide * columns), round((x1 - left) / wide * columns)
    r0, c0 = min(max(0, r0), rows - 1), min(max(0, c0), columns - 1)
    part = candidate.mask[r0 : max(r1, r0 + 1), c0 : max(c1, c0 + 1)]
    return np.ascontiguousarray(part)


def _covered(placed: Sequence[_Placed], height: int, width: int) -> list[float]:
    """The share of each cell's mask, 0-1, that lies under another cell; at a coarse grid."""
    left, top, right, bottom = np.array([item.box for item in placed], np.int32).T
    across = (left[:, None] < right) & (right[:, None] > left)
    along = (top[:, None] < bottom) & (bottom[:, None] > top)
    meets = np.count_nonzero(across & along, axis=1) > 1
    step = max(1, max(height, width) // 400)
    layers = np.zeros((height // step + 2, width // step + 2), np.uint8)
    samples: list[tuple[NDArray[np.uint8], Mask] | None] = []
    for item, meeting in zip(placed, meets, strict=True):
        if not meeting:
            samples.append(None)
            continue
        x0, y0, _, _ = item.box
        dots = item.mask[::step, ::step]
        view = layers[y0 // step : y0 // step + dots.shape[0], x0 // step :][:, : dots.shape[1]]
        view += dots
        samples.append((view, dots))
    return [_share_below(*sample) if sample else 0.0 for sample in samples]


def _share_below(view: NDArray[np.uint8], dots: Mask) -> float:
    area = int(np.count_nonzero(dots))
    return np.count_nonzero(dots & (view > 1)) / area if area else 0.0


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
    on_grid = _on_grid(candidates, height, width)
    placed = [p for p in (_place(c, inside) for c, inside in on_grid) if p is not None]
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


def typical_size(cells: Sequence[Cell]) -> tuple[float, float] | None:
    """The size of a field's whole red cells and how far it spreads; None for fewer than three.

    Returns:
        Median of the roots of the boxes' areas, px, and their upper over their lower quartile.
    """
    boxes = [c.box for c in cells if c.kind == "red-cell" and c.reason != "border"]
    if len(boxes) < 3:
        return None
    sizes = [float(np.sqrt((x1 - x0) * (y1 - y0))) for x0, y0, x1, y1 in boxes]
    low, middle, high = np.percentile(sizes, [25, 50, 75])
    return float(middle), float(high / max(low, 1.0))


def check_field(image: Image) -> None:
    """Raises ValueError unless ``image`` is a field: uint8 [H, W, 3], not empty."""
    expect_image(image, "field")
