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

import math
import threading
from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.prepare.running_totals import MOST_PIXELS, area_means
from edge_malaria.records import Image, Mask

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
    out = np.empty((side, values.shape[1]), bands[0].weights.dtype)
    for band in bands:
        # Unlike np.dot it does not clear what it writes to first.
        np.matmul(band.weights, values[band.low : band.high], out=out[band.start : band.stop])
    return out


class _Scratch(threading.local):
    """Room for one cell's levels as numbers, one a thread.

    An allocator may fetch blocks above 128 KB from the system anew for every cell; that takes
    longer than the sums. A large picture's room is not kept.
    """

    _MOST_KEPT_BYTES = 1 << 20

    def __init__(self) -> None:
        self._room = np.empty(0, np.uint8)

    def lines(self, shape: tuple[int, int, int], dtype: type[np.floating]) -> NDArray[Any]:
        """An array whose contents do not matter, valid until this thread asks again."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if size > self._MOST_KEPT_BYTES:
            return np.empty(shape, dtype)
        if size > self._room.size:
            self._room = np.empty(size, np.uint8)
        return self._room[:size].view(dtype).reshape(shape)


_scratch = _Scratch()


@lru_cache(maxsize=16)
def _lookups(table: bytes, wide: bool) -> tuple[NDArray[np.floating], ...]:
    """A colour table, uint8 [256, C] as bytes, as one table of numbers a channel."""
    levels = np.frombuffer(table, np.uint8).reshape(256, -1)
    dtype: type[np.floating] = np.float64 if wide else np.float32
    return tuple(np.ascontiguousarray(column, dtype) for column in levels.T)


def _lines(
    image: Image, mask: Mask | None, table: Image | None, wide: bool
) -> NDArray[np.floating]:
    """The levels as numbers, a channel's pixels of a row side by side: [H, C, W]."""
    height, width, channels = image.shape
    lines = _scratch.lines((height, channels, width), np.float64 if wide else np.float32)
    if image.strides[1:] != (channels, 1) or image.strides[0] < 0:
        image = np.ascontiguousarray(image)
    # 255 on the cell: of bytes, minus one.
    kept = (
        None if mask is None else np.negative(np.ascontiguousarray(mask, np.bool_).view(np.uint8))
    )
    lookups = None if table is None else _lookups(table.tobytes(), wide)
    for channel, plane in enumerate(cv2.split(image)):
        shown = plane if kept is None else cv2.bitwise_and(plane, kept)
        if lookups is None:
            lines[:, channel] = shown
        else:
            cv2.LUT(shown, lookups[channel], dst=lines[:, channel])
    return lines


def area_resize(
    image: Image,
    side_px: int,
    mask: Mask | None = None,
    table: Image | None = None,
    out: Image | None = None,
) -> Image:
    """Scales a picture to ``side_px`` x ``side_px`` by area averaging, halves to the even level.

    The cell's mask and the slide's colour table are taken along, because each pixel is touched
    here anyway: the bits are those of colouring, masking and resizing one after the other.

    Args:
        image: uint8 [H, W, C], at least one pixel.
        side_px: S, output pixels along each axis.
        mask: bool [H, W]; what lies outside counts as 0. None for the whole picture.
        table: uint8 [256, C], what each level is replaced by; 0 stays 0. None for no change.
        out: uint8 [S, S, C], C-contiguous, to be written to; None makes it.

    Returns:
        uint8 [S, S, C], C-contiguous.
    """
    height, width, channels = image.shape
    two = height < side_px or width < side_px
    if not two and height * width <= MOST_PIXELS:
        return area_means(image, side_px, mask, table, out)
    wide = height * width > _FLOAT32_PIXELS
    lines = _lines(image, mask, table, wide).reshape(height, channels * width)
    down = _sums(lines, side_px, _bands(height, side_px, two, wide))
    # [S, C, W] -> [W, S * C]: the columns come first, for the same sums once more.
    columns = down.reshape(side_px * channels, width).T
    sums = _sums(columns, side_px, _bands(width, side_px, two, wide))
    # A quotient that is no half differs from one by at least 1 / (2 H W), far above float64's
    # rounding at 255, so the division cannot make or lose a half.
    levels = np.divide(sums, height * width, dtype=np.float64)
    np.rint(levels, out=levels)
    turned = levels.astype(np.uint8).reshape(side_px, side_px, channels)
    if out is None:
        out = np.empty((side_px, side_px, channels), np.uint8)
    cv2.transpose(turned, out[:, :, 0] if channels == 1 else out)
    return out
