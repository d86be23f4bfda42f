"""Saying "unsure" where a crop does not look like a red cell at all.

A classifier answers for anything. Blank and blurred crops and debris are kept from getting a label
by comparing a few plain measures of the network's input with the range that they have over red
cells of train patients. White cells and platelets are the finder's to keep out: colour rules that
caught nine in ten of one laboratory's caught one in thirty of another's, and called every seventh
red cell of a third one foreign.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.records import Image

Features = dict[str, NDArray[np.float64]]
# A pixel belongs to the cell where any channel is above this level; the mask sets it to 0.
BLACK = 8
# Optical density of each grey level.
DENSITY = -np.log10((np.arange(256, dtype=np.float32) + 1) / 256).astype(np.float32)
# How far a measure may leave the range of the train cells, as a factor. Stain strength and
# sharpness differ between laboratories by about two, the cell's shape in its box does not.
MARGINS: Mapping[str, float] = {"foreground": 1.1, "density": 2.0, "nucleus": 1.5, "detail": 2.0}


def cell_features(batch: Image, names: Iterable[str] = tuple(MARGINS)) -> Features:
    """Measures of each network input.

    Args:
        batch: uint8 [N, S, S, 3] RGB, background black.
        names: which.

    Returns:
        float64 [N] each: ``foreground`` share of pixels on the cell (0-1); ``density`` mean
        optical density of the cell (0-2.4); ``detail`` mean absolute neighbour difference inside
        the cell, in grey levels; ``nucleus`` share of the cell's pixels that are much denser in
        red than its median (0-1).
    """
    wanted = tuple(names)
    cells, size = len(batch), batch.shape[1]
    if not cells:
        return {name: np.zeros(0) for name in wanted}
    red, green, blue = cv2.split(np.ascontiguousarray(batch).reshape(cells * size, size, 3))
    inside = cv2.compare(cv2.max(cv2.max(red, green), blue), BLACK, cv2.CMP_GT)
    on_cell = _row_sums(inside.reshape(cells, -1)) / 255.0
    count = np.maximum(on_cell, 1)
    measures: dict[str, Callable[[], NDArray[np.float64]]] = {
        "foreground": lambda: on_cell / float(size * size),
        "density": lambda: _density((red, green, blue), inside, cells) / count,
        "nucleus": lambda: _much_denser(red, inside, size) / count,
        "detail": lambda: _neighbour_difference((red, green, blue), inside, size) / (2.0 * count),
    }
    return {name: measures[name]() for name in wanted}


def _density(
    channels: tuple[Image, Image, Image], inside: Image, cells: int
) -> NDArray[np.float64]:
    """The sum over each cell's pixels of the channels' mean density."""
    red, green, blue = (_densities(channel) for channel in channels)
    total = cv2.copyTo(cv2.add(cv2.add(red, green), blue), inside)
    return _row_sums(np.asarray(total).reshape(cells, -1)) / 3.0


def _row_sums(rows: NDArray[Any]) -> NDArray[np.float64]:
    """Sums along the last axis: float32 holds those of whole numbers below 2^24 exactly."""
    sums = cv2.reduce(rows, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32F)
    return np.asarray(sums, np.float64).ravel()


def _densities(channel: Image) -> NDArray[np.float32]:
    return np.asarray(cv2.LUT(channel, DENSITY), np.float32)


def _much_denser(red: Image, inside: Image, size: int) -> NDArray[np.int64]:
    """How many of each cell's pixels are much denser in red than their median.

    Density falls with the grey level, so a histogram of levels holds all that is asked: several
    times faster than a median of each cell's densities, with the same answer.

    Args:
        red: uint8 [N * size, size], the cells one below the other.
        inside: uint8 [N * size, size], 255 in a cell and 0 outside.
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
    median = sum(DENSITY[np.minimum(rank, 255)] for rank in middle) / np.float32(2.0)
    median = np.where(count[:, 0] > 0, median, np.float32(0.0)).astype(np.float32)
    denser = DENSITY[None, :] > (median + np.float32(0.15))[:, None]
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
    rows = _row_sums(np.asarray(across))
    # From a cell's last row to the next cell's first there are no neighbours.
    rows[:-1] += _row_sums(np.asarray(down)) * (np.arange(1, len(grey)) % size > 0)
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
    """Which network inputs lie outside the fitted limits; bool [N].

    A bundle may hold limits of fewer measures.
    """
    outside = np.zeros(len(batch), np.bool_)
    if not len(batch):
        return outside
    limits = fitted["limits"]
    for name, values in cell_features(batch, limits).items():
        low, high = limits[name]
        outside |= ~((values >= low) & (values <= high))
    return outside
