"""The lit part of a field: a disc where a camera looks through an eyepiece, or what a shade leaves.

Outside it there is no slide. Inside, cells that the rim cuts are like cells that the picture's edge
cuts: found, but not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.records import Cell, Image, Mask
from edge_malaria.runtime.detect.light import shrink

# The rim is looked for at this longest side.
SEARCH_SIDE_PX = 160
# Darker than this share of the bright end (90th percentile of the brightest channel): unlit.
# Densely stained red cells keep more than half of the light in one channel; light that spills over
# the rim of an eyepiece stays below a third.
UNLIT = 0.5
# Of the field: less unlit than this is no rim; less lit than this is a blocked light path.
LEAST_UNLIT_SHARE = 0.03
LEAST_LIT_SHARE = 0.2
# What is lit fills its convex hull at least so far: dirt and clots are no rim.
LEAST_SOLID = 0.93
# The rim is blurred and coloured: so much of the longest side is left out along it.
RIM_SHARE = 0.019
# A cell nearer to the rim than this share of its own size counts as cut by it.
NEAR_RIM = 0.06


@dataclass(frozen=True, eq=False)
class Aperture:
    """The lit part of a field.

    Attributes:
        outline: float64 [N, 2], its convex outline (x, y) in shares of the field's width and
            height, clockwise as seen.
        lit_share: of the field, 0-1.
    """

    outline: NDArray[np.float64]
    lit_share: float

    def mask(self, height: int, width: int) -> NDArray[np.uint8]:
        """uint8 [height, width], 1 inside the outline."""
        canvas = np.zeros((height, width), np.uint8)
        points = np.rint(self.outline * (width, height) * 16).astype(np.int32)
        cv2.fillConvexPoly(canvas, points, 1, shift=4)
        return canvas

    def without_cut_cells(self, cells: Sequence[Cell], shape: tuple[int, ...]) -> list[Cell]:
        """The cells; those that reach the rim are found, but not counted (``border``).

        Args:
            cells: of the field, boxes in px.
            shape: of the field, [H, W, ...].
        """
        near = self._near_rim(cells, shape)
        return [
            replace(cell, counted=False, reason="border") if cut and not cell.reason else cell
            for cell, cut in zip(cells, near, strict=True)
        ]

    def _near_rim(self, cells: Sequence[Cell], shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """bool [N]: the ellipse in the cell's box comes nearer to the rim than allowed."""
        if not cells:
            return np.zeros(0, np.bool_)
        size = np.array([shape[1], shape[0]], np.float64)
        corners = self.outline * size
        along = np.roll(corners, -1, axis=0) - corners
        normal = np.stack([-along[:, 1], along[:, 0]], 1)
        normal /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
        # The picture's own edge is no rim.
        middle = corners + along / 2
        inner = ((middle > 1.5) & (middle < size - 1.5)).all(1)
        boxes = np.array([cell.box for cell in cells], np.float64)
        centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
        # How far each cell's middle lies inside each side, and how far its ellipse reaches out.
        depth = ((centre[:, None] - corners[None, inner]) * normal[None, inner]).sum(2)
        reach = np.sqrt(((half[:, None] * normal[None, inner]) ** 2).sum(2))
        allowed = reach + NEAR_RIM * 2 * half.mean(1)[:, None]
        return np.asarray(~(depth >= allowed).all(1), np.bool_)


def _lit(thumb: Image) -> Mask:
    """What is not dark, its largest part alone: bool [h, w]."""
    red, green, blue = cv2.split(thumb)
    level = cv2.medianBlur(cv2.max(cv2.max(red, green), blue), 5)
    bright = float(np.percentile(level, 90))
    lit = (level >= UNLIT * bright).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(lit)
    if count < 2:
        return np.zeros(lit.shape, np.bool_)
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    return np.asarray(labels == largest, np.bool_)


def _hull(mask: Mask) -> NDArray[np.uint8]:
    """The convex hull of a mask, uint8 [h, w]."""
    points = cv2.findNonZero(mask.astype(np.uint8))
    filled = np.zeros(mask.shape, np.uint8)
    if points is not None:
        cv2.fillConvexPoly(filled, cv2.convexHull(points), 1)
    return filled


def find_aperture(image: Image) -> Aperture | None:
    """The lit part of a field; None where all of it is lit, or where what is dark is no rim.

    Args:
        image: uint8 [H, W, 3] RGB, the field or a small copy of it.
    """
    thumb = shrink(image, min(1.0, SEARCH_SIDE_PX / max(image.shape[:2])))
    lit = _lit(thumb)
    if not (1 - lit.mean() >= LEAST_UNLIT_SHARE):
        return None
    hull = _hull(lit)
    height, width = hull.shape
    share = float(hull.mean())
    if not (1 - share >= LEAST_UNLIT_SHARE) or share == 0:
        return None
    if not (_filled(lit).sum() >= LEAST_SOLID * hull.sum()):
        return None
    rim = max(1, round(RIM_SHARE * max(height, width)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * rim + 1, 2 * rim + 1))
    # Beyond the picture's edge the slide goes on.
    inner = cv2.erode(hull, disc, borderType=cv2.BORDER_CONSTANT, borderValue=1)
    points = cv2.findNonZero(inner)
    if points is None:
        return None
    outline = cv2.convexHull(points)[:, 0, :].astype(np.float64)
    # From pixels' centres to their outer edges, where the picture's edge cuts the outline.
    outline = np.where(outline == 0, 0.0, outline + 0.5)
    outline = np.where(outline >= (width - 0.5, height - 0.5), (width, height), outline)
    outline = outline / (width, height)
    return Aperture(_clockwise(outline), float(inner.mean()))


def _filled(mask: Mask) -> Mask:
    """The mask with its holes closed: dark cells lie on lit slide."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros(mask.shape, np.uint8)
    cv2.drawContours(filled, contours, -1, 1, cv2.FILLED)
    return np.asarray(filled > 0, np.bool_)


def _clockwise(outline: NDArray[np.float64]) -> NDArray[np.float64]:
    """The outline in the order in which its normals (-dy, dx) point inwards."""
    x, y = outline[:, 0], outline[:, 1]
    area = float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())
    return outline if area > 0 else outline[::-1]
