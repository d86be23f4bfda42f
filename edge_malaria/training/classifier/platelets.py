"""Platelets and shreds of stain that cling to a cell's edge and stay in a segmenter's crop.

They are violet as parasites are, and the screening point is decided by them: most of a healthy
patient's cells that look parasitized have one at the edge. A parasite lies inside the outline.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.records import Image

Floats = NDArray[np.float32]

# Optical density of a Giemsa-stained platelet in R, G, B (natural logarithm): violet to magenta.
DENSITY = np.array([0.5, 1.25, 0.4], np.float32)
# A platelet measures 2 to 3 micrometres, a red cell 7 to 8: Bain, Blood Cells, 5th ed.
DIAMETER_OF_CELL = (0.12, 0.42)
CLEAR_LIGHT = 235.0
# Room around the cell, as a share of its side.
MARGIN = 0.3


def with_platelet(image: Image, mask: NDArray[np.uint8], rng: np.random.Generator) -> Image:
    """A platelet across the outline, then tight and full-size again, as crops are cut.

    Args:
        image: uint8 [S, S, 3] RGB on black.
        mask: uint8 [S, S], 1 on the cell.
        rng: decides everything.

    Returns:
        uint8 [S, S, 3]; ``image`` itself where it holds no cell.
    """
    if not mask.any():
        return image
    size = image.shape[0]
    edge = int(MARGIN * size)
    wide = cv2.copyMakeBorder(image, edge, edge, edge, edge, cv2.BORDER_CONSTANT)
    cell = cv2.copyMakeBorder(mask, edge, edge, edge, edge, cv2.BORDER_CONSTANT)
    cover = _cover(cell, size, rng)
    hue = np.exp(rng.normal(0.0, 0.3, 3)) * rng.uniform(0.5, 1.5)
    through = np.exp(-(DENSITY * hue).astype(np.float32) * cover[:, :, None])
    ground = np.where(cell[:, :, None] > 0, wide, np.float32(rng.uniform(200, CLEAR_LIGHT)))
    kept = (cell > 0) | (cover > rng.uniform(0.15, 0.5))
    scene = (ground * through * kept[:, :, None]).astype(np.uint8)
    rows, columns = np.flatnonzero(kept.any(axis=1)), np.flatnonzero(kept.any(axis=0))
    part = scene[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.asarray(cv2.resize(part, (size, size), interpolation=cv2.INTER_LINEAR), np.uint8)


def _cover(cell: NDArray[np.uint8], size: int, rng: np.random.Generator) -> Floats:
    """How much of the platelet lies on each pixel, float32 [H, W] in 0 to about 1.3."""
    radius = rng.uniform(*DIAMETER_OF_CELL) * size / 2.0
    place = _on_outline(cell, radius, rng)
    drawn: Floats = np.zeros(cell.shape, np.float32)
    turn = rng.uniform(0.0, 180.0)
    longer = np.exp(abs(rng.normal(0.0, 0.45)))
    for _ in range(int(rng.integers(1, 5))):
        centre = place + rng.normal(0.0, 0.35 * radius, 2)
        axes = radius * rng.uniform(0.5, 1.0) * np.array([longer, 1.0 / longer])
        cv2.ellipse(
            drawn,
            (int(centre[0] * 16), int(centre[1] * 16)),
            (int(axes[0] * 16) + 8, int(axes[1] * 16) + 8),
            turn + rng.normal(0.0, 20.0),
            0.0,
            360.0,
            1.0,
            -1,
            8,
            4,
        )
    grain = cv2.GaussianBlur(rng.normal(0.0, 1.0, cell.shape).astype(np.float32), (3, 3), 0.8)
    soft = cv2.GaussianBlur(drawn, (5, 5), rng.uniform(0.4, 1.1))
    return np.asarray(np.clip(soft * (1.0 + rng.uniform(0.0, 0.6) * grain), 0.0, None), np.float32)


def _on_outline(
    cell: NDArray[np.uint8], radius: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """A centre (x, y) near the outline, so that most of the platelet lies outside."""
    rows, columns = np.nonzero(cell)
    middle = np.array([columns.mean(), rows.mean()])
    direction = rng.uniform(0.0, 2.0 * np.pi)
    way = np.array([np.cos(direction), np.sin(direction)])
    reach = ((columns - middle[0]) * way[0] + (rows - middle[1]) * way[1]).max()
    # The cell's own reach along this ray: walk inwards until it is met.
    for distance in np.arange(reach, 0.0, -1.0):
        x, y = np.round(middle + distance * way).astype(int)
        if 0 <= x < cell.shape[1] and 0 <= y < cell.shape[0] and cell[y, x]:
            return np.asarray(middle + (distance + rng.uniform(-0.1, 0.9) * radius) * way)
    return np.asarray(middle + reach * way)
