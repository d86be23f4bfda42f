"""Tiles of thin smear for the cell finder, composed of real red cells on drawn slides.

A red cell of the NIH set (background black, training patients only) becomes a patch of
absorbance: light multiplies (Beer-Lambert), so patches laid over each other look like overlapping
cells, and scaling the absorbance per channel restains the whole tile. White cells, platelets,
dirt and bad light are drawn. Everything is done at the network's own resolution.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.records import Image

FloatArray = NDArray[np.float32]

# A red cell is this many pixels across in what the finder's network sees.
NOMINAL_DIAMETER_PX = 20.0
PATCH_PX = 44

RED, WHITE, PLATELET = 0, 1, 2


@dataclass(frozen=True, eq=False)
class Tile:
    """One training picture with what it shows.

    Attributes:
        image: uint8 [S, S, 3] RGB.
        boxes: float32 [N, 4], (x0, y0, x1, y1) px, may leave the tile.
        kinds: int64 [N]: RED, WHITE or PLATELET.
        cover: uint8 [S, S]: 255 on red and white cells, 0 on empty slide, 128 unknown.
        known: bool [N]; False where a box is there but its extent is cut or doubtful.
        complete: bool [S, S]; False where cells may lie that no box names.
    """

    image: Image
    boxes: FloatArray
    kinds: NDArray[np.int64]
    cover: NDArray[np.uint8]
    known: NDArray[np.bool_]
    complete: NDArray[np.bool_] = field(repr=False)


def absorbing_patch(crop: Image) -> FloatArray:
    """A masked red-cell crop (background 0) as absorbance, 1 at the cell's own median per channel.

    Returns:
        float32 [PATCH_PX, PATCH_PX, 4]: relative absorbance per channel, then coverage 0-1.
    """
    mask = (crop.max(2) > 40).astype(np.uint8)
    # Compression leaves a dark seam along the edge of the black background.
    mask = cv2.erode(mask, np.ones((5, 5), np.uint8), borderValue=0)
    if mask.sum() < 100:
        mask = (crop.max(2) > 0).astype(np.uint8)
    light = np.maximum(np.percentile(crop[mask > 0], 97, axis=0), 40.0) * 1.06
    taken = np.clip(np.log(light[None, None] / np.maximum(crop, 8.0)), 0, None)
    taken = np.clip(taken / np.maximum(np.median(taken[mask > 0], axis=0), 0.06), 0, 6)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    stack = np.dstack([taken * mask[:, :, None], mask]).astype(np.float32)
    stack = stack[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    side = (PATCH_PX, PATCH_PX)
    return np.asarray(cv2.resize(stack, side, interpolation=cv2.INTER_AREA), np.float32)


class Scene:
    """A tile while it is being composed: absorbance adds up, truth is noted."""

    def __init__(self, rng: np.random.Generator, size_px: int) -> None:
        self.rng = rng
        self.size = size_px
        self.taken = np.zeros((size_px, size_px, 3), np.float32)
        self.cover = np.zeros((size_px, size_px), np.float32)
        self.boxes: list[tuple[float, float, float, float]] = []
        self.kinds: list[int] = []

    def lay(self, patch: FloatArray, x: float, y: float, wide: float, tall: float) -> None:
        """Lays a red cell of ``wide`` x ``tall`` px, turned at random, around (x, y)."""
        angle = float(self.rng.uniform(0, 2 * np.pi))
        cos, sin = np.cos(angle), np.sin(angle)
        turn = np.array([[cos, -sin], [sin, cos]]) @ np.diag([wide, tall]) / PATCH_PX
        if self.rng.random() < 0.5:
            turn[:, 0] *= -1
        reach = int(np.ceil(0.75 * max(wide, tall))) + 1
        x0, y0 = int(x) - reach, int(y) - reach
        shift = np.array([x - x0, y - y0]) - turn @ np.array([PATCH_PX / 2, PATCH_PX / 2])
        matrix = np.hstack([turn, shift[:, None]])
        side = 2 * reach + 1
        laid = cv2.warpAffine(patch, matrix, (side, side), flags=cv2.INTER_AREA)
        on = laid[:, :, 3] > 0.5
        if not on.any():
            return
        rows, columns = np.flatnonzero(on.any(1)), np.flatnonzero(on.any(0))
        self.note(x0 + columns[0], y0 + rows[0], x0 + columns[-1] + 1, y0 + rows[-1] + 1, RED)
        self.add(laid[:, :, :3], laid[:, :, 3], x0, y0)

    def add(self, taken: FloatArray, cover: FloatArray | None, x0: int, y0: int) -> None:
        """Adds absorbance [h, w, 3] and coverage [h, w] with the corner at (x0, y0), clipped."""
        height, width = taken.shape[:2]
        a, b = max(0, -y0), min(height, self.size - y0)
        c, d = max(0, -x0), min(width, self.size - x0)
        if a >= b or c >= d:
            return
        view = (slice(y0 + a, y0 + b), slice(x0 + c, x0 + d))
        self.taken[view] += taken[a:b, c:d]
        if cover is not None:
            np.maximum(self.cover[view], cover[a:b, c:d], out=self.cover[view])

    def note(self, x0: float, y0: float, x1: float, y1: float, kind: int) -> None:
        """Writes down a box of the truth, px."""
        self.boxes.append((float(x0), float(y0), float(x1), float(y1)))
        self.kinds.append(kind)


def _blob(rng: np.random.Generator, radius: float, rough: float) -> FloatArray:
    """A soft, uneven disc: float32 [h, w], 0-1."""
    side = int(np.ceil(2.6 * radius)) | 1
    axis = np.arange(side) - side // 2
    x, y = np.meshgrid(axis, axis)
    angle = np.arctan2(y, x)
    edge = np.ones_like(angle)
    for wave in range(2, 6):
        edge += rough * rng.normal() / wave * np.cos(wave * angle + rng.uniform(0, 6.3))
    distance = radius * np.clip(edge, 0.5, 1.5) - np.hypot(x, y)
    return np.asarray(1 / (1 + np.exp(-2.0 * distance)), np.float32)


def draw_platelet(scene: Scene, x: float, y: float) -> None:
    """A small purple thing of 0.08-0.3 cell diameters' radius, often on a red cell."""
    rng = scene.rng
    radius = NOMINAL_DIAMETER_PX * float(rng.uniform(0.06, 0.19))
    blob = _blob(rng, radius, 0.4)
    colour = np.array([0.55, 0.75, 0.3]) * rng.uniform(0.4, 1.6) * rng.uniform(0.8, 1.2, 3)
    x0, y0 = int(x) - blob.shape[1] // 2, int(y) - blob.shape[0] // 2
    scene.add(blob[:, :, None] * colour.astype(np.float32), None, x0, y0)
    scene.note(x - radius, y - radius, x + radius, y + radius, PLATELET)


