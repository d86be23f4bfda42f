"""Whole drawn thin smears: one field, or a slide from which a moving stage cuts views."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from edge_malaria.files import MAX_IMAGE_PIXELS
from edge_malaria.records import Box, Image, expect
from edge_malaria.synthetic.cells import (
    PARTS,
    DrawnKind,
    Sprite,
    draw_sprite,
)
from edge_malaria.synthetic.layout import Layout, Place, SmearSettings
from edge_malaria.synthetic.optics import camera_noise, interleave, light_falloff, motion_blur
from edge_malaria.synthetic.shapes import blur, uniform
from edge_malaria.synthetic.stains import Floats, Stain, pick_stain
from edge_malaria.synthetic.truth import DrawnObject, SmearTruth

# Sprites kept for overlapping views, and for the same slide drawn again: about 40 kB each at 70 px.
_KEPT_SPRITES = 400


class DrawnSlide:
    """A slide drawn piece by piece: only the places and the last few hundred cells are kept.

    Args:
        seed: the same seed gives the same slide.
        parasitemia: chance that a red cell holds an asexual parasite, 0-1.
        width_px: of the whole slide.
        height_px: of the whole slide.
        view_px: (width, height) of a view.
        stain: a name in ``STAINS``, None for any.
        background: a name in ``BACKGROUNDS``, None for any.
        vignette: share of the light lost in a view's corners; None for a random 0-0.25.
        noise: sigma of the camera's noise in grey levels; None for a random 0.5-2.5.
        settings: what else ``SmearSettings`` takes.
    """

    def __init__(
        self,
        seed: int,
        parasitemia: float = 0.02,
        *,
        width_px: int = 6400,
        height_px: int = 4800,
        view_px: tuple[int, int] = (1280, 960),
        stain: str | None = None,
        background: str | None = None,
        vignette: float | None = None,
        noise: float | None = None,
        **settings: Any,
    ) -> None:
        expect(seed >= 0, "seed >= 0", seed)
        self.view_px = (min(view_px[0], width_px), min(view_px[1], height_px))
        self.width_px, self.height_px, self.seed = width_px, height_px, seed
        expect(min(self.view_px) >= 32, "a view of at least 32 x 32 px", self.view_px)
        most = MAX_IMAGE_PIXELS // 1_000_000
        pixels = self.view_px[0] * self.view_px[1]
        expect(pixels <= MAX_IMAGE_PIXELS, f"a view of at most {most} megapixels", self.view_px)
        rng = np.random.default_rng([seed, 0])
        self.stain = pick_stain(rng, stain, background)
        drawn_vignette, drawn_noise = uniform(rng, 0.0, 0.25), uniform(rng, 0.5, 2.5)
        self.vignette = drawn_vignette if vignette is None else vignette
        self.noise = drawn_noise if noise is None else noise
        self._tilt = (uniform(rng, -0.05, 0.05), uniform(rng, -0.05, 0.05))
        self.sharp_px = uniform(rng, 0.5, 1.0)
        self.settings = SmearSettings(parasitemia=parasitemia, **settings)
        self.layout = Layout(seed, width_px, height_px, self.settings)

    def _sprite(self, place: Place) -> Sprite:
        return _drawn(self.seed, place.number, place.kind, place.diameter_px, self.stain)

    def _places(self, x: int, y: int) -> list[Place]:
        reach = 3 * self.settings.cell_diameter_px  # half of the largest white cell and its room
        box = (x - reach, y - reach, x + self.view_px[0] + reach, y + self.view_px[1] + reach)
        return sorted(self.layout.grid.within(box), key=lambda place: place.number)

    def view(
        self,
        x: int,
        y: int,
        *,
        defocus_px: float = 0.0,
        light: float = 1.0,
        motion_px: tuple[float, float] = (0.0, 0.0),
        shot: int = 0,
    ) -> tuple[Image, SmearTruth]:
        """What the camera sees with its top left corner at (x, y) px of the slide.

        Args:
            x: 0 to width_px - view width; clipped to that.
            y: likewise.
            defocus_px: sigma of the blur on top of the slide's own sharpness.
            light: the lamp, 1 = as set.
            motion_px: (dx, dy) movement during the exposure.
            shot: two shots of one place differ only in the camera's noise.

        Returns:
            uint8 [H, W, 3] RGB and the truth.
        """
        width, height = self.view_px
        x = int(min(max(x, 0), self.width_px - width))
        y = int(min(max(y, 0), self.height_px - height))
        canvas = np.ones((3, height, width), np.float32)
        objects = [
            thing
            for place in self._places(x, y)
            if (thing := _lay(canvas, self._sprite(place), place, (x, y))) is not None
        ]
        falloff = light_falloff((height, width), self.vignette, self._tilt)
        colour = np.asarray(self.stain.background, np.float32) * np.float32(light)
        for plane, level in zip(canvas, colour, strict=True):
            plane *= falloff * level
        blur_px = (self.sharp_px**2 + defocus_px**2) ** 0.5
        image = motion_blur(blur(interleave(canvas), blur_px), motion_px)
        rng = np.random.default_rng([self.seed, 3, x, y, shot])
        truth = SmearTruth(tuple(objects), width, height, x, y, self.stain, blur_px, motion_px)
        return camera_noise(rng, image, self.noise), truth


@lru_cache(maxsize=_KEPT_SPRITES)
def _drawn(seed: int, number: int, kind: DrawnKind, diameter_px: float, stain: Stain) -> Sprite:
    """The thing of this number on the slide of this seed; nobody may write into it."""
    sprite = draw_sprite(np.random.default_rng([seed, 2, number]), kind, diameter_px, stain)
    for pixels in (sprite.light, sprite.mask):
        pixels.flags.writeable = False
    return sprite


def _lay(
    canvas: Floats, sprite: Sprite, place: Place, corner: tuple[int, int]
) -> DrawnObject | None:
    """Lays a sprite on the view; None where it does not reach into it."""
    high, wide = sprite.mask.shape
    left = round(place.x - wide / 2) - corner[0]
    top = round(place.y - high / 2) - corner[1]
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + wide, canvas.shape[2]), min(top + high, canvas.shape[1])
    if x0 >= x1 or y0 >= y1:
        return None
    part = sprite.light[:, y0 - top : y1 - top, x0 - left : x1 - left]
    canvas[:, y0:y1, x0:x1] *= part.astype(np.float32) * np.float32(1 / PARTS)
    mask = sprite.mask[y0 - top : y1 - top, x0 - left : x1 - left]
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        return None
    tight = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    box = (
        x0 + int(columns[0]),
        y0 + int(rows[0]),
        x0 + int(columns[-1]) + 1,
        y0 + int(rows[-1]) + 1,
    )
    moved = (_clip_box(b, left, top, canvas.shape) for b in sprite.parasite_boxes)
    boxes = tuple(b for b in moved if b is not None)
    whole = int(tight.sum()) == int(sprite.mask.sum())
    touches = box[0] == 0 or box[1] == 0 or box[2] == canvas.shape[2] or box[3] == canvas.shape[1]
    return DrawnObject(place.number, place.kind, box, tight, whole and not touches, boxes)


def _clip_box(box: Box, left: int, top: int, shape: tuple[int, ...]) -> Box | None:
    x0, x1 = max(box[0] + left, 0), min(box[2] + left, shape[2])
    y0, y1 = max(box[1] + top, 0), min(box[3] + top, shape[1])
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def draw_field(
    seed: int,
    width_px: int = 1280,
    height_px: int = 960,
    cell_diameter_px: float = 70.0,
    parasitemia: float = 0.02,
    density: float = 0.35,
    overlap: float = 0.15,
    *,
    defocus_px: float = 0.0,
    light: float = 1.0,
    **more: Any,
) -> tuple[Image, SmearTruth]:
    """Draws one field of a thin smear.

    Args:
        seed: the same seed and settings give the same field.
        width_px: of the image.
        height_px: of the image.
        cell_diameter_px: of a typical red cell.
        parasitemia: chance that a red cell holds an asexual parasite, 0-1.
        density: share of the area that red cells cover, 0-0.8 (0.35: about 110 cells).
        overlap: share of red cells that touch or overlap another, 0-1.
        defocus_px: sigma of the blur on top of the smear's own sharpness.
        light: brightness, 1 = as exposed.
        more: what else ``DrawnSlide`` and ``SmearSettings`` take: ``stain``, ``background``,
            ``vignette``, ``noise``, ``gametocytes``, ``white_cells``, ``platelets``,
            ``platelets_on_cells``, ``debris``, ``stages``.

    Returns:
        uint8 [H, W, 3] RGB and the truth.
    """
    slide = DrawnSlide(
        seed,
        parasitemia,
        width_px=width_px,
        height_px=height_px,
        view_px=(width_px, height_px),
        cell_diameter_px=cell_diameter_px,
        density=density,
        overlap=overlap,
        **more,
    )
    return slide.view(0, 0, defocus_px=defocus_px, light=light)
