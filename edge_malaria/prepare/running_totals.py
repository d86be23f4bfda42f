"""Area averages from running totals: ``area_resize``'s rule at a fraction of its work.

The sum over a rectangle is the difference of four running totals (summed-area table, Crow 1984),
and a rectangle that ends inside a pixel takes its share of that pixel: between two entries the
table is a straight line. In units of 1/side of a pixel all of that is whole numbers.
"""

from __future__ import annotations

import math
import threading
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.records import Image, Mask

Ints = NDArray[np.int32]

# A quotient of whole numbers that is no half lies at least 1 / (2 N) from one, or 1 / N where N is
# even. Below this many pixels N that is more than half a step of float32 at 255, so a quotient in
# float32 is never rounded onto a half; and every sum, 255 N at most, is exact in float32.
MOST_PIXELS = 2**16 - 1


class _Room(threading.local):
    """Memory for one cell's planes and totals, one a thread.

    An allocator may fetch blocks above 128 KB from the system anew for every cell; that takes
    longer than the sums.
    """

    def __init__(self) -> None:
        self._bytes = np.empty((3, 0), np.uint8)

    def planes(self, place: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """uint8 of that shape; what it holds does not matter."""
        size = math.prod(shape)
        if size > self._bytes.shape[1]:
            self._bytes = np.empty((3, 4 * size), np.uint8)
        return self._bytes[place, :size].reshape(shape)

    def totals(self, shape: tuple[int, int]) -> Ints:
        """int32 of that shape; what it holds does not matter."""
        return self.planes(2, (4 * shape[0] * shape[1],)).view(np.int32).reshape(shape)


_room = _Room()


def _looks_up_pairs() -> bool:
    """Whether OpenCV's tables may have 65,536 levels, as from 5.0 on."""
    try:
        found = cv2.LUT(np.array([[513]], np.uint16), np.arange(65536, dtype=np.uint16))
    except cv2.error:
        return False
    return bool(found[0, 0] == 513)


_PAIRS = _looks_up_pairs()


@lru_cache(maxsize=4)
def _tables(table: bytes, pairs: bool) -> tuple[NDArray[Any], ...]:
    """A colour table, uint8 [256, C] as bytes, as one table a channel.

    Of ``pairs`` of pixels: looking up two at once costs what one does. Which of a pair's bytes
    comes first does not matter.
    """
    levels = np.frombuffer(table, np.uint8).reshape(256, -1)
    if not pairs:
        return tuple(np.ascontiguousarray(column) for column in levels.T)
    wide = levels.T.astype(np.uint16)
    return tuple(((column[:, None] << 8) | column).ravel() for column in wide)


def _planes(image: Image, mask: Mask | None, table: Image | None) -> NDArray[np.uint8]:
    """The channels one below the other, masked and coloured: uint8 [C * pitch, W].

    ``pitch`` is H, or one row more where a plane would not hold whole pairs of pixels; what that
    row holds does not matter, as running totals are only compared within a plane.
    """
    height, width, channels = image.shape
    pitch = height + height * width % 2
    shown = _room.planes(0, (channels, pitch, width))
    whole = shown[:, :height]
    if channels == 1:
        whole[0] = image[:, :, 0]
    else:
        cv2.split(np.ascontiguousarray(image), tuple(whole))
    if mask is not None:
        # 255 on the cell: of bytes, minus one.
        kept = np.negative(np.ascontiguousarray(mask, np.bool_).view(np.uint8))
        np.bitwise_and(whole, kept, out=whole)
    if table is not None:
        coloured = _room.planes(1, (channels, pitch, width))
        for levels, place, out in zip(
            _tables(table.tobytes(), _PAIRS), shown, coloured, strict=True
        ):
            if _PAIRS:
                place, out = (a.reshape(1, -1).view(np.uint16) for a in (place, out))
            cv2.LUT(place, levels, dst=out)
        shown = coloured
    return shown.reshape(channels * pitch, width)


@lru_cache(maxsize=512)
def _edges(size: int, side: int, pitch: int, planes: int) -> tuple[NDArray[np.intp], ...]:
    """Entries of the table where output pixels end along an axis, and the next ones.

    [planes * (side + 1)] twice.
    """
    first = np.arange(side + 1) * size // side
    start = np.arange(planes)[:, None] * pitch
    # The last edge lies on the last entry: nothing lies beyond.
    return (first + start).ravel(), (np.minimum(first + 1, size) + start).ravel()


@lru_cache(maxsize=256)
def _beyond(size: int, side: int, columns: int) -> Ints:
    """How far behind its entry each output pixel ends: int32 [side + 1, columns].

    The same in each column: spreading one column over a table takes numpy three times as long.
    """
    beyond = np.arange(side + 1) * size % side
    return np.repeat(beyond[:, None], columns, 1).astype(np.int32)


def _between(totals: Ints, size: int, side: int, pitch: int = 0, planes: int = 1) -> Ints:
    """What lies between the edges: running totals [.., K] down an axis -> [planes * side, K].

    Whole numbers that pass 2^31 wrap around; their differences, 255 H W at most, come out right.
    """
    columns = totals.shape[1]
    # In steps, so that cells of about one size share a table.
    beyond = _beyond(size, side, -(-columns // 64) * 64)
    first, following = _edges(size, side, pitch, planes)
    low, step = totals.take(first, 0), totals.take(following, 0)
    step -= low
    part = step.reshape(planes, side + 1, columns)
    part *= beyond[:, :columns]
    low *= side
    low += step
    edges = low.reshape(planes, side + 1, columns)
    found = np.subtract(edges[:, 1:], edges[:, :-1])
    return np.asarray(found.reshape(planes * side, columns), np.int32)


def area_means(
    image: Image, side: int, mask: Mask | None, table: Image | None, out: Image | None
) -> Image:
    """``area_resize`` of a picture whose axes are at least ``side``, of ``MOST_PIXELS`` at most."""
    height, width, channels = image.shape
    planes = _planes(image, mask, table)
    totals = _room.totals((len(planes) + 1, width + 1))
    cv2.integral(planes, sum=totals, sdepth=cv2.CV_32S)
    rows = _between(totals, height, side, len(planes) // channels, channels)
    # [C * S, W + 1] -> [S, C * S]: the columns come first, for the same once more.
    sums = _between(np.asarray(cv2.transpose(rows), np.int32), width, side)
    levels = np.divide(sums, np.float32(height * width), dtype=np.float32)
    np.rint(levels, out=levels)
    # Whole numbers already: nothing is rounded here.
    turned = cv2.convertScaleAbs(levels)
    if out is None:
        out = np.empty((side, side, channels), np.uint8)
    levels = cv2.transpose(turned).reshape(channels, side, side)
    cv2.merge(tuple(levels), out[:, :, 0] if channels == 1 else out)
    return out
