"""Composes finder tiles: layouts, stains, light and the faults of a field microscope."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from edge_malaria.training.finder.scenes import (
    NOMINAL_DIAMETER_PX,
    FloatArray,
    Scene,
    Tile,
    draw_platelet,
    draw_white_cell,
    lay_out,
)

# Absorbance of a red cell's middle in red, green and blue light: eosin, slate, deep violet, brown.
STAINS = np.array([[0.12, 0.45, 0.28], [0.32, 0.42, 0.26], [0.3, 1.1, 0.45], [0.25, 0.42, 0.45]])


def compose(rng: np.random.Generator, patches: Sequence[FloatArray], size_px: int) -> Tile:
    """One tile of ``size_px`` px with 0 to ~90 red cells, white cells, platelets and dirt."""
    scene = Scene(rng, size_px)
    zoom = float(np.exp(rng.normal() * 0.25))
    diameter = NOMINAL_DIAMETER_PX * float(np.clip(zoom, 0.55, 1.8))
    centres = lay_out(rng, size_px, diameter)
    if rng.random() < 0.45:
        for _ in range(int(rng.integers(1, 3))):
            x, y = rng.uniform(0, size_px, 2)
            clear = diameter * rng.uniform(0.8, 1.6)
            centres = [c for c in centres if (c[0] - x) ** 2 + (c[1] - y) ** 2 > clear**2]
            draw_white_cell(scene, float(x), float(y))
    spread = float(rng.uniform(0.02, 0.16))
    hollow = float(rng.choice([0.12, 0.3, 0.9], p=[0.4, 0.4, 0.2]))
    ovals = float(rng.choice([0.03, 0.12, 0.3, 0.8], p=[0.35, 0.3, 0.15, 0.2]))
    stain = STAINS[rng.integers(len(STAINS))] * np.exp(rng.normal(size=3) * 0.2)
    stain = stain * np.exp(rng.normal() * 0.4)
    fresh = rng.permutation(len(patches))
    for index, (x, y) in enumerate(centres):
        patch = _restained(rng, patches[int(fresh[index % len(fresh)])], stain, hollow)
        size = diameter * float(np.clip(np.exp(rng.normal() * spread), 0.6, 1.6))
        # The square root of long to short side: up to 2.7 in elliptocytosis.
        ratio = min(float(np.exp(abs(rng.normal()) * ovals / 2)), 1.65)
        scene.lay(patch, x, y, size * ratio, size / ratio)
    for _ in range(int(rng.integers(0, 8)) if rng.random() < 0.5 else 0):
        draw_platelet(scene, *rng.uniform(0, size_px, 2))
    return _finish(scene)


def _restained(
    rng: np.random.Generator, patch: FloatArray, stain: FloatArray, hollow: float
) -> FloatArray:
    """One cell unlike its neighbours: paler, darker, another tint, ringed, or full of pigment."""
    patch = patch.copy()
    patch[:, :, :3] *= (stain * np.exp(rng.normal() * 0.15)).astype(np.float32)
    lot = rng.random()
    if lot < 0.06:
        tint = np.exp(rng.normal(size=3) * 0.4).astype(np.float32)
        patch[:, :, :3] *= tint
    elif lot < 0.12:
        # Schizonts and old trophozoites: violet grains over the whole cell.
        for _ in range(int(rng.integers(3, 16))):
            x, y = rng.normal(size=2) * patch.shape[0] / 6 + patch.shape[0] / 2
            colour = np.array([0.5, 0.7, 0.3]) * rng.uniform(0.3, 1.5)
            radius = int(rng.integers(1, 4))
            dot = np.zeros(patch.shape[:2], np.float32)
            cv2.circle(dot, (int(x), int(y)), radius, 1.0, cv2.FILLED)
            patch[:, :, :3] += (dot * patch[:, :, 3])[:, :, None] * colour.astype(np.float32)
    elif lot < hollow:
        _hollow(rng, patch)
    return patch


def _hollow(rng: np.random.Generator, patch: FloatArray) -> None:
    """A pale centre, in places down to the colour of the empty slide, or a target's dark spot."""
    side = patch.shape[0]
    axis = (np.arange(side) + 0.5) / side * 2 - 1
    x, y = np.meshgrid(axis, axis)
    out = np.hypot(x - rng.normal() * 0.05, y - rng.normal() * 0.05)
    radius = rng.uniform(0.2, 0.65)
    pale = 1 / (1 + np.exp((out - radius) * 14))
    if rng.random() < 0.25:
        pale -= 0.9 / (1 + np.exp((out - radius / 2.5) * 18))
    patch[:, :, :3] *= (1 - rng.uniform(0.4, 1.0) * pale)[:, :, None].astype(np.float32)


