"""One drawn thing of a smear: red cell with or without a parasite, white cell, platelet, debris."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.records import Box, Image, Mask, expect
from edge_malaria.synthetic import parasites
from edge_malaria.synthetic.bystanders import draw_debris, draw_platelet, draw_white_cell
from edge_malaria.synthetic.optics import camera_noise, interleave
from edge_malaria.synthetic.patch import Patch, blank, disc, edge_and_depth, layer, new_patch
from edge_malaria.synthetic.shapes import (
    POINTS,
    blur,
    fill,
    polygon,
    red_cell_outline,
    soft_noise,
    uniform,
    wobble,
)
from edge_malaria.synthetic.stains import (
    PIGMENT,
    PLATELET,
    Floats,
    Stain,
    dye,
    pick_stain,
)

DrawnKind = Literal[
    "healthy",
    "ring",
    "late-trophozoite",
    "schizont",
    "gametocyte",
    "white-cell",
    "platelet",
    "debris",
]
DRAWN_KINDS: tuple[DrawnKind, ...] = (
    "healthy",
    "ring",
    "late-trophozoite",
    "schizont",
    "gametocyte",
    "white-cell",
    "platelet",
    "debris",
)
PARASITIZED_KINDS = frozenset(parasites.STAGES)
RED_CELL_KINDS = PARASITIZED_KINDS | {"healthy"}
# Transmission is kept as uint16 in this many parts of 1: a quarter of the float's memory.
PARTS = 16384
# Share of red cells, healthy or not, with grains of dye on them, judged by eye from real smears.
_SPECKLED = 0.10
# Share of crops whose outline was cut raggedly by a segmenter, likewise.
_RAGGED = 0.15

_STAGE_DRAWERS = {
    "ring": parasites.draw_ring,
    "late-trophozoite": parasites.draw_late_trophozoite,
    "schizont": parasites.draw_schizont,
    "gametocyte": parasites.draw_gametocyte,
}


@dataclass(frozen=True, eq=False)
class Sprite:
    """A thing to lay on a field.

    Attributes:
        light: uint16 [3, H, W], share of the light that passes in 1 / ``PARTS``.
        mask: bool [H, W], True on the thing.
        kind: one of ``DRAWN_KINDS``.
        parasite_boxes: in the sprite's pixels.
    """

    light: NDArray[np.uint16]
    mask: Mask
    kind: DrawnKind
    parasite_boxes: tuple[Box, ...]


@dataclass(frozen=True, eq=False)
class DrawnCell:
    """A drawn crop as single cells are published.

    Attributes:
        image: uint8 [H, W, 3] RGB, black outside ``mask``, tight around it.
        mask: bool [H, W].
        kind: one of ``DRAWN_KINDS``.
        parasite_box: around all parasites, px; None where there is none.
    """

    image: Image
    mask: Mask
    kind: DrawnKind
    parasite_box: Box | None

    @property
    def parasitized(self) -> bool:
        """Whether a parasite is in it."""
        return self.kind in PARASITIZED_KINDS


def _pallor(rng: np.random.Generator, patch: Patch) -> Floats:
    """The pale centre of a disc that is thin in the middle, float32 [H, W], 0-0.6."""
    strength = uniform(rng, 0.0, 0.28) if rng.random() < 0.75 else uniform(rng, 0.28, 0.6)
    if strength < 0.05:
        return np.zeros(patch.shape, np.float32)
    x0, y0 = (patch.centre + uniform(rng, -0.12, 0.12) * patch.radius_px for _ in range(2))
    wide = uniform(rng, 0.45, 0.95) * patch.radius_px
    high = wide * (uniform(rng, 0.25, 0.5) if rng.random() < 0.06 else uniform(rng, 0.8, 1.2))
    xs = (np.arange(patch.shape[1], dtype=np.float32) - np.float32(x0)) / np.float32(wide)
    ys = (np.arange(patch.shape[0], dtype=np.float32) - np.float32(y0)) / np.float32(high)
    bump = np.maximum(1 - (xs * xs)[None, :] - (ys * ys)[:, None], 0)
    bump = bump * bump if rng.random() < 0.5 else np.minimum(bump * 2, 1)
    pallor = np.float32(strength) * bump
    if rng.random() < 0.05:  # a target cell is dark again in the very middle
        inner = np.maximum(1 - 8 * ((xs * xs)[None, :] + (ys * ys)[:, None]), 0)
        pallor = pallor * (1 - inner)
    return np.asarray(pallor, np.float32)


def _red_cell(rng: np.random.Generator, kind: str, diameter_px: float, stain: Stain) -> Patch:
    patch = new_patch(diameter_px, 1.35)
    if kind == "gametocyte":
        radius = wobble(rng, 0.02, range(2, 5)) * patch.radius_px
        outline = polygon(radius, (patch.centre, patch.centre), 1.12, int(rng.integers(POINTS)))
    else:
        outline = red_cell_outline(rng, patch.radius_px, patch.centre)
    patch.mask = fill(patch.shape, outline)
    soft, depth = edge_and_depth(patch.mask, 0.5 + 0.014 * diameter_px)
    rim = np.float32(uniform(rng, -0.25, 0.12)) * np.maximum(1 - depth * 6, 0)
    texture = soft_noise(rng, patch.shape, int(rng.integers(4, 9)), uniform(rng, 0.0, 0.07))
    fine = soft_noise(rng, patch.shape, 24, uniform(rng, 0.0, 0.03))
    thickness = soft * (uniform(rng, 0.88, 1.12) - _pallor(rng, patch) + rim + texture + fine)
    patch.light = layer(np.maximum(thickness, 0), stain.cell_transmission())
    if rng.random() < _SPECKLED:
        _specks(rng, patch)
    draw = _STAGE_DRAWERS.get(kind)
    if draw is not None:
        draw(rng, patch)
        if kind == "ring" and rng.random() < 0.15:  # P. falciparum often infects a cell twice
            draw(rng, patch)
    return patch


def _specks(rng: np.random.Generator, patch: Patch) -> None:
    """Faint grains of dye on the cell, smaller and paler than chromatin."""
    layer = blank(patch)
    for _ in range(int(rng.integers(1, 5))):
        x, y = parasites.place(rng, patch, 0.0, 0.95)
        disc(layer, x, y, uniform(rng, 0.015, 0.04) * patch.radius_px + 0.3)
    colour = dye(rng, PLATELET if rng.random() < 0.6 else PIGMENT)
    patch.absorb(blur(layer, 0.02 * patch.radius_px), colour, uniform(rng, 0.2, 0.6))


# Nothing thinner can be drawn; specks of debris in small pictures would come out so.
SMALLEST_PX = 4.0


def draw_sprite(
    rng: np.random.Generator, kind: DrawnKind, diameter_px: float, stain: Stain
) -> Sprite:
    """Draws one thing as the light it lets through.

    Args:
        rng: numpy's generator; the same state gives the same sprite.
        kind: one of ``DRAWN_KINDS``.
        diameter_px: of this thing (not of the smear's red cells).
        stain: the smear's colours.
    """
    expect(kind in DRAWN_KINDS, f"a kind in {DRAWN_KINDS}", kind)
    expect(diameter_px >= SMALLEST_PX, f"diameter_px >= {SMALLEST_PX:g}", diameter_px)
    if kind == "white-cell":
        patch = draw_white_cell(rng, diameter_px)
    elif kind == "platelet":
        patch = draw_platelet(rng, diameter_px)
    elif kind == "debris":
        patch = draw_debris(rng, diameter_px)
    else:
        patch = _red_cell(rng, kind, diameter_px, stain)
    light = np.round(np.clip(patch.light, 0, 3) * np.float32(PARTS)).astype(np.uint16)
    return Sprite(light, patch.mask > 0, kind, tuple(patch.boxes))


def _cut_edge(rng: np.random.Generator, mask: Mask, grow_px: int) -> Mask:
    """The outline as a segmenter leaves it: a little too wide or too narrow."""
    if grow_px == 0:
        return mask
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * abs(grow_px) + 1,) * 2)
    work = cv2.dilate if grow_px > 0 else cv2.erode
    grown = work(mask.astype(np.uint8), element) > 0
    return grown if grown.any() else mask


def _ragged(rng: np.random.Generator, mask: Mask) -> Mask:
    """A stretch of the outline frayed, as a threshold leaves it where the rim is pale."""
    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    depth = np.float32(uniform(rng, 0.06, 0.2) * min(mask.shape) / 2)
    grain = soft_noise(rng, mask.shape, int(rng.integers(10, 30)), 1.0)
    where = soft_noise(rng, mask.shape, 3, 1.0)
    frayed = mask & ~((where > 0.2) & (inside < depth * np.maximum(grain + 0.3, 0)))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(frayed.astype(np.uint8))
    if count < 2:
        return mask
    return np.asarray(labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])), np.bool_)


def draw_cell(
    rng: np.random.Generator,
    kind: DrawnKind = "healthy",
    size_px: int = 130,
    stain: Stain | str | None = None,
    *,
    defocus_px: float | None = None,
) -> DrawnCell:
    """Draws one cell cut out of its field, as single-cell data sets publish them.

    Args:
        rng: ``numpy.random.default_rng(seed)``; the same state gives the same bits.
        kind: one of ``DRAWN_KINDS``.
        size_px: diameter of a red cell; white cells are larger, platelets smaller.
        stain: a ``Stain``, a name in ``STAINS``, or None for any.
        defocus_px: sigma of the blur; None for a mild random one.
    """
    look = stain if isinstance(stain, Stain) else pick_stain(rng, stain)
    expect(size_px >= SMALLEST_PX, f"size_px >= {SMALLEST_PX:g}", size_px)
    diameter = max(SMALLEST_PX, size_px * relative_size(rng, kind))
    sprite = draw_sprite(rng, kind, diameter, look)
    background = np.asarray(look.background, np.float32) / np.float32(PARTS)
    image = sprite.light.astype(np.float32) * background[:, None, None]
    sigma = uniform(rng, 0.004, 0.012) * size_px if defocus_px is None else defocus_px
    soft = blur(interleave(image), sigma)
    final = camera_noise(rng, soft, uniform(rng, 0.0, 2.0))
    mask = _cut_edge(rng, sprite.mask, int(rng.integers(-1, 2)))
    if rng.random() < _RAGGED:
        mask = _ragged(rng, mask)
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    tight = mask[y : y + height, x : x + width]
    crop = np.where(tight[:, :, None], final[y : y + height, x : x + width], np.uint8(0))
    box = _union(sprite.parasite_boxes, x, y, width, height)
    return DrawnCell(np.ascontiguousarray(crop), np.ascontiguousarray(tight), kind, box)


def relative_size(rng: np.random.Generator, kind: str) -> float:
    """A thing's diameter in diameters of the smear's red cells."""
    if kind == "white-cell":
        return uniform(rng, 1.4, 2.1)
    if kind == "platelet":
        return uniform(rng, 0.18, 0.42)
    if kind == "debris":
        return uniform(rng, 0.12, 0.7)
    return uniform(rng, 0.9, 1.1)


def _union(boxes: tuple[Box, ...], x: int, y: int, width: int, height: int) -> Box | None:
    if not boxes:
        return None
    x0 = min(max(min(b[0] for b in boxes) - x, 0), width - 1)
    y0 = min(max(min(b[1] for b in boxes) - y, 0), height - 1)
    x1 = max(min(max(b[2] for b in boxes) - x, width), x0 + 1)
    y1 = max(min(max(b[3] for b in boxes) - y, height), y0 + 1)
    return x0, y0, x1, y1
