"""Outlines of drawn cells, made of table look-ups and exact arithmetic.

Sines come from one rounded table, so that an outline has the same bits on every machine; the
angle step is ``2 pi / POINTS``.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.records import Image

Doubles = NDArray[np.float64]
Gray = NDArray[np.uint8]

POINTS = 144
# Rounded to 20 binary places: the last bit of a library's cosine differs between machines.
_COS: Doubles = np.array(
    [round(math.cos(2 * math.pi * i / POINTS) * 2**20) / 2**20 for i in range(POINTS)]
)
_STEPS = np.arange(POINTS)
# Bits after the point that cv2's drawing functions take.
SHIFT = 4
RED_CELL_SHAPES = ("round", "oval", "irregular", "teardrop", "crenated", "bitten")
_SHAPE_WEIGHTS = (0.50, 0.22, 0.15, 0.04, 0.04, 0.05)


def cosines(frequency: int, phase: int) -> Doubles:
    """cos(frequency * angle + phase * step), float64 [POINTS]."""
    return np.asarray(_COS[(frequency * _STEPS + phase) % POINTS])


def direction(step: int) -> tuple[float, float]:
    """The unit vector (x, y) of an angle given in steps."""
    return float(_COS[step % POINTS]), float(_COS[(step - POINTS // 4) % POINTS])


def uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number in [low, high)."""
    return low + (high - low) * float(rng.random())


def wobble(rng: np.random.Generator, strength: float, frequencies: range) -> Doubles:
    """1 + harmonics of random phase whose size falls with the frequency, float64 [POINTS]."""
    radius = np.ones(POINTS)
    for frequency in frequencies:
        size = strength * uniform(rng, 0.3, 1.0) * 2.0 / frequency
        radius = radius + size * cosines(frequency, int(rng.integers(POINTS)))
    return radius


def polygon(
    radius: Doubles, centre: tuple[float, float], stretch: float = 1.0, turn: int = 0
) -> Doubles:
    """Polar radii -> points (x, y), float64 [POINTS, 2]: stretched along x, then turned."""
    x = radius * cosines(1, 0) * stretch
    y = radius * cosines(1, -(POINTS // 4)) / stretch
    c, s = direction(turn)
    return np.stack([centre[0] + c * x - s * y, centre[1] + s * x + c * y], axis=1)


def fill(shape: tuple[int, int], points: Doubles, smooth: bool = False) -> Gray:
    """A filled outline on uint8 [H, W], 0 or 255 (in between along the edge if ``smooth``)."""
    canvas = np.zeros(shape, np.uint8)
    fixed = np.round(points * 2**SHIFT).astype(np.int32)
    kind = cv2.LINE_AA if smooth else cv2.LINE_8
    cv2.fillPoly(canvas, [fixed], 255, kind, SHIFT)
    return canvas


def red_cell_outline(rng: np.random.Generator, radius_px: float, centre: float) -> Doubles:
    """An outline as red cells have in thin smears, float64 [POINTS, 2] px."""
    shape = str(rng.choice(RED_CELL_SHAPES, p=_SHAPE_WEIGHTS))
    turn = int(rng.integers(POINTS))
    stretch = uniform(rng, 1.0, 1.06)
    radius = wobble(rng, 0.012, range(2, 6))
    if shape == "oval":
        stretch = uniform(rng, 1.06, 1.22)
    elif shape == "irregular":
        radius = wobble(rng, 0.05, range(2, 8))
    elif shape == "teardrop":
        peak = np.maximum(cosines(1, 0), 0.0)
        radius = radius * (0.92 + uniform(rng, 0.2, 0.45) * peak**16)
    elif shape == "crenated":
        teeth = cosines(int(rng.integers(10, 19)), int(rng.integers(POINTS)))
        radius = radius * (0.94 + uniform(rng, 0.03, 0.07) * teeth)
    elif shape == "bitten":
        notch = np.maximum(cosines(1, int(rng.integers(POINTS))), 0.0)
        radius = radius * (1.0 - uniform(rng, 0.1, 0.35) * notch ** int(rng.integers(8, 40)))
    return polygon(radius * radius_px, (centre, centre), stretch, turn)


def soft_noise(
    rng: np.random.Generator, shape: tuple[int, int], grid: int, strength: float
) -> NDArray[np.float32]:
    """Smooth random texture around 0, float32 [H, W], within ``strength``."""
    seed: Image = rng.integers(0, 256, size=(grid, grid), dtype=np.uint8)
    # LINEAR_EXACT has the same bits on x86-64 and ARM; LINEAR has not.
    wide = cv2.resize(seed, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR_EXACT)
    centred = wide.astype(np.float32) - np.float32(127.5)
    return np.asarray(centred * np.float32(strength / 127.5), np.float32)


def blur(image: NDArray[np.uint8], sigma_px: float) -> NDArray[np.uint8]:
    """Gaussian blur of uint8, which OpenCV computes in fixed point; unchanged below 0.3 px."""
    if not (sigma_px >= 0.3):
        return image
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px), dtype=np.uint8)
