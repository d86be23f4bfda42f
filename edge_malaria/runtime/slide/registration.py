"""A place on the slide is counted once: where a frame lies among those before it.

Frames are matched by normalized cross-correlation of small, light-flattened pictures over every
shift, computed with Fourier transforms; the correlation is normalized by the energy of the
overlapping part alone, so an overlap of a tenth of the field is found as well as a still stage.
Frames that match form a chain with common coordinates; one that matches nothing starts a new chain.
"""

from __future__ import annotations

import functools
import math
from collections import deque
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.prepare.area_shrink import area_shrink
from edge_malaria.records import Image, expect

# Longer side of the matched picture: a red cell is then some 9 px wide.
MATCH_SIDE_PX = 160
# Shifts with less overlap than this share of the field are not looked at.
MIN_OVERLAP = 0.08
# Correlation that two views of one place reach. Different places of real slides stay below
# (docs/SCREENING.md); small overlaps match by chance more easily, so they need more.
MIN_CORRELATION = 0.6
MIN_CORRELATION_SMALL = 0.8
_SMALL_OVERLAP = 0.3


@dataclass(frozen=True)
class Placement:
    """Where a frame lies.

    Attributes:
        chain: frames of one chain share coordinates.
        x_px, y_px: of the frame's top left corner in the chain, px of the field.
        width_px, height_px: of the frame.
        new_share: share of it that no counted frame of the chain has shown, 0-1.
        correlation: with the frame it was matched to; 0 for the first of a chain.
    """

    chain: int
    x_px: float
    y_px: float
    width_px: int
    height_px: int
    new_share: float = 1.0
    correlation: float = 0.0

    def as_json(self) -> list[float]:
        """[chain, x_px, y_px, width_px, height_px]: what a resumed slide needs."""
        x, y = round(self.x_px, 2), round(self.y_px, 2)
        return [self.chain, x, y, self.width_px, self.height_px]

    @classmethod
    def from_json(cls, value: Any) -> Placement:
        """The inverse of ``as_json``.

        Raises:
            ValueError: not a place.
        """
        numbers = isinstance(value, list) and all(type(v) in (int, float) for v in value)
        expect(numbers and len(value) == 5, "a place's five numbers", value)
        chain, x, y, width, height = value
        whole = all(isinstance(v, int) for v in (chain, width, height))
        expect(whole and chain >= 0 and width > 0 and height > 0, "a chain and a size", value)
        expect(math.isfinite(x) and math.isfinite(y), "a place in px", value)
        return cls(chain, float(x), float(y), width, height)


@dataclass(frozen=True, eq=False)
class _Spectra:
    """A flat picture's spectrum and that of its squares."""

    shape: tuple[int, int]
    picture: NDArray[np.complex128]
    energy: NDArray[np.complex128]


@dataclass(frozen=True, eq=False)
class _Key:
    """A frame that others are compared with.

    Attributes:
        spectrum: of its flat picture; energy: of it below the other frame, at every shift.
        shape: of the flat picture; scale: its px a px of the field.
        refused: why the frame was not counted; empty where it was.
    """

    placement: Placement
    spectrum: NDArray[np.complex128]
    energy: NDArray[np.float64]
    shape: tuple[int, int]
    scale: float
    refused: str


def _flat(image: Image, side_px: int) -> tuple[NDArray[np.float64], float]:
    """Small, light-flattened green channel with zero mean, and its scale to ``side_px``."""
    height, width = image.shape[:2]
    shrunk = MATCH_SIDE_PX / max(height, width)
    size = (max(8, round(width * shrunk)), max(8, round(height * shrunk)))
    green = cv2.extractChannel(image, 1)
    small = area_shrink(np.asarray(green, np.uint8), size).astype(np.float32)
    small = small - cv2.GaussianBlur(small, (0, 0), MATCH_SIDE_PX / 12)
    # One very dark white cell or a mark must not decide alone.
    spread = float(np.std(small)) or 1.0
    return np.clip(small / spread, -2.5, 2.5).astype(np.float64), MATCH_SIDE_PX / side_px


