"""Linear, nearest and centred resizing of a cell, in whole numbers: the same bits everywhere.

For networks that were trained on cells scaled in another way than by area averages. All three are
written for pixel centres: output pixel d of ``side`` lies at ``(d + 1/2) * size / side - 1/2`` of
``size`` source pixels. ``firmware_examples/common/cell_resize.c`` holds the same rules in C.

linear
    The two neighbours of that place along each axis, without antialiasing, as
    ``tf.image.resize(method="bilinear")`` and OpenCV's INTER_LINEAR do; a half goes to the even
    level. TensorFlow keeps the fraction of a level that is rounded off here.
nearest
    The pixel that the place lies in, as ``tf.image.resize(method="nearest")``, Pillow's NEAREST and
    OpenCV's INTER_NEAREST_EXACT do. OpenCV's INTER_NEAREST takes a pixel's corner instead.
pad
    No scaling: what exceeds ``side`` is cut off in the middle, what is missing is black, as
    ``tf.image.resize_with_crop_or_pad`` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edge_malaria.prepare.area_resize import area_resize
from edge_malaria.records import Image

Taps = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


@lru_cache(maxsize=256)
def _taps(size: int, side: int) -> Taps:
    """First and second neighbour of each output pixel, and the second's weight out of 2 * side."""
    place = (2 * np.arange(side, dtype=np.int64) + 1) * size - side
    place = np.clip(place, 0, 2 * side * (size - 1))
    first = place // (2 * side)
    return first, np.minimum(first + 1, size - 1), place % (2 * side)


def linear_resize(image: Image, side_px: int) -> Image:
    """Scales uint8 [H, W, C] to [S, S, C] between the two neighbours along each axis."""
    height, width = image.shape[:2]
    top, bottom, down = _taps(height, side_px)
    left, right, across = _taps(width, side_px)
    # Whole numbers up to 255 * (2 S)^2, far below what int64 holds.
    rows = image.astype(np.int64)
    down = down[:, None, None]
    mixed = rows[top] * (2 * side_px - down) + rows[bottom] * down
    across = across[None, :, None]
    sums = mixed[:, left] * (2 * side_px - across) + mixed[:, right] * across
    total = (2 * side_px) ** 2
    levels, rest = np.divmod(sums, total)
    levels += (2 * rest > total) | ((2 * rest == total) & (levels % 2 == 1))
    return np.ascontiguousarray(levels, np.uint8)


def nearest_resize(image: Image, side_px: int) -> Image:
    """Scales uint8 [H, W, C] to [S, S, C] by taking the pixel under each output pixel's centre."""
    odd = 2 * np.arange(side_px, dtype=np.int64) + 1
    rows, columns = (odd * size // (2 * side_px) for size in image.shape[:2])
    return np.ascontiguousarray(image[rows][:, columns])


def crop_or_pad(image: Image, side_px: int) -> Image:
    """Puts the middle of uint8 [H, W, C] into the middle of a black [S, S, C], unscaled."""
    out = np.zeros((side_px, side_px, image.shape[2]), np.uint8)
    source, target = [], []
    for size in image.shape[:2]:
        kept = min(size, side_px)
        start, place = (size - kept) // 2, (side_px - kept) // 2
        source.append(slice(start, start + kept))
        target.append(slice(place, place + kept))
    out[tuple(target)] = image[tuple(source)]
    return out


_WAYS: Mapping[str, Callable[[Image, int], Image]] = {
    "area": area_resize,
    "linear": linear_resize,
    "nearest": nearest_resize,
    "pad": crop_or_pad,
}


def resized(image: Image, side_px: int, way: str) -> Image:
    """uint8 [H, W, C] -> [S, S, C], C-contiguous, in one of the ways ``contract.RESIZES``."""
    return _WAYS[way](image, side_px)
