"""Colours of drawn smears: red cells, backgrounds, and how far a dye darkens what lies under it.

The red-cell colours are the centres of seven groups of median colours of healthy cells in
smartphone pictures of Giemsa-stained thin smears, and of whole fields of other laboratories.
A dye is a transmission per channel: 1 lets all light through.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_malaria.records import expect

Floats = NDArray[np.float32]
Rgb = tuple[int, int, int]

# A red cell away from its rim, RGB.
STAINS: dict[str, Rgb] = {
    "orange": (210, 157, 150),
    "pink": (202, 145, 150),
    "violet": (148, 132, 176),
    "slate": (168, 163, 184),
    "tan": (192, 166, 158),
    "magenta": (192, 118, 144),
}
BACKGROUNDS: dict[str, Rgb] = {
    "white": (240, 238, 236),
    "grey": (208, 208, 210),
    "mint": (200, 228, 204),
    "brown": (222, 206, 186),
    "lilac": (226, 216, 234),
}

# Giemsa: chromatin takes the red-violet dye strongly, cytoplasm the blue one weakly.
CHROMATIN: Rgb = (150, 66, 158)
CYTOPLASM: Rgb = (196, 158, 208)
PIGMENT: Rgb = (120, 84, 62)
NUCLEUS: Rgb = (112, 62, 168)
WHITE_CELL: Rgb = (216, 198, 232)
PLATELET: Rgb = (176, 130, 200)


@dataclass(frozen=True)
class Stain:
    """The colours of one smear.

    Attributes:
        cell: red cell, RGB 0-255.
        background: plasma between the cells, RGB 0-255.
        name: key of ``STAINS``.
        background_name: key of ``BACKGROUNDS``.
    """

    cell: tuple[float, float, float]
    background: tuple[float, float, float]
    name: str
    background_name: str

    def cell_transmission(self) -> Floats:
        """Light that a red cell lets through, float32 [3], 0.02-1."""
        share = np.asarray(self.cell, np.float32) / np.asarray(self.background, np.float32)
        return np.clip(share, np.float32(0.02), np.float32(1.0))


def pick_stain(
    rng: np.random.Generator, name: str | None = None, background: str | None = None
) -> Stain:
    """One smear's stain; a name left out is drawn by ``rng``, and every colour varies a little.

    Raises:
        ValueError: a name that is not in ``STAINS`` or ``BACKGROUNDS``.
    """
    drawn = tuple(STAINS)[int(rng.integers(len(STAINS)))]
    drawn_background = tuple(BACKGROUNDS)[int(rng.integers(len(BACKGROUNDS)))]
    name = name or drawn
    background = background or drawn_background
    expect(name in STAINS, f"a stain in {tuple(STAINS)}", name)
    expect(background in BACKGROUNDS, f"a background in {tuple(BACKGROUNDS)}", background)
    return Stain(
        cell=_vary(rng, STAINS[name], common=10, each=7),
        background=_vary(rng, BACKGROUNDS[background], common=6, each=4),
        name=name,
        background_name=background,
    )


def _vary(
    rng: np.random.Generator, colour: Rgb, common: int, each: int
) -> tuple[float, float, float]:
    shift = int(rng.integers(-common, common + 1))
    own = [int(rng.integers(-each, each + 1)) for _ in range(3)]
    red, green, blue = (
        float(min(250, max(5, c + shift + o))) for c, o in zip(colour, own, strict=True)
    )
    return red, green, blue


def dye(rng: np.random.Generator, colour: Rgb, spread: int = 12) -> Floats:
    """A dye's transmission float32 [3], varied by up to ``spread`` / 255 in each channel."""
    own = rng.integers(-spread, spread + 1, size=3)
    return (np.asarray(colour, np.float32) + own.astype(np.float32)) / np.float32(255)