class Registrar:
    """Places frames one after the other.

    Args:
        keys: how many earlier frames a new one is compared with.
    """

    def __init__(self, keys: int = 6) -> None:
        self._keys: deque[_Key] = deque(maxlen=keys)
        self._seen: list[tuple[int, float, float, int, int]] = []
        self._chains = 0
        self._pending: tuple[Placement, _Spectra, float] | None = None

    def place(self, image: Image, shape: tuple[int, ...] | None = None) -> Placement:
        """Where a frame lies; ``commit`` makes it count.

        Args:
            image: uint8 [H, W, 3] RGB, the frame or a smaller copy of it.
            shape: of the frame itself, [H, W, ...]; by default the image's.
        """
        height, width = (shape or image.shape)[:2]
        flat, scale = _flat(image, max(height, width))
        spectra = _spectra(flat)
        placement = self._match(spectra, scale, width, height)
        self._pending = (placement, spectra, scale)
        return placement

    def _match(self, spectra: _Spectra, scale: float, width: int, height: int) -> Placement:
        if not self._keys:
            return Placement(self._chains, 0.0, 0.0, width, height)
        below = _overlapping(spectra, turned=True)
        for key in reversed(self._keys):
            if key.shape != spectra.shape or abs(key.scale - scale) > 1e-9:
                continue
            found = _shift(key, spectra.picture, below)
            if found is None:
                continue
            dx, dy, correlation = found
            x, y = key.placement.x_px + dx / scale, key.placement.y_px + dy / scale
            chain = key.placement.chain
            share = self._new_share(chain, x, y, width, height)
            return Placement(chain, x, y, width, height, share, correlation)
        return Placement(self._chains, 0.0, 0.0, width, height)

    def _new_share(self, chain: int, x: float, y: float, width: int, height: int) -> float:
        grid = np.ones((60, 60), np.bool_)
        for other, ox, oy, w, h in self._seen:
            if other == chain:
                x0, x1 = ((ox - x) / width * 60, (ox + w - x) / width * 60)
                y0, y1 = ((oy - y) / height * 60, (oy + h - y) / height * 60)
                grid[
                    max(0, round(y0)) : max(0, round(y1)), max(0, round(x0)) : max(0, round(x1))
                ] = 0
        return float(grid.mean())

    def refused_here(self, placement: Placement) -> str:
        """Why the latest frame of this very place was refused; empty where it was not."""
        for key in reversed(self._keys):
            p = key.placement
            near = abs(p.x_px - placement.x_px) < 0.1 * p.width_px
            near &= abs(p.y_px - placement.y_px) < 0.1 * p.height_px
            if p.chain == placement.chain and near and placement.correlation > 0:
                return key.refused
        return ""

    def commit(self, placement: Placement, refused: str = "") -> None:
        """Remembers the frame just placed; a refused one helps to place others, no more."""
        if self._pending is not None and self._pending[0] is placement:
            _, spectra, scale = self._pending
            self._keys.append(_key(placement, spectra, scale, refused))
        self._chains = max(self._chains, placement.chain + 1)
        if not refused:
            self.restore(placement)

    def put_back(self, image: Image, placement: Placement, refused: str) -> None:
        """Gives back the picture of a frame that was placed before, as a resumed slide does."""
        flat, scale = _flat(image, max(placement.width_px, placement.height_px))
        self._keys.append(_key(placement, _spectra(flat), scale, refused))

    def restore(self, placement: Placement) -> None:
        """Marks a place as counted without its picture, as a resumed slide does."""
        p = placement
        self._seen.append((p.chain, p.x_px, p.y_px, p.width_px, p.height_px))
        self._chains = max(self._chains, p.chain + 1)

    def earlier(self, placement: Placement) -> list[tuple[float, float, int, int]]:
        """(x, y, width, height) px, in the frame's own coordinates, of counted frames under it."""
        return [
            (x - placement.x_px, y - placement.y_px, w, h)
            for chain, x, y, w, h in self._seen
            if chain == placement.chain
            and abs(x - placement.x_px) < placement.width_px + w
            and abs(y - placement.y_px) < placement.height_px + h
        ]