def _finish(scene: Scene) -> Tile:
    rng, size = scene.rng, scene.size
    light = _light(rng, size)
    taken = scene.taken
    _dirt(rng, taken)
    picture = light * np.exp(-taken)
    if rng.random() < 0.25:
        # A bright rim where the edge of a cell bends light away.
        edge = cv2.GaussianBlur(scene.cover, (0, 0), 1.2) - scene.cover
        picture = picture * (1 + rng.uniform(0.1, 0.5) * np.clip(edge, 0, 1)[:, :, None])
    if rng.random() < 0.5:
        picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.3, 1.5)))
    noise = rng.normal(size=picture.shape) * rng.uniform(0, 5)
    count = len(scene.kinds)
    return Tile(
        image=np.clip(picture + noise, 0, 255).astype(np.uint8),
        boxes=np.array(scene.boxes, np.float32).reshape(-1, 4),
        kinds=np.array(scene.kinds, np.int64),
        cover=np.where(scene.cover > 0.5, 255, 0).astype(np.uint8),
        known=np.ones(count, np.bool_),
        complete=np.ones((size, size), np.bool_),
    )


def _light(rng: np.random.Generator, size: int) -> FloatArray:
    """The empty slide: any pale colour, uneven, now and then with a dark corner."""
    base = rng.uniform(120, 250) * np.exp(rng.normal(size=3) * 0.1)
    axis = np.linspace(-1, 1, size)
    x, y = np.meshgrid(axis, axis)
    slope = 1 + rng.normal() * 0.08 * x + rng.normal() * 0.08 * y
    if rng.random() < 0.15:
        far = np.hypot(x - rng.uniform(-1.5, 1.5), y - rng.uniform(-1.5, 1.5))
        slope = slope * np.clip(rng.uniform(1.6, 2.8) - far, 0.25, 1.0)
    cloud = cv2.resize(rng.normal(size=(6, 6)), (size, size), interpolation=cv2.INTER_CUBIC)
    shade = slope * (1 + cloud * rng.uniform(0, 0.04))
    return np.asarray(np.clip(base, 60, 255) * shade[:, :, None], np.float32)


def _dirt(rng: np.random.Generator, taken: FloatArray) -> None:
    """Scratches, hairs, scale bars and specks, in place; none of them is a cell."""
    size = taken.shape[0]
    for _ in range(int(rng.integers(0, 4)) if rng.random() < 0.35 else 0):
        marks = np.zeros((size, size), np.uint8)
        start, end = rng.integers(0, size, 2), rng.integers(0, size, 2)
        lot = rng.random()
        if lot < 0.4:
            cv2.line(marks, start.tolist(), end.tolist(), 255, int(rng.integers(1, 9)))
        elif lot < 0.7:
            cv2.circle(marks, start.tolist(), int(rng.integers(1, 3)), 255, cv2.FILLED)
        else:
            right = [int(start[0] + rng.integers(10, 40)), int(start[1])]
            cv2.line(marks, start.tolist(), right, 255, 1)
            cv2.putText(marks, str(rng.integers(5, 100)), start.tolist(), 0, 0.3, 255, 1)
        layer = cv2.GaussianBlur(
            marks.astype(np.float32) / 255, (0, 0), float(rng.uniform(0.3, 3.0))
        )
        # A scratch in the stain is brighter than the slide.
        sign = -0.25 if rng.random() < 0.25 else 1.0
        colour = sign * rng.uniform(0.1, 1.5) * rng.uniform(0.7, 1.3, 3)
        taken += layer[:, :, None] * colour.astype(np.float32)
