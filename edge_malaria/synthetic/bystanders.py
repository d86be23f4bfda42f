"""What else lies on a smear: white cells, platelets, debris."""

from __future__ import annotations

import cv2
import numpy as np

from edge_malaria.synthetic.patch import Patch, blank, disc, edge_and_depth, layer, new_patch
from edge_malaria.synthetic.shapes import (
    POINTS,
    blur,
    direction,
    fill,
    polygon,
    soft_noise,
    uniform,
    wobble,
)
from edge_malaria.synthetic.stains import NUCLEUS, PIGMENT, PLATELET, WHITE_CELL, dye


def draw_white_cell(rng: np.random.Generator, diameter_px: float) -> Patch:
    """A white cell with a lobed nucleus; ``diameter_px`` is its own."""
    patch = new_patch(diameter_px, 1.25)
    radius = wobble(rng, 0.03, range(2, 6)) * patch.radius_px
    patch.mask = fill(patch.shape, polygon(radius, (patch.centre, patch.centre)))
    soft, _ = edge_and_depth(patch.mask, 0.5 + 0.02 * diameter_px)
    texture = 1 + soft_noise(rng, patch.shape, 16, 0.25)
    patch.light = layer(soft * texture, dye(rng, WHITE_CELL))
    nucleus = blank(patch)
    r, turn = patch.radius_px, int(rng.integers(POINTS))
    lobes = int(rng.integers(1, 5))
    for lobe in range(lobes):
        dx, dy = direction(turn + lobe * int(rng.integers(24, 36)))
        far = 0.0 if lobes == 1 else 0.38 * r
        size = (0.68 if lobes == 1 else uniform(rng, 0.28, 0.4)) * r
        outline = polygon(
            size * wobble(rng, 0.06, range(2, 6)),
            (patch.centre + dx * far, patch.centre + dy * far),
        )
        nucleus = cv2.bitwise_or(nucleus, fill(patch.shape, outline, smooth=True))
    nucleus = cv2.bitwise_and(nucleus, patch.mask)
    patch.absorb(blur(nucleus, 0.03 * r), dye(rng, NUCLEUS), uniform(rng, 0.8, 1.0))
    return patch


def draw_platelet(rng: np.random.Generator, diameter_px: float) -> Patch:
    """A platelet: small, violet, soft at the edge; ``diameter_px`` is its own."""
    patch = new_patch(diameter_px, 1.8)
    radius = wobble(rng, 0.12, range(2, 8)) * patch.radius_px
    outline = polygon(
        radius, (patch.centre, patch.centre), uniform(rng, 1.0, 1.4), int(rng.integers(POINTS))
    )
    patch.mask = fill(patch.shape, outline)
    soft, _ = edge_and_depth(patch.mask, 0.6 + 0.06 * diameter_px)
    texture = np.clip(0.8 + soft_noise(rng, patch.shape, 7, 0.5), 0, 1.3)
    strength = np.float32(uniform(rng, 0.6, 1.0))
    patch.light = layer(strength * soft * texture, dye(rng, PLATELET))
    return patch


def draw_debris(rng: np.random.Generator, diameter_px: float) -> Patch:
    """Dirt or precipitate of irregular outline; ``diameter_px`` is its typical extent."""
    patch = new_patch(diameter_px, 2.0)
    radius = np.maximum(wobble(rng, 0.35, range(2, 12)), 0.2) * patch.radius_px * 0.8
    patch.mask = fill(patch.shape, polygon(radius, (patch.centre, patch.centre)))
    soft, _ = edge_and_depth(patch.mask, 0.6 + uniform(rng, 0.02, 0.15) * diameter_px)
    texture = np.clip(0.7 + soft_noise(rng, patch.shape, 6, 0.6), 0, 1)
    colour = dye(rng, (PIGMENT, (150, 150, 150), (200, 160, 200))[int(rng.integers(3))], 20)
    patch.light = layer(np.float32(uniform(rng, 0.4, 1.0)) * soft * texture, colour)
    if rng.random() < 0.4:
        specks = blank(patch)
        for _ in range(int(rng.integers(2, 8))):
            dx, dy = direction(int(rng.integers(POINTS)))
            far = uniform(rng, 0, 0.7) * patch.radius_px
            disc(specks, patch.centre + dx * far, patch.centre + dy * far, 0.05 * diameter_px + 0.5)
        patch.absorb(specks, dye(rng, PIGMENT), 0.9)
    return patch
