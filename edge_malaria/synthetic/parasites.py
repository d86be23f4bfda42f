"""Parasites inside a drawn red cell: ring, late trophozoite, schizont, gametocyte."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.synthetic.patch import Patch, blank, box_of, disc
from edge_malaria.synthetic.shapes import (
    POINTS,
    SHIFT,
    Gray,
    blur,
    direction,
    fill,
    polygon,
    uniform,
    wobble,
)
from edge_malaria.synthetic.stains import CHROMATIN, CYTOPLASM, PIGMENT, dye

STAGES = ("ring", "late-trophozoite", "schizont", "gametocyte")
_UNIT = float(2**SHIFT)


def place(
    rng: np.random.Generator, patch: Patch, nearest: float, farthest: float
) -> tuple[float, float]:
    """A point between ``nearest`` and ``farthest`` radii from the middle, inside the cell."""
    for _ in range(12):
        x, y = direction(int(rng.integers(POINTS)))
        reach = uniform(rng, nearest, farthest) * patch.radius_px
        px, py = patch.centre + x * reach, patch.centre + y * reach
        if patch.mask[int(py), int(px)]:
            return px, py
        farthest = nearest + (farthest - nearest) * 0.8
    return patch.centre, patch.centre


def draw_ring(rng: np.random.Generator, patch: Patch) -> None:
    """A young trophozoite: thin ring of cytoplasm, one or two chromatin dots on it."""
    r = patch.radius_px
    x, y = place(rng, patch, 0.1, 0.85)
    size = uniform(rng, 0.16, 0.30) * r
    turn = int(rng.integers(POINTS))
    outline = polygon(size * wobble(rng, 0.05, range(2, 5)), (x, y), uniform(rng, 1.0, 1.3), turn)
    fixed = np.round((outline - 0.5) * _UNIT).astype(np.int32)
    hoop, hole = blank(patch), fill(patch.shape, outline, smooth=True)
    width = max(1, round(uniform(rng, 0.05, 0.10) * r))
    cv2.polylines(hoop, [fixed], True, 255, width, cv2.LINE_AA, SHIFT)
    patch.absorb(blur(hole, 0.02 * r), np.full(3, 1.08, np.float32), uniform(rng, 0.0, 1.0))
    patch.absorb(blur(hoop, 0.012 * r), dye(rng, CYTOPLASM), uniform(rng, 0.6, 1.0))
    dots = blank(patch)
    first = int(rng.integers(POINTS))
    for step in (first, first + int(rng.integers(20, 60)))[: 1 + int(rng.random() < 0.3)]:
        px, py = outline[step % POINTS]
        disc(dots, float(px), float(py), uniform(rng, 0.07, 0.125) * r)
    patch.absorb(blur(dots, 0.012 * r), dye(rng, CHROMATIN), uniform(rng, 0.75, 1.0))
    patch.boxes.append(box_of(cv2.bitwise_or(hoop, dots)))


def _keep_inside(patch: Patch, layer: Gray) -> Gray:
    return np.asarray(cv2.bitwise_and(layer, patch.mask), dtype=np.uint8)


def _grains(
    rng: np.random.Generator, patch: Patch, x: float, y: float, reach: float, count: int
) -> Gray:
    layer = blank(patch)
    for _ in range(count):
        dx, dy = direction(int(rng.integers(POINTS)))
        far = reach * uniform(rng, 0.0, 1.0)
        disc(layer, x + dx * far, y + dy * far, uniform(rng, 0.025, 0.05) * patch.radius_px)
    return layer


def draw_late_trophozoite(rng: np.random.Generator, patch: Patch) -> None:
    """A compact or amoeboid body with dense cytoplasm, chromatin, often a vacuole, pigment."""
    r = patch.radius_px
    x, y = place(rng, patch, 0.0, 0.5)
    size = uniform(rng, 0.28, 0.48) * r
    turn = int(rng.integers(POINTS))
    outline = polygon(size * wobble(rng, 0.13, range(2, 7)), (x, y), uniform(rng, 1.0, 1.35), turn)
    body = _keep_inside(patch, fill(patch.shape, outline, smooth=True))
    patch.absorb(blur(body, 0.03 * r), dye(rng, CYTOPLASM) * np.float32(0.88), 1.0)
    if rng.random() < 0.6:
        vacuole = blank(patch)
        dx, dy = direction(turn)
        disc(vacuole, x + dx * size * 0.3, y + dy * size * 0.3, uniform(rng, 0.25, 0.42) * size)
        patch.absorb(blur(vacuole, 0.02 * r), np.full(3, 1.3, np.float32))
    chromatin = blank(patch)
    dx, dy = direction(turn + POINTS // 2)
    disc(chromatin, x + dx * size * 0.55, y + dy * size * 0.55, uniform(rng, 0.10, 0.18) * r)
    patch.absorb(blur(chromatin, 0.025 * r), dye(rng, CHROMATIN), uniform(rng, 0.8, 1.0))
    grains = _grains(rng, patch, x, y, 0.5 * size, int(rng.integers(2, 7)))
    patch.absorb(blur(grains, 0.01 * r), dye(rng, PIGMENT), 0.8)
    patch.boxes.append(box_of(cv2.bitwise_or(body, chromatin)))


def draw_schizont(rng: np.random.Generator, patch: Patch) -> None:
    """Eight to twenty-four merozoites around one clump of pigment, filling most of the cell."""
    r = patch.radius_px
    x, y = place(rng, patch, 0.0, 0.15)
    size = uniform(rng, 0.55, 0.78) * r
    outline = polygon(size * wobble(rng, 0.04, range(2, 6)), (x, y))
    body = _keep_inside(patch, fill(patch.shape, outline, smooth=True))
    patch.absorb(blur(body, 0.03 * r), dye(rng, CYTOPLASM), uniform(rng, 0.7, 1.0))
    merozoites = blank(patch)
    for index in range(int(rng.integers(8, 25))):
        # Turning by 55 of 144 steps (137.5 degrees) spreads them evenly, as florets do.
        dx, dy = direction(index * 55 + int(rng.integers(-6, 7)))
        far = size * uniform(rng, 0.25, 0.9)
        disc(merozoites, x + dx * far, y + dy * far, uniform(rng, 0.06, 0.095) * r)
    merozoites = _keep_inside(patch, merozoites)
    patch.absorb(blur(merozoites, 0.015 * r), dye(rng, CHROMATIN), uniform(rng, 0.75, 1.0))
    clump = _grains(rng, patch, x, y, 0.12 * r, int(rng.integers(4, 9)))
    patch.absorb(blur(clump, 0.015 * r), dye(rng, PIGMENT), 0.9)
    patch.boxes.append(box_of(cv2.bitwise_or(body, merozoites)))


def draw_gametocyte(rng: np.random.Generator, patch: Patch) -> None:
    """The banana of P. falciparum: blunt ends, chromatin and pigment in the middle third."""
    r = patch.radius_px
    turn = int(rng.integers(POINTS))
    c, s = direction(turn)
    bend = uniform(rng, 0.15, 0.35)
    half, thick = uniform(rng, 0.72, 0.88) * r, uniform(rng, 0.40, 0.54) * r
    layers = (blank(patch), blank(patch))
    for layer, reach, width in ((layers[0], 1.0, thick), (layers[1], 0.35, thick * 0.6)):
        along: NDArray[np.float64] = np.linspace(-reach, reach, 24)
        across = bend * r * (along * along - 0.35)
        points = np.stack(
            [
                patch.centre + half * 0.85 * along * c - across * s,
                patch.centre + half * 0.85 * along * s + across * c,
            ],
            axis=1,
        )
        fixed = np.round((points - 0.5) * _UNIT).astype(np.int32)
        cv2.polylines(layer, [fixed], False, 255, max(1, round(width)), cv2.LINE_AA, SHIFT)
    body = _keep_inside(patch, layers[0])
    patch.absorb(blur(body, 0.03 * r), dye(rng, CYTOPLASM) * np.float32(0.85), 1.0)
    patch.absorb(blur(layers[1], 0.05 * r), dye(rng, CHROMATIN), uniform(rng, 0.5, 0.8))
    grains = _grains(rng, patch, patch.centre, patch.centre, 0.25 * r, int(rng.integers(5, 12)))
    patch.absorb(blur(grains, 0.01 * r), dye(rng, PIGMENT), 0.85)
    patch.boxes.append(box_of(body))
