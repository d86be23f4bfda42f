"""``--mask auto``: the central cell of an unmasked crop, everything else put to black.

The network was trained on isolated cells; a crop that shows neighbours is another picture to it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.prepare.preprocess import cut
from edge_malaria.records import Box, Image, Mask, expect_image

# A crop whose darkest border ring is black already is masked: nothing to isolate.
_BLACK_SHARE = 0.02
_WORK_PX = 96
# A dark parasite can win Otsu's split from its own cell. What is brighter is then split once more:
# cell and background lie further apart (in grey levels) than a background's own shading or a
# blurred rim (4 to 12), and the region under the middle grows by more than a rim (1.1 to 1.2).
# Chosen on drawn cells, where one schizont in four was cut out without its cell.
_CELL_APART = 20.0
_CELL_GROWS = 1.3
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def isolate_central_cell(crop: Image) -> tuple[Image, Mask | None]:
    """Cuts the central cell out of a crop.

    Foreground is found by Otsu's threshold (Otsu 1979) on the green channel, where haemoglobin
    absorbs most, once more where a dark parasite won the first time; touching neighbours are split
    by a watershed on the distance transform (Meyer 1994); the region under the crop's middle is the
    cell.

    Args:
        crop: uint8 [H, W, 3] RGB with one cell in its middle.

    Returns:
        (crop uint8 [h, w, 3] tight around the cell, mask bool [h, w]); the crop as it is and None
        where it is masked already or no cell lies in the middle.
    """
    expect_image(crop, "crop")
    if is_masked(crop) or min(crop.shape[:2]) < 8:
        return crop, None
    region = _central_region(crop)
    if region is None:
        return crop, None
    box = _tight_box(region)
    x0, y0, x1, y1 = box
    return np.ascontiguousarray(cut(crop, box)), np.ascontiguousarray(region[y0:y1, x0:x1])


def is_masked(crop: Image) -> bool:
    """Whether the background is black already: black pixels reach the crop's corners."""
    corners = crop[[0, 0, -1, -1], [0, -1, 0, -1]].max(axis=1)
    black = (crop.max(axis=2) == 0).mean()
    return bool((corners == 0).sum() >= 2 and black > _BLACK_SHARE)


def _central_region(crop: Image) -> Mask | None:
    height, width = crop.shape[:2]
    scale = _WORK_PX / max(height, width)
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    small = cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
    green = cv2.GaussianBlur(small[:, :, 1], (5, 5), 0)
    found = _foreground(green)
    if found is None:
        return None
    grown = _grown(found)
    if not grown.any():
        return None
    full = cv2.resize(grown.astype(np.uint8) * 255, (width, height), interpolation=cv2.INTER_AREA)
    if scale < 1.0:
        full = cv2.resize(
            grown.astype(np.uint8) * 255, (width, height), interpolation=cv2.INTER_LINEAR_EXACT
        )
    return np.asarray(full >= 128)


class _Foreground(NamedTuple):
    """Foreground uint8 [h, w], its distance transform, the seed and what is joined to the seed."""

    foreground: Image
    distance: NDArray[Any]
    seed: tuple[int, int]
    joined: Mask


def _foreground(green: Image) -> _Foreground | None:
    threshold = _otsu(green)
    first = _below(green, threshold)
    bright = green[green > threshold]
    if not bright.size:
        return first
    limit = _otsu(bright)
    cell, background = bright[bright <= limit], bright[bright > limit]
    if not (cell.size and background.size and background.mean() - cell.mean() >= _CELL_APART):
        return first
    second = _below(green, limit)
    if first is None or second is None:
        return first or second
    grows = second.joined.sum() >= _CELL_GROWS * first.joined.sum()
    return second if grows else first


def _otsu(levels: Image) -> float:
    """The brightest level of the dark side."""
    row = levels.reshape(1, -1)
    return float(cv2.threshold(row, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[0])


def _below(green: Image, threshold: float) -> _Foreground | None:
    foreground = _filled(np.where(green <= threshold, np.uint8(255), np.uint8(0)))
    distance = cv2.distanceTransform(foreground, cv2.DIST_L2, 5)
    seed = _central_seed(distance)
    if seed is None:
        return None
    _, labels = cv2.connectedComponents(foreground, connectivity=4)
    return _Foreground(foreground, distance, seed, np.asarray(labels == labels[seed]))


def _filled(dark: Image) -> Image:
    """Closes pale centres: holes inside the foreground belong to the cell."""
    opened = cv2.morphologyEx(dark, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    contours, _ = cv2.findContours(opened, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(opened)
    cv2.drawContours(filled, contours, -1, 255, thickness=cv2.FILLED)
    # A gap between touching cells is no pale centre: keep only holes smaller than a cell's middle.
    holes = cv2.bitwise_and(filled, cv2.bitwise_not(opened))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(holes)
    for index in range(1, count):
        if stats[index, cv2.CC_STAT_AREA] > 0.12 * opened.size:
            filled[labels == index] = 0
    return np.asarray(filled, np.uint8)


def _central_seed(distance: Image) -> tuple[int, int] | None:
    height, width = distance.shape
    rows, columns = np.mgrid[0:height, 0:width]
    away = np.hypot(rows - (height - 1) / 2, columns - (width - 1) / 2) / (max(height, width) / 2)
    reward = distance * np.clip(1.0 - away / 0.6, 0.0, 1.0)
    if not reward.max() > 1.0:
        return None
    row, column = np.unravel_index(int(np.argmax(reward)), reward.shape)
    return int(row), int(column)


def _grown(found: _Foreground) -> Mask:
    """The cell's own region, its rim included."""
    cores = (found.distance > 0.6 * found.distance[found.seed]).astype(np.uint8)
    _, labels = cv2.connectedComponents(cores)
    own = int(labels[found.seed])
    if np.isin(labels[found.joined], (0, own)).all():
        # A lone cell loses its outermost pixels, as to the watershed, but on all sides alike:
        # firmware_examples/camera does the same and finds the same mask.
        region = cv2.erode(
            found.joined.astype(np.uint8), _CROSS, borderType=cv2.BORDER_CONSTANT, borderValue=0
        )
    else:
        region = _watershed(found, cores, labels) == own + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    # Opening drops the thin spur that the watershed leaves along a touching neighbour; the rim's
    # soft edge belongs to the cell, as in the training masks.
    opened = cv2.morphologyEx(np.asarray(region, np.uint8), cv2.MORPH_OPEN, disc)
    return np.asarray(cv2.dilate(opened, disc) > 0)


def _watershed(found: _Foreground, cores: Image, labels: NDArray[Any]) -> NDArray[Any]:
    """Every core grown over the foreground: int32 [h, w], core's label + 1, lines -1."""
    markers = labels.astype(np.int32) + 1
    markers[(cores == 0) & (found.foreground > 0)] = 0
    markers[found.foreground == 0] = 1
    relief = cv2.normalize(-found.distance, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    return np.asarray(cv2.watershed(cv2.merge([relief, relief, relief]), markers))


def _tight_box(region: Mask) -> Box:
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