def _spectra(flat: NDArray[np.float64]) -> _Spectra:
    size = (2 * flat.shape[0], 2 * flat.shape[1])
    height, width = flat.shape
    return _Spectra((height, width), np.fft.rfft2(flat, size), np.fft.rfft2(flat * flat, size))


def _key(placement: Placement, spectra: _Spectra, scale: float, refused: str) -> _Key:
    above = _overlapping(spectra, turned=False)
    return _Key(placement, spectra.picture, above, spectra.shape, scale, refused)


@functools.lru_cache(maxsize=4)
def _ones(shape: tuple[int, int]) -> NDArray[np.complex128]:
    return np.asarray(np.fft.rfft2(np.ones(shape), (2 * shape[0], 2 * shape[1])))


def _overlapping(spectra: _Spectra, *, turned: bool) -> NDArray[np.float64]:
    """The energy of the part of a picture that overlaps another one of its size, at every shift."""
    shape, energy = spectra.shape, spectra.energy
    ones = _ones(shape)
    product = ones * np.conj(energy) if turned else energy * np.conj(ones)
    return np.asarray(np.fft.irfft2(product, (2 * shape[0], 2 * shape[1])), np.float64)


@functools.lru_cache(maxsize=4)
def _overlap(shape: tuple[int, int]) -> NDArray[np.float64]:
    """The share of a picture that overlaps another one, 0-1, at every shift."""
    height, width = shape
    dy = np.fft.fftfreq(2 * height, 1 / (2 * height))[:, None]
    dx = np.fft.fftfreq(2 * width, 1 / (2 * width))[None, :]
    share = np.maximum(0, 1 - np.abs(dy) / height) * np.maximum(0, 1 - np.abs(dx) / width)
    return np.asarray(share, np.float64)


def _shift(
    key: _Key, spectrum: NDArray[np.complex128], below: NDArray[np.float64]
) -> tuple[float, float, float] | None:
    """Where a frame lies relative to ``key``: (dx, dy, correlation), px of the small picture.

    Args:
        key: the earlier frame.
        spectrum: of the frame's flat picture.
        below: its energy under the key, at every shift.
    """
    height, width = key.shape
    size = (2 * height, 2 * width)
    product = np.fft.irfft2(key.spectrum * np.conj(spectrum), size)
    overlap = _overlap(key.shape)
    first, second = key.energy, below
    norm = np.sqrt(np.maximum(first, 1e-6) * np.maximum(second, 1e-6))
    score = np.where(overlap >= MIN_OVERLAP, product / np.maximum(norm, 1e-3 * norm.max()), -1.0)
    row, column = np.unravel_index(int(np.argmax(score)), score.shape)
    best = float(score[row, column])
    share = float(overlap[row, column])
    needed = MIN_CORRELATION if share >= _SMALL_OVERLAP else MIN_CORRELATION_SMALL
    if not (best >= needed):
        return None
    fine_y = _peak(score[:, column], int(row))
    fine_x = _peak(score[row], int(column))
    # The second half of the shifts are negative ones.
    dx = column - size[1] * (column >= width)
    dy = row - size[0] * (row >= height)
    return float(dx) + fine_x, float(dy) + fine_y, best


def _peak(line: NDArray[np.float64], at: int) -> float:
    """Offset of the parabola's top through a peak and its neighbours, -0.5..0.5."""
    left, middle, right = line[at - 1], line[at], line[(at + 1) % len(line)]
    curve = left - 2 * middle + right
    if left <= -1 or right <= -1 or not (curve < 0):
        return 0.0
    return float(np.clip(0.5 * (left - right) / curve, -0.5, 0.5))
