"""Long cells that the finder's network saw as two: elliptocytes, ovalocytes.

The network looks for round cells, and finds a centre in either half of a cell more than about
twice as long as wide. Two touching or overlapping round cells are as wide as a cell, or have a
waist where they meet. So two red centres are taken for one cell where the cover map shows them
alone in one piece that is narrow, long and without a waist.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.runtime.detect.light import FloatMap
from edge_malaria.runtime.detect.peaks import (
    CHANNEL_COVER,
    CHANNEL_KINDS,
    PLATELET,
    STRIDE_PX,
    Peaks,
)

# Chosen on the fitting thirds of chula and chula_more, whose points name elliptocytes; no pair of
# bccd's, raabin's, iml's or draaslan256's boxed cells is joined by them.
# In sizes of the field's typical red cell.
WIDEST, LONGEST = 0.85, 2.4
# Length over width, and area over that of the convex hull.
LEAST_RATIO, LEAST_SOLIDITY = 1.5, 0.93
# What is broader than this is told from its pixels in the cover map, without an outline.
SURELY_WIDE = 1.1 * WIDEST
# The piece is looked at this much finer than the cover map.
_FINER = 2 * STRIDE_PX


def join_halves(peaks: Peaks, answer: FloatMap) -> Peaks:
    """Each long cell as one peak, its box around its whole piece of the cover map.

    Args:
        peaks: as ``read_peaks`` gives them.
        answer: float32 [h, w, 8], what the network said.
    """
    red = np.flatnonzero(peaks.kinds == CHANNEL_KINDS.index("red-cell"))
    if len(red) < 2:
        return peaks
    cover = np.ascontiguousarray(answer[:, :, CHANNEL_COVER])
    covered = (cover > 0).astype(np.uint8)
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(covered, connectivity=4)
    typical = float(np.median(np.sqrt(np.prod(_sides(peaks.boxes[red]), axis=1))))
    boxes, scores = peaks.boxes.copy(), peaks.scores.copy()
    keep = np.ones(len(boxes), np.bool_)
    for piece, (one, other) in _pairs(peaks, pieces):
        x, y, wide, high, _ = stats[piece].tolist()
        if max(wide, high) * STRIDE_PX > LONGEST * typical:
            continue
        part = np.s_[y : y + high, x : x + wide]
        box = _long_cell(cover[part], pieces[part] == piece, typical, (x, y))
        if box is not None:
            boxes[one], scores[one] = box, max(scores[one], scores[other])
            keep[other] = False
    return Peaks(peaks.kinds[keep], scores[keep], boxes[keep])


def _sides(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return boxes[:, 2:] - boxes[:, :2]


def _pairs(peaks: Peaks, pieces: NDArray[np.int32]) -> list[tuple[int, tuple[int, int]]]:
    """(piece, its two red peaks) of the pieces that hold these and no other cell's centre."""
    height, width = pieces.shape
    middle = (peaks.boxes[:, :2] + peaks.boxes[:, 2:]) / (2 * STRIDE_PX)
    x = np.clip(middle[:, 0].astype(int), 0, width - 1)
    y = np.clip(middle[:, 1].astype(int), 0, height - 1)
    held = np.where(peaks.kinds == PLATELET, 0, pieces[y, x])
    count = np.bincount(held, minlength=int(pieces.max()) + 1)
    found = []
    for piece in np.flatnonzero(count == 2).tolist():
        one, other = np.flatnonzero(held == piece).tolist()
        if piece and peaks.kinds[one] == peaks.kinds[other] == 0:
            found.append((piece, (one, other)))
    return found


def _long_cell(
    cover: FloatMap, piece: NDArray[np.bool_], typical: float, corner: tuple[int, int]
) -> tuple[float, float, float, float] | None:
    """The box, network pixels, of a piece that is one long cell; None for any other.

    ``cover`` and ``piece`` are cut to the piece, whose top left corner lies at ``corner``.
    """
    if _breadth(piece) > SURELY_WIDE * typical:
        return None
    # Outside the piece the map is kept below zero, so that a neighbour does not reach into it.
    own = np.where(piece, cover, np.minimum(cover, 0.0)).astype(np.float32)
    framed = np.pad(own, 1, constant_values=-4.0)
    fine = _finer(_finer(framed).T).T > 0
    outlines, _ = cv2.findContours(fine.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(outlines, key=cv2.contourArea)
    sides = np.array(cv2.minAreaRect(outline)[1]) + 1.0
    short, long = np.sort(sides) * STRIDE_PX / _FINER
    area, hull = cv2.contourArea(outline), cv2.contourArea(cv2.convexHull(outline))
    fits = short <= WIDEST * typical and LEAST_RATIO * short <= long <= LONGEST * typical
    if not (fits and area >= LEAST_SOLIDITY * hull):
        return None
    xa, ya, across, along = (v * STRIDE_PX / _FINER for v in cv2.boundingRect(outline))
    left, top = ((start - 1) * STRIDE_PX for start in corner)
    left, top = left + xa, top + ya
    return (left, top, left + across, top + along)


def _breadth(piece: NDArray[np.bool_]) -> float:
    """The shorter axis, network pixels, of the ellipse with the piece's second moments."""
    held = cv2.moments(piece.astype(np.uint8), True)
    across, along, both = (held[key] / held["m00"] for key in ("mu20", "mu02", "mu11"))
    least = (across + along) / 2 - np.hypot((across - along) / 2, both)
    return float(4.0 * np.sqrt(max(least, 0.0)) * STRIDE_PX)


def _finer(rows: FloatMap) -> FloatMap:
    """Rows between the rows, linearly; the shares are eighths, so every machine gets the same."""
    place = (np.arange(len(rows) * _FINER) + 0.5) / _FINER - 0.5
    above = np.clip(np.floor(place).astype(int), 0, len(rows) - 2)
    share = np.clip(place - above, 0.0, 1.0).astype(np.float32)[:, None]
    return np.asarray(rows[above] * (1 - share) + rows[above + 1] * share, np.float32)
