"""Flat-field correction: an unevenly lit or coloured field as it would look under even light.

A phone on an eyepiece loses light towards the rim; a Raspberry Pi camera without its lens-shading
table turns pink at the edges and green in the middle. Both multiply: dividing by the light of the
empty slide takes them away, and leaves every cell's absorbance as it was. A field whose light is
even enough is not touched. It is done in whole numbers, so its bits are the same everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.prepare.area_shrink import area_shrink
from edge_malaria.records import Cell, Image
from edge_malaria.runtime.detect.aperture import Aperture, find_aperture

# Tiles a side on which the empty slide's light is measured, and pixels a side of each.
GRID = 16
TILE_PX = 8
# The surface is a polynomial of this degree in the logarithm of light: shading multiplies.
DEGREE = 4
# Of a tile's 64 values of a channel the mean of those at these places is its light: the bright
# end, without the brightest, which may be dust or a refracting edge.
BRIGHT_END = slice(54, 60)
# Light that varies by this factor in any channel is uneven. Fields of laboratory microscopes:
# up to 1.3; a Raspberry Pi camera without shading table: 1.7 to 1.9.
UNEVEN = 1.5
# At least this share of the tiles must show empty slide, or the surface is a guess.
LEAST_SUPPORT = 0.55
# A tile shows empty slide where it lies no further below the surface (natural log).
SUPPORTED_WITHIN = 0.06
# Gains are whole numbers of 1 / GAIN_ONE, and stay within a factor of 3.
GAIN_ONE = 1024
MOST_GAIN = 3.0
# Cells of less contrast than this (median absorbance, natural log) are shown to the finder with
# their contrast raised to ``WANTED_CONTRAST``, by a factor of 3 at most: noise is raised with it.
PALE = 0.15
WANTED_CONTRAST = 0.22
MOST_STRETCH = 3.0
# The corrected slide is at most so bright, so that nothing is burnt out by the correction.
BRIGHTEST = 245.0


@dataclass(frozen=True, eq=False)
class Shading:
    """The empty slide's light over a field.

    Attributes:
        surface: float64 [GRID, GRID, 3], levels 0-255.
        unevenness: the largest factor by which a channel's light varies over the field.
        support: share of the lit tiles that show empty slide, 0-1.
    """

    surface: NDArray[np.float64]
    unevenness: float
    support: float


@dataclass(frozen=True, eq=False)
class FieldCorrection:
    """What is done to a field before anything is looked for in it.

    Attributes:
        aperture: its lit part; None where all of it is lit.
        gain: uint16 [GRID, GRID, 3] in 1 / GAIN_ONE; None where its light is even.
        clear: (R, G, B) of the empty slide after the correction, painted beyond the rim.
        unevenness: see ``Shading``.
    """

    aperture: Aperture | None
    gain: NDArray[np.uint16] | None
    clear: tuple[int, int, int]
    unevenness: float

    @property
    def needed(self) -> bool:
        """Whether the field is changed at all."""
        return self.aperture is not None or self.gain is not None

    def apply(self, image: Image) -> Image:
        """The field, or a copy of it at another size, under even light; never in place.

        Args:
            image: uint8 [H, W, 3] RGB.
        """
        height, width = image.shape[:2]
        out = image
        if self.gain is not None:
            gain = cv2.resize(self.gain, (width, height), interpolation=cv2.INTER_LINEAR_EXACT)
            # Products below 2^24 and a power of two: exact in float32, rounded alike everywhere.
            out = np.asarray(
                cv2.multiply(image, gain, scale=1 / GAIN_ONE, dtype=cv2.CV_8U), np.uint8
            )
        if self.aperture is not None:
            out = out.copy() if out is image else out
            out[self.aperture.mask(height, width) == 0] = self.clear
        return out

    def stretched(self, image: Image, contrast: float) -> Image:
        """A pale field with its absorbance multiplied, for the finder's eyes alone.

        Red cells that take a tenth of the light are missed by a finder that learned on stronger
        stains. What is classified keeps its own colours.

        Args:
            image: what ``apply`` gave, or a copy of it at another size.
            contrast: the cells' median absorbance (natural log), as quality measures it.
        """
        if not (0 < contrast < PALE):
            return image
        power = min(MOST_STRETCH, WANTED_CONTRAST / contrast)
        level = np.arange(256, dtype=np.float64)[:, None] / np.array(self.clear, np.float64)
        table = np.rint(np.clip(np.array(self.clear) * level**power, 0, 255)).astype(np.uint8)
        return np.asarray(cv2.LUT(image, table.reshape(1, 256, 3)), np.uint8)

    def without_cut_cells(self, cells: Sequence[Cell], shape: tuple[int, ...]) -> list[Cell]:
        """The cells; those cut by the rim are not counted. See ``Aperture``."""
        if self.aperture is None:
            return list(cells)
        return self.aperture.without_cut_cells(cells, shape)


def _terms() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The polynomial's terms at the tiles' centres [GRID^2, K], and the ridge that tames them."""
    axis = (np.arange(GRID) + 0.5) / GRID * 2 - 1
    y, x = (a.ravel() for a in np.meshgrid(axis, axis, indexing="ij"))
    powers = [(i, j) for i in range(DEGREE + 1) for j in range(DEGREE + 1 - i)]
    order = np.array([i + j for i, j in powers], np.float64)
    return np.stack([x**i * y**j for i, j in powers], 1), np.diag(0.005 * order**2)


