"""How large a red cell is in this field, measured from the cells themselves."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edge_malaria.records import Image, Mask
from edge_malaria.runtime.detect.light import (
    FloatMap,
    absorbance,
    fill_centres,
    foreground,
    shrink,
    strongest,
)

# The scale is measured at this longest side.
SCALE_SIDE_PX = 640


@dataclass(frozen=True)
class Scale:
    """The cell's size in a field.

    Attributes:
        diameter_px: of a typical red cell, in pixels of the decoded image.
        sure: whether single round cells were seen; False where it is a guess.
    """

    diameter_px: float
    sure: bool


def _lone_diameters(mask: Mask, taken: FloatMap) -> tuple[list[float], list[float]]:
    """Diameters and areas of blobs that look like one red cell: whole, round, solid, not blue."""
    height, width = mask.shape
    outer, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    blueness = float(taken[:, :, 0][mask].sum() / max(1e-6, taken[:, :, 1][mask].sum()))
    diameters, areas = [], []
    for contour in outer:
        x, y, w, h = cv2.boundingRect(contour)
        if x <= 1 or y <= 1 or x + w >= width - 1 or y + h >= height - 1 or min(w, h) < 5:
            continue
        area = float(cv2.contourArea(contour))
        hull = float(cv2.contourArea(cv2.convexHull(contour)))
        round_enough = area > 0.62 * w * h and max(w, h) < 1.6 * min(w, h)
        red, green = taken[y : y + h, x : x + w, :2].sum((0, 1))
        if area > 0.9 * hull and round_enough and red < 1.3 * blueness * green:
            diameters.append(2 * float(np.sqrt(area / np.pi)))
            areas.append(area)
    return diameters, areas


def _weighted_median(values: list[float], weights: list[float]) -> float:
    order = np.argsort(values)
    total = np.cumsum(np.asarray(weights)[order])
    return float(np.asarray(values)[order][np.searchsorted(total, total[-1] / 2)])


def measure_scale(image: Image) -> Scale | None:
    """The diameter of the field's red cells; None where nothing stands out of the background.

    Single round cells are measured where there are some (weighted by area, so that platelets do
    not vote a cell down); else the ridge of the distance transform stands in.
    """
    factor = min(1.0, SCALE_SIDE_PX / max(image.shape[:2]))
    small = shrink(image, factor)
    taken = absorbance(small)
    mask = _fill_small_or_all(foreground(strongest(taken)))
    if not mask.any():
        return None
    diameters, areas = _lone_diameters(mask, taken)
    distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    # Three cells agree by chance less often than two; where most of the foreground hangs together
    # the few lone blobs may be anything.
    if len(diameters) >= 3 and sum(areas) > 0.25 * mask.sum():
        return Scale(_weighted_median(diameters, areas) / factor, True)
    ridge = distance[(distance >= cv2.dilate(distance, np.ones((7, 7)))) & (distance > 2)]
    if ridge.size == 0:
        return None
    guess = _weighted_median((2 * ridge).tolist(), (ridge**2).tolist())
    return Scale(_roundest(mask, [guess, *diameters]) / factor, False)


def _roundest(mask: Mask, guesses: list[float]) -> float:
    """Among diameters around the guesses, the one whose discs explain the contour best."""
    low, high = 0.45 * min(guesses), 1.3 * max(guesses)
    best, answer = 0.0, float(np.median(guesses))
    for diameter in np.geomspace(max(low, 4.0), max(high, 5.0), 10):
        # Larger discs need more edge for the same height, small ones find chance arcs: the mean
        # of the strongest vote a cell area compares like with like.
        cells = max(3, int(0.5 * mask.sum() / (np.pi / 4 * diameter**2)))
        votes = centre_votes(mask, float(diameter))
        reach = int(0.6 * diameter) | 1
        peaks = votes[(votes >= cv2.dilate(votes, np.ones((reach, reach)))) & (votes > 0.1)]
        if peaks.size == 0:
            continue
        height = float(np.sort(peaks)[::-1][:cells].sum()) / cells
        if height > best:
            best, answer = height, float(diameter)
    return answer


def _fill_small_or_all(mask: Mask) -> Mask:
    """Fills holes as far as the clumps they lie in are single cells or small groups."""
    largest = 0.004 * mask.size
    return fill_centres(mask, largest)


def centre_votes(mask: Mask, diameter: float) -> FloatMap:
    """Hough voting for discs: every contour pixel votes along its inward normal.

    Radii from 0.36 to 0.56 diameters take part, so ovals gather their votes too.

    Returns:
        float32 [H, W]; about 1 at the middle of a whole disc, 0.5 where half its edge is hidden.
    """
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), max(1.0, 0.05 * diameter))
    dx, dy = cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1)
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1)
    y, x = np.nonzero(mask & (inner == 0))
    length = np.maximum(np.hypot(dx[y, x], dy[y, x]), 1e-6)
    ux, uy = dx[y, x] / length, dy[y, x] / length
    height, width = mask.shape
    votes = np.zeros(height * width, np.float64)
    radii = np.linspace(0.36, 0.56, 6) * diameter
    for radius in radii:
        cx, cy = np.rint(x + radius * ux).astype(int), np.rint(y + radius * uy).astype(int)
        inside = (cx >= 0) & (cy >= 0) & (cx < width) & (cy < height)
        votes += np.bincount(cy[inside] * width + cx[inside], minlength=votes.size)
    sigma = max(1.0, 0.09 * diameter)
    spread = cv2.GaussianBlur(votes.reshape(height, width).astype(np.float32), (0, 0), sigma)
    # Votes of a whole disc: its edge pixels times the radii that land within the blur.
    whole = np.pi * diameter * 2.5 / (2 * np.pi * (sigma**2 + (0.05 * diameter) ** 2))
    return np.asarray(spread / whole, np.float32)
