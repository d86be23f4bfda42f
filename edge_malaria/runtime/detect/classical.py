"""The classical finder: threshold, Hough votes, distance transform. No network, no weights.

The cell's diameter is measured in the field itself, and every later size is a multiple of it.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.records import Cell, CellKind, Image, Mask
from edge_malaria.runtime.detect.cells import Candidate, cells_of, check_field
from edge_malaria.runtime.detect.light import FloatMap, absorbance, fill_centres, foreground, shrink
from edge_malaria.runtime.detect.scale import centre_votes, measure_scale

# Cells are split at this diameter.
WORK_DIAMETER_PX = 26.0
MIN_DIAMETER_PX = 6.0


def find_centres(mask: Mask, diameter: float) -> NDArray[np.int64]:
    """Cell centres in a foreground: int64 [N, 2] of (x, y) px.

    The distance transform finds the middle of lone and touching cells, the votes find those that
    lie partly under others, where the distance transform runs on along the clump.
    """
    distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    height = centre_votes(mask, diameter) + np.minimum(distance / (0.5 * diameter), 1.0)
    height = cv2.GaussianBlur(height, (0, 0), max(0.8, 0.04 * diameter))
    reach = int(0.55 * diameter) | 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    peak = (height >= cv2.dilate(height, disc)) & mask & (height > 0.45)
    _, _, _, centres = cv2.connectedComponentsWithStats(peak.astype(np.uint8))
    return np.asarray(np.rint(centres[1:]), np.int64).reshape(-1, 2)


def split_touching(mask: Mask, diameter: float) -> NDArray[np.int32]:
    """One region a cell: int32 [H, W], 0 on background, 1.. per cell.

    A pixel belongs to the nearest centre; what no centre reaches (small things, long shapes) is
    taken as it hangs together.
    """
    centres = find_centres(mask, diameter)
    labels = np.zeros(mask.shape, np.int32)
    if len(centres):
        seeds = np.ones(mask.shape, np.uint8)
        seeds[centres[:, 1], centres[:, 0]] = 0
        far, nearest = cv2.distanceTransformWithLabels(
            seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )
        labels = np.where(mask & (far < 0.75 * diameter), nearest, 0).astype(np.int32)
    rest = mask & (labels == 0)
    count, parts = cv2.connectedComponents(rest.astype(np.uint8))
    if count > 1:
        labels[rest] = parts[rest] + labels.max()
    return labels


def _nuclei(taken: FloatMap, mask: Mask, diameter: float) -> Mask:
    """Where a white cell's nucleus lies: far more red light is taken than by red cells.

    Haemoglobin and eosin take green; only azure-stained nuclei (and parasites, which are smaller)
    take much red as well.
    """
    red = taken[:, :, 0]
    typical = float(np.median(red[mask])) if mask.any() else 0.0
    spread = float(np.percentile(red[mask], 75)) - typical if mask.any() else 0.0
    dark = (red > max(0.35, 1.7 * typical, typical + 3 * spread)).astype(np.uint8)
    reach = max(3, int(0.35 * diameter) | 1)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    joined = cv2.morphologyEx(dark, cv2.MORPH_CLOSE, disc)
    # Parasites and platelets are thinner than a third of a cell.
    thin = max(3, int(0.4 * diameter) | 1)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (thin, thin))
    return np.asarray(cv2.morphologyEx(joined, cv2.MORPH_OPEN, disc) > 0, np.bool_)


def _white_cells(labels: NDArray[np.int32], nuclei: Mask, diameter: float) -> list[Mask]:
    """Masks of white cells; the labels that they swallow are wiped from ``labels``."""
    cell_area = np.pi / 4 * diameter**2
    count, parts = cv2.connectedComponents(nuclei.astype(np.uint8))
    masks = []
    for part in range(1, count):
        nucleus = parts == part
        if nucleus.sum() < 0.45 * cell_area:
            continue
        contours, _ = cv2.findContours(
            nucleus.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        whole = np.zeros(labels.shape, np.uint8)
        cv2.fillConvexPoly(whole, cv2.convexHull(np.concatenate(contours)), 1)
        reach = max(3, int(0.3 * diameter) | 1)
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
        white = cv2.dilate(whole, disc) > 0
        inside = np.bincount(labels[white], minlength=labels.max() + 1)
        total = np.bincount(labels.ravel(), minlength=labels.max() + 1)
        swallowed = np.flatnonzero(inside > 0.5 * np.maximum(total, 1))
        swallowed = swallowed[swallowed > 0]
        white |= np.isin(labels, swallowed)
        labels[white] = 0
        masks.append(white)
    return masks


def _kind_of(area: float, taken: NDArray[np.float64], typical: NDArray[np.float64]) -> CellKind:
    """A region's kind by its area in cell areas and its mean absorbance against the field's."""
    if area < 0.3:
        bluish = taken[0] / max(taken[1], 1e-6) > 1.15 * typical[0] / max(typical[1], 1e-6)
        return "platelet" if bluish else "debris"
    return "debris" if area > 4.5 else "red-cell"


def _region(labels: NDArray[np.int32], label: int, box: tuple[int, int, int, int]) -> Mask:
    """A region with its dents filled: its convex hull, as red cells are convex, bool [h, w]."""
    x, y, w, h = box
    part = (labels[y : y + h, x : x + w] == label).astype(np.uint8)
    contours, _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return np.asarray(part > 0, np.bool_)
    largest = max(contours, key=cv2.contourArea)
    cv2.fillConvexPoly(part, cv2.convexHull(largest), 1)
    return np.asarray(part > 0, np.bool_)


class ClassicalFinder:
    """Distance-transform watershed on flattened light; the fallback that needs no network."""

    name = "classical"

    def find(
        self, image: Image, small: Image | None = None, diameter_px: float | None = None
    ) -> list[Cell]:
        """The things found in ``image``, uint8 [H, W, 3] RGB; see ``CellFinder``."""
        check_field(image)
        scale = measure_scale(image)
        return [] if scale is None else self.find_at(image, scale.diameter_px)

    def find_at(self, image: Image, diameter_px: float, small: Image | None = None) -> list[Cell]:
        """``find`` where the red cells' diameter, px of ``image``, is known; see ``CellFinder``."""
        check_field(image)
        if not (diameter_px >= MIN_DIAMETER_PX):
            return []
        factor = min(1.0, WORK_DIAMETER_PX / diameter_px)
        shrunk = shrink(image, factor)
        return cells_of(self._candidates(shrunk, diameter_px * factor, factor), image.shape)

    def _candidates(self, small: Image, diameter: float, factor: float) -> list[Candidate]:
        taken = absorbance(small)
        cell_area = np.pi / 4 * diameter**2
        mask = foreground(np.asarray(taken.max(2), np.float32))
        mask = fill_centres(mask, 0.5 * cell_area)
        mask = np.asarray(
            cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
        )
        labels = split_touching(mask, diameter)
        whites = _white_cells(labels, _nuclei(taken, mask, diameter), diameter)
        found = [_candidate(w, (0, 0), factor, "white-cell", 0.95) for w in whites]
        return found + _red_candidates(labels, taken, cell_area, factor)