def draw_white_cell(scene: Scene, x: float, y: float) -> None:
    """A white cell: pale, pink or blue body of 1.1-2.4 red cells across, one to five dark lobes."""
    rng = scene.rng
    radius = NOMINAL_DIAMETER_PX * float(rng.uniform(0.55, 1.2))
    body = _blob(rng, radius, 0.12)
    tints = np.array(
        [
            [0.1, 0.2, 0.1],
            [0.15, 0.45, 0.25],
            [0.4, 0.35, 0.1],
            [0.02, 0.06, 0.02],
            [0.04, 0.04, 0.02],
        ]
    )
    tint = tints[rng.integers(len(tints))] * rng.uniform(0.5, 1.6)
    grain = cv2.GaussianBlur(rng.normal(size=body.shape).astype(np.float32), (0, 0), 0.8)
    body_taken = body[:, :, None] * (1 + 0.6 * grain[:, :, None]) * tint.astype(np.float32)
    nucleus = np.zeros_like(body)
    middle = body.shape[0] // 2
    lobes = int(rng.integers(1, 6))
    size = radius * (rng.uniform(0.6, 0.95) if lobes == 1 else rng.uniform(0.22, 0.45))
    for _ in range(lobes):
        lobe = _blob(rng, size, 0.25)
        away = 0.0 if lobes == 1 else radius * float(rng.uniform(0.25, 0.72))
        turn = float(rng.uniform(0, 6.3))
        cx = int(middle + away * np.cos(turn)) - lobe.shape[1] // 2
        cy = int(middle + away * np.sin(turn)) - lobe.shape[0] // 2
        _maximum_into(nucleus, lobe, cx, cy)
    colour = np.array([0.95, 1.25, 0.35]) * rng.uniform(0.5, 1.4) * rng.uniform(0.75, 1.25, 3)
    texture = 1 + 0.25 * grain[:, :, None]
    taken = np.maximum(body_taken, (nucleus * body)[:, :, None] * texture * colour)
    corner = (int(x) - middle, int(y) - middle)
    scene.add(np.asarray(taken, np.float32), body, *corner)
    rows, columns = np.flatnonzero((body > 0.5).any(1)), np.flatnonzero((body > 0.5).any(0))
    x0, y0 = corner
    scene.note(x0 + columns[0], y0 + rows[0], x0 + columns[-1] + 1, y0 + rows[-1] + 1, WHITE)


def _maximum_into(canvas: FloatArray, part: FloatArray, x0: int, y0: int) -> None:
    height, width = part.shape
    a, b = max(0, -y0), min(height, canvas.shape[0] - y0)
    c, d = max(0, -x0), min(width, canvas.shape[1] - x0)
    if a < b and c < d:
        view = (slice(y0 + a, y0 + b), slice(x0 + c, x0 + d))
        np.maximum(canvas[view], part[a:b, c:d], out=canvas[view])


def lay_out(rng: np.random.Generator, size_px: int, diameter: float) -> list[tuple[float, float]]:
    """Cell centres (x, y) px: scattered, crowded, in rouleaux, or none; never on one another.

    Equal discs 0.35 diameters apart have boxes of IoU 0.5: nearer centres could not be told.
    """
    margin = diameter
    centres: list[tuple[float, float]] = []
    gap = diameter * float(rng.choice([1.02, 0.9, 0.7, 0.5], p=[0.35, 0.35, 0.2, 0.1]))
    tries = int(rng.choice([3, 20, 60, 120, 200], p=[0.05, 0.2, 0.3, 0.3, 0.15]))
    chains = rng.random() < 0.3
    if chains:
        tries //= 3
    for _ in range(tries):
        x, y = rng.uniform(-margin, size_px + margin, 2)
        links = int(rng.integers(2, 7)) if chains else 1
        turn, step = rng.uniform(0, 6.3), diameter * rng.uniform(0.42, 0.9)
        for _ in range(links):
            near = 0.42 * diameter if chains else gap
            if all((x - a) ** 2 + (y - b) ** 2 > near**2 for a, b in centres):
                centres.append((float(x), float(y)))
            turn += rng.normal() * 0.35
            x, y = x + step * np.cos(turn), y + step * np.sin(turn)
    return centres
