"""A field's stain: its own red cells tell it, and every cell is scaled to the home laboratory's.

Light multiplies (Beer-Lambert), so a stain is an optical density a channel. A table of 256 levels a
channel maps the slide's median red cell on the home laboratory's; what a cell has more or less of
than that median is multiplied by the ratio of the two densities. The ratio is limited: in a field
that is nearly magenta the parasites would otherwise be scaled away with the haemoglobin; what the
limit leaves is shifted. Everything is whole numbers, so the table is the same on every processor,
and a microcontroller is given the finished table.

The colour is read field by field, because lamp and camera change within a slide; a field of few
cells also uses cells of the fields before it (``SlideColour``). Crops without fields share one
colour: those of a call, or those of a slide of a data set (``data.stains``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.records import Image, Mask, expect

RGB = tuple[int, int, int]

STEP = "scale-stain-density"
# The median red cell of the NIH training patients, against clear light of 255.
HOME_RGB: RGB = (193, 155, 155)
# Densities are counted in 1/4096 of a natural-log unit.
UNIT = 4096
# The ratio of densities stays between .6 and 2: chosen on the fitting thirds of iml with the
# network as it was before (docs/LABORATORIES.md).
LEAST_GAIN, MOST_GAIN = 2458, 8192
# Re-encoded crops have a black background up to a few grey levels of coding noise: it stays black.
BLACK_LEVEL = 24
# Medians outside have no density to speak of, or no light.
_DARKEST, _CLEAREST = 8, 247
# Points along a cell's longer side that its colour is read at.
_SAMPLES = 16
# Cells that a colour rests on; a field of fewer takes cells of those before it.
WINDOW_CELLS = 30
# Of a field of many cells so many are read, evenly.
MOST_CELLS = 64

_DENSITY = np.array([round(UNIT * math.log(255 / max(v, 1))) for v in range(256)], np.int64)
# Twice the middle between neighbouring levels' densities, ascending: 254|255, ..., 1|2.
_BETWEEN = (_DENSITY[1:-1] + _DENSITY[2:])[::-1].copy()


@lru_cache(maxsize=256)
def _channel(slide: int, home: int) -> NDArray[np.uint8]:
    """Levels 0-255 of one channel, scaled; uint8 [256]."""
    slide = min(max(slide, _DARKEST), _CLEAREST)
    own, wanted = int(_DENSITY[slide]), int(_DENSITY[home])
    gain = min(max((wanted * UNIT + own // 2) // own, LEAST_GAIN), MOST_GAIN)
    density = np.maximum((gain * (_DENSITY - own) + UNIT // 2) // UNIT + wanted, 0)
    levels = 255 - np.searchsorted(_BETWEEN, 2 * density)
    dark = np.arange(BLACK_LEVEL)
    levels[:BLACK_LEVEL] = levels[BLACK_LEVEL] * dark // BLACK_LEVEL
    return levels.astype(np.uint8)


@dataclass(frozen=True)
class StainScaling:
    """The contract's step: what the slide's median red cell is mapped on.

    Attributes:
        home_rgb: the home laboratory's median red cell, 0-255.
    """

    home_rgb: RGB = HOME_RGB

    def __post_init__(self) -> None:
        inside = len(self.home_rgb) == 3 and all(_DARKEST <= v <= _CLEAREST for v in self.home_rgb)
        expect(inside, f"home_rgb: three levels in {_DARKEST}-{_CLEAREST}", self.home_rgb)

    def table(self, slide_rgb: RGB) -> Image:
        """The table of a slide whose median red cell has this colour; uint8 [256, 3], 0 stays 0."""
        pairs = zip(slide_rgb, self.home_rgb, strict=True)
        return np.stack([_channel(int(slide), int(home)) for slide, home in pairs], axis=1)

    def as_json(self) -> dict[str, Any]:
        """The contract's entry ``stain``."""
        return {"home_rgb": list(self.home_rgb)}

    @classmethod
    def from_contract(cls, contract: Mapping[str, Any]) -> StainScaling | None:
        """The step of a preprocessing contract; None where it names none.

        Raises:
            ValueError: the step without its colour, or a colour that is none.
        """
        if "stain" not in contract:
            return None
        value = contract["stain"]
        whole = isinstance(value, Mapping) and len(value.get("home_rgb", ())) == 3
        expect(whole, "stain.home_rgb with three levels", value)
        red, green, blue = (int(level) for level in value["home_rgb"])
        return cls((red, green, blue))


def scaled(image: Image, table: Image | None) -> Image:
    """``image`` (uint8 [H, W, 3]) through a table (uint8 [256, 3]); itself where that is None."""
    if table is None:
        return image
    return np.asarray(cv2.LUT(np.ascontiguousarray(image), table[None]), np.uint8)


def cell_colour(crop: Image, mask: Mask | None = None) -> RGB | None:
    """The median colour of one cell, read at a grid of points; None where nothing is lit.

    Args:
        crop: uint8 [H, W, 3] RGB, tight around the cell.
        mask: bool [H, W], True on the cell; None where the background is black already.
    """
    return median_colour(lit_points(crop, mask))


def lit_points(crop: Image, mask: Mask | None = None) -> NDArray[np.uint8]:
    """uint8 [N, 3]: the colours of one cell at a grid of points, those that are lit.

    Args:
        crop: uint8 [H, W, 3] RGB, tight around the cell.
        mask: bool [H, W], True on the cell; None where the background is black already.
    """
    step = max(1, max(crop.shape[:2]) // _SAMPLES)
    points = crop[::step, ::step].reshape(-1, 3)
    # Column by column: several times faster than a maximum over three.
    on_cell = (points[:, 0] > BLACK_LEVEL) | (points[:, 1] > BLACK_LEVEL)
    on_cell |= points[:, 2] > BLACK_LEVEL
    if mask is not None:
        on_cell &= mask[::step, ::step].reshape(-1)
    return np.asarray(points[on_cell], np.uint8)


def median_colour(colours: Sequence[RGB] | NDArray[Any]) -> RGB | None:
    """The median a channel, the lower one of two; None of nothing."""
    if not len(colours):
        return None
    middle = (len(colours) - 1) // 2
    red, green, blue = np.partition(np.asarray(colours, np.int64), middle, axis=0)[middle].tolist()
    return red, green, blue


def crops_colour(crops: Sequence[Image], masks: Sequence[Mask | None] | None = None) -> RGB | None:
    """The median red cell of crops that are taken as one slide."""
    read = [
        cell_colour(crop, None if masks is None else masks[index])
        for index, crop in enumerate(crops)
    ]
    return median_colour([colour for colour in read if colour is not None])


@dataclass
class SlideColour:
    """The slide's median red cell as its fields go by.

    Attributes:
        window: colours of the latest cells, newest field first; at most ``WINDOW_CELLS``.
    """

    window: list[RGB] = field(default_factory=list)

    def take(self, colours: Iterable[RGB | None]) -> RGB | None:
        """Takes a field's cells and returns the colour that this field is scaled from."""
        own = [colour for colour in colours if colour is not None]
        seen = [*own, *self.window[: max(0, WINDOW_CELLS - len(own))]]
        self.window = seen[:WINDOW_CELLS]
        return median_colour(seen)

    def restore(self, window: Iterable[RGB]) -> None:
        """Takes a window up again."""
        self.window = list(window)


def evenly(count: int, most: int = MOST_CELLS) -> list[int]:
    """At most ``most`` of the places 0 to ``count`` - 1, spread evenly, in order."""
    return [index * count // min(count, most) for index in range(min(count, most))]
