"""A picture shrunk as OpenCV's INTER_AREA shrinks it, step by step in float32.

OpenCV's own loop takes some 35 instructions a pixel of a channel; whole rows at once take a quarter
of that. Every product and every sum is rounded to float32 in OpenCV's order, so the bits are those
of OpenCV on x86-64, and they are the same on every processor: there is no sum whose order a
compiler may choose. (A cell is shrunk by ``area_resize``, in whole numbers.)
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_NO_BUFFER = 16


@lru_cache(maxsize=256)
def _taps(size: int, side: int) -> tuple[tuple[NDArray[np.intp], Floats], ...]:
    """One axis: of each output pixel its first source pixel and share, its second, and so on.

    OpenCV's ``computeResizeAreaTab``, in float64: the part of a pixel at the start, whole pixels,
    the part of one at the end. What has fewer taps ends with shares of 0.
    """
    scale = 1.0 / (side / size)
    start = np.arange(side) * scale
    end, width = start + scale, np.minimum(scale, size - start)
    last = np.minimum(np.floor(end), size - 1).astype(np.intp)
    first = np.minimum(np.ceil(start).astype(np.intp), last)
    begun, rest = first - start, end - last
    before = (begun > 1e-3).astype(np.intp)
    inner = before + last - first
    found = []
    for turn in range(int((inner + (rest > 1e-3)).max())):
        share = np.where(turn < inner, 1.0, np.minimum(rest, np.minimum(1.0, width)))
        share = np.where((turn == 0) & (before == 1), begun, share) / width
        share[(turn > inner) | ((turn == inner) & ~(rest > 1e-3))] = 0.0
        place = np.minimum(first - before + turn, size - 1)
        found.append((place, share.astype(np.float32)[:, None]))
    return tuple(found)


def _along(rows: Floats, side: int) -> Floats:
    """Rows [size, K] averaged down to [side, K]."""
    (place, share), *others = _taps(len(rows), side)
    # A buffer that holds no whole row is not used: filling it with shares takes as long as the
    # products three times.
    usual = np.setbufsize(_NO_BUFFER)
    try:
        total = rows.take(place, 0)
        total *= share
        for place, share in others:
            part = rows.take(place, 0)
            part *= share
            total += part
    finally:
        np.setbufsize(usual)
    return total


def area_shrink(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """``cv2.resize(image, size, interpolation=cv2.INTER_AREA)`` of a picture that gets smaller.

    Args:
        image: uint8 [H, W] or [H, W, C].
        size: (width, height) px; where one is larger than the picture's, or both divide it, OpenCV
            itself shrinks: it does other things then, and quickly.
    """
    height, width = image.shape[:2]
    across, down = size
    whole = width % across == 0 and height % down == 0
    if across > width or down > height or whole:
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    channels = image.shape[2] if image.ndim == 3 else 1
    turned = np.asarray(cv2.transpose(image)).reshape(width, height * channels)
    narrow: Any = _along(turned.astype(np.float32), across)
    narrow = cv2.transpose(narrow.reshape(across, height, channels))
    small = _along(narrow.reshape(height, across * channels), down)
    np.rint(small, out=small)
    # Whole numbers already: nothing is rounded here.
    levels = cv2.convertScaleAbs(small)
    return np.asarray(levels.reshape(down, across, *image.shape[2:]), np.uint8)