def _candidate(
    mask: Mask, corner: tuple[int, int], factor: float, kind: CellKind, score: float
) -> Candidate:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    y0, y1, x0, x1 = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    x, y = corner
    box = ((x + x0) / factor, (y + y0) / factor, (x + x1) / factor, (y + y1) / factor)
    return Candidate(box, mask[y0:y1, x0:x1], kind, score)


def _red_candidates(
    labels: NDArray[np.int32], taken: FloatMap, cell_area: float, factor: float
) -> list[Candidate]:
    count = int(labels.max()) + 1
    area = np.bincount(labels.ravel(), minlength=count).astype(np.float64)
    means = (
        np.stack([np.bincount(labels.ravel(), taken[:, :, c].ravel(), count) for c in range(3)], 1)
        / np.maximum(area, 1)[:, None]
    )
    whole = np.flatnonzero(area[1:] > 0.4 * cell_area) + 1
    typical = np.median(means[whole], axis=0) if whole.size else means[0]
    boxes = _label_boxes(labels, count)
    found = []
    for label in range(1, count):
        share = area[label] / cell_area
        if share < 0.02:
            continue
        kind = _kind_of(share, means[label], typical)
        score = float(np.clip(1 - abs(np.log(max(share, 1e-3))) / 3, 0.05, 0.9))
        x, y, w, h = boxes[label]
        found.append(_candidate(_region(labels, label, (x, y, w, h)), (x, y), factor, kind, score))
    return found


def _label_boxes(labels: NDArray[np.int32], count: int) -> list[tuple[int, int, int, int]]:
    """(x, y, w, h) of every label, 0 ... count - 1."""
    rows, columns = np.nonzero(labels)
    which = labels[rows, columns]
    low = np.full((count, 2), np.iinfo(np.int32).max)
    high = np.full((count, 2), -1)
    np.minimum.at(low, which, np.stack([columns, rows], 1))
    np.maximum.at(high, which, np.stack([columns, rows], 1))
    size = high - low + 1
    return [
        (int(a), int(b), int(c), int(d)) if c > 0 and d > 0 else (0, 0, 1, 1)
        for (a, b), (c, d) in zip(low, size, strict=True)
    ]
