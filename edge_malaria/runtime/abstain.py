"""Saying "unsure" where a crop does not look like a red cell at all.

A classifier answers for anything. White cells, platelets, debris, blank and blurred crops are kept
from getting a label by comparing a few plain measures of the network's input with the range that
they have over red cells of train patients.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
    red, green, blue = (np.ascontiguousarray(batch[..., c]) for c in range(3))
    inside = np.maximum(np.maximum(red, green), blue) > _BLACK
    count = np.maximum(inside.sum(axis=(1, 2)), 1)
    red_density = _DENSITY[red]
    density = red_density + _DENSITY[green] + _DENSITY[blue]
    mean_density = np.einsum("nij,nij->n", density, inside, dtype=np.float64) / (3.0 * count)
    median = np.array(
        [np.median(d[m]) if m.any() else 0.0 for d, m in zip(red_density, inside, strict=True)],
        np.float32,
    )
    dense = inside & (red_density > median[:, None, None] + np.float32(0.15))
    grey = (red.astype(np.float32) + green + blue) / np.float32(3.0)
    across = np.abs(np.diff(grey, axis=2)) * (inside[:, :, 1:] & inside[:, :, :-1])
    down = np.abs(np.diff(grey, axis=1)) * (inside[:, 1:] & inside[:, :-1])
    detail = (across.sum(axis=(1, 2)) + down.sum(axis=(1, 2))) / (2.0 * count)
    return {
        "foreground": (inside.mean(axis=(1, 2))).astype(np.float64),
        "density": np.asarray(mean_density, np.float64),
        "nucleus": (dense.sum(axis=(1, 2)) / count).astype(np.float64),
        "detail": np.asarray(detail, np.float64),
    }


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
