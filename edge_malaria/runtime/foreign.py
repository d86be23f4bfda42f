"""How a picture's colours tell white cells and platelets from red cells.

Haemoglobin absorbs green and blue light, the stain of chromatin and granules red and green. So the
optical density of red and green over blue, how both vary inside the cell and whether they vary
together say what the cell is made of, largely whatever the lamp was. A rule is a quadratic
function of a dozen such measures; several rules stand beside each other because one stain's white
cells have the colours of another's red cells. ``benchmarks/abstention.py --fit`` writes
``foreign.json``; a bundle carries its own copy with the limits of its train cells.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.records import Image

Floats = NDArray[np.float64]
# A pixel belongs to the cell where any channel is above this level; the mask sets it to 0.
BLACK = 8
# Every second pixel each way is looked at: colours are smooth, and it is four times as fast.
STEP = 2
# Only the middle: the rim mixes with the black background, and the cut differs between finders.
MIDDLE = 0.78
# Measures are clipped this many standard deviations of train cells from their mean.
CLIP = 6.0
NAMES = (
    *("red_over_blue", "green_over_blue", "blue"),
    *("red_over_blue_deviation", "green_over_blue_deviation", "blue_deviation"),
    *("red_green_correlation", "red_blue_correlation", "green_blue_correlation"),
    *("red_over_blue_skewness", "green_over_blue_skewness"),
)
# Optical density of each grey level.
DENSITY = -np.log10((np.arange(256, dtype=np.float32) + 1) / 256).astype(np.float32)


def middle(side: int) -> NDArray[np.float32]:
    """Which of the sampled pixels lie inside the middle disc: 0 or 1, [pixels]."""
    rows, columns = np.mgrid[0:side:STEP, 0:side:STEP]
    centre = (side - STEP) / 2.0
    away = np.hypot(rows - centre, columns - centre) / (side / 2.0)
    return np.asarray((away < MIDDLE).ravel(), np.float32)


def colour_measures(batch: Image) -> Floats:
    """``NAMES`` of each network input.

    Args:
        batch: uint8 [N, S, S, 3] RGB, background black.

    Returns:
        float64 [N, 11], optical densities (means and deviations), correlations and skewnesses.
    """
    planes = _planes(batch)
    inside = planes[:, 3]
    # Every sum of a product of two planes at once; the last row holds the plain sums.
    moments = np.matmul(planes, planes.transpose(0, 2, 1)).astype(np.float64)
    size = np.maximum(moments[:, 3, 3], 1.0)
    moments /= size[:, None, None]
    mean = moments[:, 3, :3]
    spread = moments[:, :3, :3] - mean[:, :, None] * mean[:, None, :]
    deviation = np.sqrt(np.maximum(np.einsum("nii->ni", spread), 1e-8))
    columns = [*mean.T, *deviation.T]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        columns.append(spread[:, i, j] / (deviation[:, i] * deviation[:, j] + 1e-3))
    for i in (0, 1):
        away = planes[:, i] - mean[:, None, i].astype(np.float32) * inside
        third = np.einsum("np,np->n", away * away, away).astype(np.float64) / size
        columns.append(third / (deviation[:, i] ** 3 + 1e-5))
    return np.stack(columns, axis=1)


def _planes(batch: Image) -> NDArray[np.float32]:
    """Red over blue, green over blue, blue and "inside" of the sampled pixels, [N, 4, pixels].

    All four are 0 outside the cell and outside the middle disc.
    """
    cells, side = len(batch), int(batch.shape[1])
    if side % STEP:
        thin = np.ascontiguousarray(batch[:, ::STEP, ::STEP])
    else:
        # The same pixels, five times as fast: the cells one below the other.
        tall = np.ascontiguousarray(batch).reshape(cells * side, side, 3)
        size = (side // STEP, cells * side // STEP)
        thin = np.asarray(cv2.resize(tall, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    red, green, blue = cv2.split(thin.reshape(cells, -1, 3))
    black = cv2.compare(cv2.max(cv2.max(red, green), blue), BLACK, cv2.CMP_LE)
    planes = np.empty((cells, 4, red.shape[1]), np.float32)
    planes[:, 3] = middle(side)
    planes[:, 3][black.view(np.bool_)] = 0.0
    blues = cv2.LUT(blue, DENSITY)
    for place, channel in enumerate((red, green)):
        planes[:, place] = cv2.LUT(channel, DENSITY)
        planes[:, place] -= blues
        planes[:, place] *= planes[:, 3]
    np.multiply(blues, planes[:, 3], out=planes[:, 2])
    return planes


def quadratic(measures: Floats, mean: Floats, deviation: Floats) -> Floats:
    """[N, K] -> [N, 1 + K + K (K + 1) / 2]: one, standardised measures and their products."""
    standard = np.clip((measures - mean) / deviation, -CLIP, CLIP)
    i, j = np.triu_indices(standard.shape[1])
    ones = np.ones((len(standard), 1))
    return np.concatenate([ones, standard, standard[:, i] * standard[:, j]], axis=1)


def shipped_rules() -> dict[str, Any]:
    """``foreign.json``: mean, deviation and the rules' weights, without limits."""
    text = Path(__file__).with_name("foreign.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def rule_scores(batch: Image, rules: Mapping[str, Any]) -> Floats:
    """Scores of every rule, higher = less like a red cell; float64 [N, rules]."""
    mean = np.asarray(rules["mean"], np.float64)
    deviation = np.asarray(rules["deviation"], np.float64)
    weights = np.asarray([rule["weights"] for rule in rules["rules"]], np.float64)
    if not len(batch):
        return np.zeros((0, len(weights)))
    return quadratic(colour_measures(batch), mean, deviation) @ weights.T
