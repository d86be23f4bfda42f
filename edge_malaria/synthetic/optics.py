"""What the microscope and its camera add: falling light, defocus, motion, noise."""

from __future__ import annotations

from functools import lru_cache
from statistics import NormalDist

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.records import Image
from edge_malaria.synthetic.stains import Floats

# Normal quantiles of the 256 values of a byte: noise costs one random byte a sample, and its
# bits do not depend on a machine's logarithm.
_QUANTILES = [NormalDist().inv_cdf((value + 0.5) / 256) for value in range(256)]


def interleave(planes: Floats) -> Image:
    """float32 [3, H, W] in 0-255 -> uint8 [H, W, 3]; rounded, clipped."""
    flat = [np.clip(np.rint(plane), 0, 255).astype(np.uint8) for plane in planes]
    return np.asarray(cv2.merge(flat), dtype=np.uint8)


def camera_noise(rng: np.random.Generator, image: Image, sigma: float) -> Image:
    """Adds normal noise of ``sigma`` grey levels to uint8 [H, W, 3]; clipped at 0 and 255."""
    if not (sigma > 0):
        return image
    # 128 is the middle of a byte: noise above and below is added in two saturating steps.
    above = np.array([round(max(q * sigma, 0.0)) for q in _QUANTILES], np.uint8)
    below = np.array([round(max(-q * sigma, 0.0)) for q in _QUANTILES], np.uint8)
    grain = np.frombuffer(rng.bytes(image.size), np.uint8).reshape(image.shape)
    brighter = cv2.add(image, cv2.LUT(grain, above))
    return np.asarray(cv2.subtract(brighter, cv2.LUT(grain, below)), dtype=np.uint8)


@lru_cache(maxsize=4)
def light_falloff(shape: tuple[int, int], vignette: float, tilt: tuple[float, float]) -> Floats:
    """Light over a view, float32 [H, W], 1 in the middle (before ``tilt``).

    Args:
        shape: (height, width) px.
        vignette: share lost in the corners, 0-1.
        tilt: share gained at the right and at the bottom edge, lost opposite.
    """
    height, width = shape
    xs = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    ys = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    radius = (xs * xs + ys * ys) / np.float32(2)
    fall = 1 - np.float32(vignette) * radius * radius
    light: Floats = np.asarray(
        fall * (1 + np.float32(tilt[0]) * xs + np.float32(tilt[1]) * ys), np.float32
    )
    light.setflags(write=False)
    return light


def motion_blur(image: Image, motion_px: tuple[float, float]) -> Image:
    """Smears uint8 [H, W, 3] along (dx, dy) px of movement during the exposure."""
    dx, dy = motion_px
    reach = max(abs(dx), abs(dy))
    if not (reach >= 1):
        return image
    half = int(np.ceil(reach / 2))
    kernel: NDArray[np.uint8] = np.zeros((2 * half + 1, 2 * half + 1), np.uint8)
    start = (round(half - dx / 2), round(half - dy / 2))
    cv2.line(kernel, start, (round(half + dx / 2), round(half + dy / 2)), 1)
    weights = kernel.astype(np.float32) / np.float32(kernel.sum())
    return np.asarray(cv2.filter2D(image, -1, weights), dtype=np.uint8)