def measure_shading(image: Image, aperture: Aperture | None = None) -> Shading:
    """The empty slide's light over a field.

    The bright end of every tile and channel is fitted by a polynomial; tiles full of cells lie
    below it and lose their weight over the iterations, tiles beyond the rim have none.

    Args:
        image: uint8 [H, W, 3] RGB, the field or a small copy of it.
        aperture: the field's lit part.
    """
    side = GRID * TILE_PX
    small = area_shrink(image, (side, side))
    tiles = small.reshape(GRID, TILE_PX, GRID, TILE_PX, 3).transpose(0, 2, 4, 1, 3)
    values = np.partition(
        tiles.reshape(GRID * GRID, 3, TILE_PX**2), (BRIGHT_END.start, BRIGHT_END.stop), axis=2
    )[:, :, BRIGHT_END]
    light = np.log(values.mean(axis=2, dtype=np.float64) + 1.0)
    lit = np.ones(GRID * GRID)
    if aperture is not None:
        inside = aperture.mask(side, side).reshape(GRID, TILE_PX, GRID, TILE_PX).mean((1, 3))
        lit = np.where(inside.ravel() > 0.95, 1.0, 1e-4)
    terms, ridge = _terms()
    weight, below = lit, np.zeros(GRID * GRID)
    surface = light
    for _ in range(8):
        weighted = terms * weight[:, None]
        surface = terms @ np.linalg.solve(weighted.T @ terms + ridge, weighted.T @ light)
        below = (light - surface).min(axis=1)
        spread = max(0.015, 1.5 * float(np.median(np.abs(below[lit > 0.5]))))
        # One channel below the surface is enough: cells leave red light nearly alone.
        weight = lit * np.where(below < 0, 1 / (1 + (below / spread) ** 2), 1.0)
    inner = lit > 0.5
    levels = np.exp(surface) - 1.0
    spans = levels[inner].max(0) / np.maximum(levels[inner].min(0), 1.0)
    support = float((below[inner] > -SUPPORTED_WITHIN).mean())
    return Shading(levels.reshape(GRID, GRID, 3), float(spans.max()), support)


def field_correction(image: Image) -> FieldCorrection:
    """What a field needs before it can be looked at: its lit part, and even light.

    Args:
        image: uint8 [H, W, 3] RGB, the field or a small copy of it.
    """
    aperture = find_aperture(image)
    shading = measure_shading(image, aperture)
    flat = shading.surface.reshape(-1, 3)
    if aperture is not None:
        inside = aperture.mask(GRID, GRID).ravel() > 0
        flat = flat[inside] if inside.any() else flat
    clear = np.clip(np.percentile(flat, 75, axis=0), 1.0, BRIGHTEST)
    gain = None
    if shading.unevenness >= UNEVEN and shading.support >= LEAST_SUPPORT:
        wanted = clear / np.maximum(shading.surface, 1.0)
        limited = np.clip(wanted, 1 / MOST_GAIN, MOST_GAIN)
        gain = np.rint(limited * GAIN_ONE).astype(np.uint16)
    red, green, blue = (round(float(value)) for value in clear)
    return FieldCorrection(aperture, gain, (red, green, blue), shading.unevenness)
