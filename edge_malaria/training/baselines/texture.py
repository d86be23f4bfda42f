"""Texture of a cell: grey-level co-occurrence (Haralick) and local binary patterns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_malaria.records import Image, Mask

Floats = NDArray[np.float32]

GREY_LEVELS = 16
# Right, down, and the two diagonals, as (rows, columns): Haralick's four directions.
DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))
DISTANCES_PX = (1, 3)
HARALICK = ("contrast", "dissimilarity", "homogeneity", "energy", "correlation", "entropy")
RADII_PX = (1, 2)
# Eight neighbours, clockwise from the right.
NEIGHBOURS = ((0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))
PATTERNS = 10


def shifted(size: int, step: int) -> tuple[slice, slice]:
    """Slices (here, there) of an axis of ``size`` so that there = here + ``step``."""
    if step >= 0:
        return slice(0, size - step), slice(step, size)
    return slice(-step, size), slice(0, size + step)


def co_occurrence(levels: Image, mask: Mask, step: tuple[int, int]) -> NDArray[np.float64]:
    """Symmetric co-occurrence of grey levels of pixels ``step`` apart, both on the cell.

    Args:
        levels: uint8 [H, W], 0 to GREY_LEVELS - 1.
        mask: bool [H, W].
        step: (rows, columns) px.

    Returns:
        float64 [GREY_LEVELS, GREY_LEVELS], summing to 1 (all 0 where no pair is on the cell).
    """
    rows, there_rows = shifted(levels.shape[0], step[0])
    columns, there_columns = shifted(levels.shape[1], step[1])
    both = mask[rows, columns] & mask[there_rows, there_columns]
    first = levels[rows, columns][both].astype(np.int64)
    second = levels[there_rows, there_columns][both]
    counts = np.bincount(first * GREY_LEVELS + second, minlength=GREY_LEVELS**2)
    table = counts.reshape(GREY_LEVELS, GREY_LEVELS).astype(np.float64)
    table = table + table.T
    return np.asarray(table / max(1.0, table.sum()))


def haralick(table: NDArray[np.float64]) -> list[float]:
    """The measures ``HARALICK`` of a co-occurrence table.

    Haralick, Shanmugam, Dinstein, "Textural features for image classification", IEEE Trans. SMC
    3(6), 1973.
    """
    level = np.arange(GREY_LEVELS)
    apart = level[:, None] - level[None, :]
    share = table.sum(axis=1)
    mean = float(share @ level)
    variance = float(share @ (level - mean) ** 2)
    covariance = float((table * np.outer(level - mean, level - mean)).sum())
    filled = table[table > 0]
    return [
        float((table * apart**2).sum()),
        float((table * np.abs(apart)).sum()),
        float((table / (1.0 + apart**2)).sum()),
        float(np.sqrt((table**2).sum())),
        covariance / variance if variance > 1e-12 else 1.0,
        float(-(filled * np.log2(filled)).sum()),
    ]


def co_occurrence_features(grey: Image, mask: Mask) -> list[float]:
    """Mean and range over the four directions of each Haralick measure, per distance."""
    levels = (grey // (256 // GREY_LEVELS)).astype(np.uint8)
    found: list[float] = []
    for distance in DISTANCES_PX:
        steps = [(rows * distance, columns * distance) for rows, columns in DIRECTIONS]
        measured = np.array([haralick(co_occurrence(levels, mask, step)) for step in steps])
        found += [*measured.mean(axis=0), *np.ptp(measured, axis=0)]
    return found


def co_occurrence_names() -> list[str]:
    """Names of ``co_occurrence_features``, in order."""
    return [
        f"glcm_{distance}px_{measure}_{over}"
        for distance in DISTANCES_PX
        for over in ("mean", "range")
        for measure in HARALICK
    ]


def binary_patterns(grey: Image, mask: Mask, radius: int) -> Floats:
    """Histogram of rotation-invariant uniform local binary patterns; float32 [PATTERNS], sum 1.

    Ojala, Pietikainen, Maenpaa, "Multiresolution gray-scale and rotation invariant texture
    classification with local binary patterns", IEEE Trans. PAMI 24(7), 2002. The eight neighbours
    lie on the square of side 2 ``radius``, so that no value is interpolated. Bins 0-8 count the
    brighter neighbours of uniform patterns; bin 9 holds all others.
    """
    height, width = grey.shape
    if not (height > 2 * radius and width > 2 * radius):
        return np.zeros(PATTERNS, np.float32)
    rows, columns = slice(radius, height - radius), slice(radius, width - radius)
    centre = grey[rows, columns]
    on_cell = mask[rows, columns].copy()
    brighter = np.zeros((8, *centre.shape), np.uint8)
    for index, (down, right) in enumerate(NEIGHBOURS):
        there = (
            slice(radius + down * radius, height - radius + down * radius),
            slice(radius + right * radius, width - radius + right * radius),
        )
        brighter[index] = grey[there] >= centre
        on_cell &= mask[there]
    count = brighter.sum(axis=0)
    changes = (brighter != np.roll(brighter, 1, axis=0)).sum(axis=0)
    pattern = np.where(changes <= 2, count, PATTERNS - 1)[on_cell]
    histogram = np.bincount(pattern.astype(np.int64), minlength=PATTERNS)
    return np.asarray(histogram / max(1, len(pattern)), np.float32)


def pattern_features(grey: Image, mask: Mask) -> list[float]:
    """Both radii's histograms."""
    return [float(v) for radius in RADII_PX for v in binary_patterns(grey, mask, radius)]


def pattern_names() -> list[str]:
    """Names of ``pattern_features``, in order."""
    return [f"lbp_{radius}px_{index}" for radius in RADII_PX for index in range(PATTERNS)]
