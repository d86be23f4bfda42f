"""Saying "unsure" where a crop does not look like a red cell at all.

A classifier answers for anything. White cells, platelets, debris, blank and blurred crops are kept
from getting a label by comparing a few plain measures of the network's input with the range that
they have over red cells of train patients.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.records import Image

Features = dict[str, NDArray[np.float64]]
# A pixel belongs to the cell where any channel is above this level; the mask sets it to 0.
_BLACK = 8
# Optical density of each grey level.
_DENSITY = -np.log10((np.arange(256, dtype=np.float32) + 1) / 256).astype(np.float32)
# How far a measure may leave the range of the train cells, as a factor. Stain strength and
# sharpness differ between laboratories by about two, the cell's shape in its box does not.
MARGINS: Mapping[str, float] = {"foreground": 1.1, "density": 2.0, "nucleus": 1.5, "detail": 2.0}


def cell_features(batch: Image) -> Features:
    """Measures of each network input.

    Args:
        batch: uint8 [N, S, S, 3] RGB, background black.

    Returns:
        float64 [N] each: ``foreground`` share of pixels on the cell (0-1); ``density`` mean
        optical density of the cell (0-2.4); ``nucleus`` share of the cell's pixels that are much
        denser in red than its median, as chromatin of white cells and platelets is (0-1);
        ``detail`` mean absolute neighbour difference inside the cell, in grey levels.
    """
    cells, size = len(batch), batch.shape[1]
    if not cells:
        return {name: np.zeros(0) for name in MARGINS}
    red, green, blue = cv2.split(np.ascontiguousarray(batch).reshape(cells * size, size, 3))
    inside = cv2.compare(cv2.max(cv2.max(red, green), blue), _BLACK, cv2.CMP_GT)
    count = np.maximum(np.count_nonzero(inside.reshape(cells, -1), axis=1), 1)
    density = cv2.add(cv2.add(_densities(red), _densities(green)), _densities(blue))
    total = cv2.copyTo(density, inside).reshape(cells, -1).sum(axis=1)
    return {
        "foreground": np.count_nonzero(inside.reshape(cells, -1), axis=1) / float(size * size),
        "density": np.asarray(total, np.float64) / (3.0 * count),
        "nucleus": _much_denser(red, inside, size) / count,
        "detail": _neighbour_difference((red, green, blue), inside, size) / (2.0 * count),
    }


def _densities(channel: Image) -> NDArray[np.float32]:
    return np.asarray(cv2.LUT(channel, _DENSITY), np.float32)


def _much_denser(red: Image, inside: Image, size: int) -> NDArray[np.int64]:
    """How many of each cell's pixels are much denser in red than their median.

    Density falls with the grey level, so a histogram of levels holds all that is asked: several
    times faster than a median of each cell's densities, with the same answer.

    Args:
        red, inside: uint8 [N * size, size], the cells one below the other; inside is 255 or 0.
        size: rows a cell.
    """
    cells = len(red) // size
    shown = red.reshape(cells, size, size), inside.reshape(cells, size, size)
    levels = np.empty((cells, 256), np.float32)
    for place, (part, mask) in enumerate(zip(*shown, strict=True)):
        levels[place] = cv2.calcHist([part], [0], mask, [256], [0, 256]).ravel()
    # Densest first, that is from level 0 on.
    below = np.cumsum(levels, axis=1)
    count = below[:, -1:]
    # The two pixels in the middle, the same one where the count is odd.
    middle = [(below <= rank).sum(axis=1) for rank in ((count - 1) // 2, count // 2)]
    median = sum(_DENSITY[np.minimum(rank, 255)] for rank in middle) / np.float32(2.0)
    median = np.where(count[:, 0] > 0, median, np.float32(0.0)).astype(np.float32)
    denser = _DENSITY[None, :] > (median + np.float32(0.15))[:, None]
    return np.asarray((levels * denser).sum(axis=1), np.int64)


def _neighbour_difference(
    channels: tuple[Image, Image, Image], inside: Image, size: int
) -> NDArray[np.float64]:
    """The sum of absolute grey-level differences of neighbours inside each cell."""
    red, green, blue = channels
    cells = len(red) // size
    # Three times the grey level: whole numbers.
    grey = np.add(np.add(red, green, dtype=np.uint16), blue, dtype=np.uint16)
    across = cv2.absdiff(grey[:, 1:], grey[:, :-1])
    across = cv2.copyTo(across, cv2.bitwise_and(inside[:, 1:], inside[:, :-1]))
    down = cv2.absdiff(grey[1:], grey[:-1])
    down = cv2.copyTo(down, cv2.bitwise_and(inside[1:], inside[:-1]))
    rows = np.asarray(across).sum(axis=1, dtype=np.int64)
    # From a cell's last row to the next cell's first there are no neighbours.
    rows[:-1] += np.asarray(down).sum(axis=1, dtype=np.int64) * (np.arange(1, len(grey)) % size > 0)
    return np.asarray(rows.reshape(cells, size).sum(axis=1) / 3.0, np.float64)


def fit_limits(batch: Image, share: float = 0.0005) -> dict[str, Any]:
    """Limits from red cells: quantiles of each measure, widened by ``MARGINS``.

    Args:
        batch: uint8 [N, S, S, 3], red cells of train patients, both classes.
        share: of the cells beyond the quantile at each end, before widening.

    Returns:
        The JSON object that ``not_a_red_cell`` takes.
    """
    limits = {}
    for name, values in cell_features(batch).items():
        low, high = np.quantile(values, [share, 1.0 - share])
        margin = MARGINS[name]
        limits[name] = [round(float(low) / margin, 5), round(float(high) * margin, 5)]
    return {
        "limits": limits,
        "share_left_out_each_end": share,
        "margins": dict(MARGINS),
        "fitted_on": len(batch),
    }


def not_a_red_cell(batch: Image, fitted: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Which network inputs lie outside the fitted limits; bool [N]."""
    outside = np.zeros(len(batch), np.bool_)
    if not len(batch):
        return outside
    for name, values in cell_features(batch).items():
        if name in fitted["limits"]:
            low, high = fitted["limits"][name]
            outside |= ~((values >= low) & (values <= high))
    return outside
