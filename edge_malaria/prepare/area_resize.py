"""Area averaging of a cell to the network's side, in whole numbers: the same bits everywhere.

OpenCV's INTER_AREA computes the same means, but in float32 and in an order that depends on the
processor; where the exact mean lies half-way between two grey levels, x86-64 and ARM may round
apart. Here every weight is a whole number, every sum is exact, and a half goes to the even level.
``firmware_examples/common/area_resize.c`` is the same rule in C.

The rule, along one axis of ``size`` source pixels and ``side`` output pixels, in units of
1/side of a source pixel: source pixel i covers [i * side, (i + 1) * side), output pixel d covers
[d * size, (d + 1) * size), and the weight of i in d is the length they share. The weights of one
output pixel add up to ``size``. Where either axis is shorter than ``side``, OpenCV takes two
neighbours along both, and so does this rule (``_two_taps``). At a few sizes (44 to
50, 72 to 224) OpenCV's float64 product falls short of a whole number, and it takes the pixel before
the right one; this rule does not.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_malaria.records import Image

# Float32 holds every whole number up to 2**24, float64 up to 2**53. All terms are whole and not
# negative, so no partial sum exceeds the whole one, and each is exact in whatever order, fused or
# not, a matrix product adds them. The largest sum is 255 * height * width.
_FLOAT32_PIXELS = 2**24 // 255
# Output pixels that share one small matrix product: the weights are a narrow band around the
# diagonal, so one product over the whole axis would mostly multiply by zero.
_BAND = 8


class _Band(NamedTuple):
    """Output pixels ``start:stop`` are ``weights`` [stop - start, high - low] x ``low:high``."""

    start: int
    stop: int
    low: int
    high: int
    weights: NDArray[np.floating]


def _areas(size: int, side: int) -> NDArray[np.int64]:
    """How much of output pixel d lies on source pixel i: [side, size]."""
    left, top = np.arange(size) * side, np.arange(side) * size
    ends = np.minimum.outer(top + size, left + side)
    return np.asarray(np.maximum(ends - np.maximum.outer(top, left), 0), np.int64)


def _two_taps(size: int, side: int) -> NDArray[np.int64]:
    """OpenCV's weights of two neighbours where an axis grows: [side, size].

    The second neighbour has what lies beyond the border of the first, modulo one output pixel.
    """
    start = np.arange(side) * size
    first = start // side
    beyond = np.maximum(start + size - (first + 1) * side, 0) % size
    beyond[first + 1 >= size] = 0
    weights = np.zeros((side, size), np.int64)
    weights[np.arange(side), first] = size - beyond
    weights[np.arange(side), np.minimum(first + 1, size - 1)] += beyond
    return weights


@lru_cache(maxsize=256)
def _bands(size: int, side: int, two: bool, wide: bool) -> tuple[_Band, ...]:
    """One axis's weights as bands, float64 if ``wide``."""
    weights = _two_taps(size, side) if two else _areas(size, side)
    dtype: type[np.floating] = np.float64 if wide else np.float32
    found = []
    for start in range(0, side, _BAND):
        part = weights[start : start + _BAND]
        used = np.flatnonzero(part.any(axis=0))
        low, high = int(used[0]), int(used[-1]) + 1
        block = np.ascontiguousarray(part[:, low:high], dtype)
        found.append(_Band(start, start + len(part), low, high, block))
    return tuple(found)


def _sums(values: NDArray[Any], side: int, bands: tuple[_Band, ...]) -> NDArray[np.floating]:
    """Weighted sums along the first axis: [size, K] -> [side, K] of the weights' dtype."""
    dtype = bands[0].weights.dtype
    out = np.empty((side, values.shape[1]), dtype)
    for band in bands:
        # A band at a time, because an allocator may fetch blocks above 128 KB from the system anew
        # for every cell; that takes longer than the sums.
        part = values[band.low : band.high].astype(dtype, copy=False)
        np.dot(band.weights, part, out=out[band.start : band.stop])
    return out


def area_resize(image: Image, side_px: int) -> Image:
    """Scales a picture to ``side_px`` x ``side_px`` by area averaging, halves to the even level.

    Args:
        image: uint8 [H, W, C], at least one pixel.
        side_px: S, output pixels along each axis.

    Returns:
        uint8 [S, S, C], C-contiguous.
    """
    height, width, channels = image.shape
    two = height < side_px or width < side_px
    wide = height * width > _FLOAT32_PIXELS
    rows = image.reshape(height, width * channels)
    down = _sums(rows, side_px, _bands(height, side_px, two, wide))
    # [S, W * C] -> [W, C * S]: the columns come first, for the same product once more.
    columns = np.ascontiguousarray(down.T).reshape(width, channels * side_px)
    sums = _sums(columns, side_px, _bands(width, side_px, two, wide))
    # A quotient that is no half differs from one by at least 1 / (2 H W), far above float64's
    # rounding at 255, so the division cannot make or lose a half.
    levels = np.rint(sums / np.float64(height * width)).astype(np.uint8)
    return np.ascontiguousarray(levels.reshape(side_px, channels, side_px).transpose(2, 0, 1))
