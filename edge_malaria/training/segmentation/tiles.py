"""What the segmenting network is trained on: the finder's own tiles, with classes for every pixel.

The tiles are those of the learned cell finder (``finder_source``): composed of real red cells of
training patients, and windows of the fields that may be fitted on; beside them drawn fields, the
only ones where every parasite is known. A tile's truth is packed into one byte a pixel, one bit for
each class that the pixel may have.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.records import Image
from edge_malaria.synthetic import SmearTruth, draw_field
from edge_malaria.training.finder import scenes as finder_scenes
from edge_malaria.training.finder.compose import compose
from edge_malaria.training.finder.data import LARGEST_DIAMETER_PX, TruthField, real_tile
from edge_malaria.training.finder.drawn import FIRST_TRAINING_SEED, KINDS, drawn_truth
from edge_malaria.training.finder.scenes import FloatArray, Tile
from edge_malaria.training.finder.tile_source import TILE_PX, FinderPlan, TileSource
from edge_malaria.training.segmentation.semantic_finder import (
    BACKGROUND,
    BOUNDARY,
    INNER_SHARE,
    PARASITE,
    PIXEL_CLASSES,
    RED,
    WHITE,
)

Packed = NDArray[np.uint8]

# In a tile's cover map, where parasites are known: a parasite, and a cell that is none there.
COVER_PARASITE, COVER_PLAIN = 200, 250
# A second cell whose edge a pixel is about as near to makes it boundary, too.
BETWEEN = 0.25
ALL = (1 << len(PIXEL_CLASSES)) - 1
ANY_CELL = ALL & ~(1 << BACKGROUND)
ANY_RED = (1 << RED) | (1 << PARASITE)


def pixel_truth(tile: Tile) -> Packed:
    """uint8 [S, S]: bit k set where the pixel may be ``PIXEL_CLASSES[k]``."""
    cover = tile.cover
    nearest, second, owner = _nearest_cells(tile)
    truth = np.full(cover.shape, ALL, np.uint8)
    truth[cover == 0] = 1 << BACKGROUND
    cell = cover >= COVER_PARASITE
    truth[cell] = np.where(tile.complete, ANY_CELL & ~(1 << WHITE), ANY_CELL)[cell]
    named = cell & (nearest < 1.2)
    for index, (kind, known) in enumerate(zip(tile.kinds, tile.known, strict=True)):
        mine = named & (owner == index)
        if not known:
            truth[mine] = ANY_CELL
        elif kind == finder_scenes.WHITE:
            truth[mine] = 1 << WHITE
        else:
            truth[mine] = ANY_RED
            truth[mine & (cover == COVER_PLAIN)] = 1 << RED
            truth[mine & (cover == COVER_PARASITE)] = 1 << PARASITE
    edge = (nearest >= INNER_SHARE) | ((second < 1.0) & (second - nearest < BETWEEN))
    sure = np.append(tile.known, False)[owner]
    # A parasite at the edge of its cell stays a parasite.
    truth[named & edge & sure & (cover != COVER_PARASITE)] = 1 << BOUNDARY
    return truth


def _nearest_cells(tile: Tile) -> tuple[FloatArray, FloatArray, NDArray[np.int64]]:
    """Distance to the nearest and the second red or white cell, in their radii, and whose."""
    side = tile.image.shape[0]
    centre = np.asarray(np.arange(side) + 0.5, np.float32)
    nearest = np.full((side, side), np.inf, np.float32)
    second = nearest.copy()
    owner = np.full((side, side), len(tile.kinds), np.int64)
    for index, (box, kind) in enumerate(zip(tile.boxes, tile.kinds, strict=True)):
        x0, y0, x1, y1 = (float(value) for value in box)
        if kind == finder_scenes.PLATELET or x1 <= x0 or y1 <= y0:
            continue
        x = ((centre - (x0 + x1) / 2) * 2 / (x1 - x0))[None, :]
        y = ((centre - (y0 + y1) / 2) * 2 / (y1 - y0))[:, None]
        far = np.hypot(x, y)
        closer = far < nearest
        second = np.where(closer, nearest, np.minimum(second, far))
        owner[closer] = index
        nearest = np.where(closer, far, nearest)
    return nearest, second, owner


def unpacked(packed: Packed) -> NDArray[np.float32]:
    """uint8 [..., H, W] -> float32 [..., H, W, 5], 1 for each class that is allowed."""
    bits = np.arange(len(PIXEL_CLASSES), dtype=np.uint8)
    return ((packed[..., None] >> bits) & 1).astype(np.float32)


@dataclass(frozen=True, eq=False)
class SegmentationSource(TileSource):
    """The finder's tiles with a class for every pixel.

    Attributes:
        drawn: drawn fields, parasites marked.
        drawn_share: of the tiles; the rest is divided as the finder's are.
    """

    drawn: list[TruthField] | None = None
    drawn_share: float = 0.3

    def chunk(self, plan: FinderPlan, index: int) -> tuple[Image, Packed]:  # type: ignore[override]
        """Tiles and truth of chunk ``index``; the same for the same plan."""
        rng = np.random.default_rng((plan.seed, 1, index))
        count = plan.batch * plan.chunk
        pictures = np.empty((count, TILE_PX, TILE_PX, 3), np.uint8)
        wanted = np.empty((count, TILE_PX, TILE_PX), np.uint8)
        for number in range(count):
            tile = self._tile(rng, plan)
            pictures[number], wanted[number] = tile.image, pixel_truth(tile)
        return pictures, wanted

    def _tile(self, rng: np.random.Generator, plan: FinderPlan) -> Tile:
        if self.drawn and rng.random() < self.drawn_share:
            return real_tile(rng, self.drawn[rng.integers(len(self.drawn))], TILE_PX)
        if self.fields and rng.random() < plan.real_share:
            return real_tile(rng, self.fields[rng.integers(len(self.fields))], TILE_PX)
        hand = self.patches[rng.integers(len(self.patches), size=60)]
        return compose(rng, list(hand.astype(np.float32)), TILE_PX)


def with_parasites(image: Image, truth: SmearTruth, diameter_px: float) -> TruthField:
    """A drawn field with its parasites: each the ellipse in its box."""
    field = drawn_truth(image, truth, diameter_px, COVER_PLAIN)
    for thing in truth.objects:
        for x0, y0, x1, y1 in thing.parasite_boxes if thing.cell_kind in KINDS else ():
            centre, axes = ((x0 + x1) * 8, (y0 + y1) * 8), ((x1 - x0) * 8, (y1 - y0) * 8)
            cv2.ellipse(field.cover, centre, axes, 0, 0, 360, COVER_PARASITE, cv2.FILLED, shift=4)
    return field


def drawn_parasites(count: int) -> list[TruthField]:
    """Drawn fields of every stain in which one cell of four is infected; training seeds."""
    found = []
    for number in range(count):
        seed = FIRST_TRAINING_SEED + 50_000 + number
        rng = np.random.default_rng(seed)
        image, truth = draw_field(
            seed,
            width_px=480,
            height_px=360,
            cell_diameter_px=LARGEST_DIAMETER_PX,
            parasitemia=0.25,
            density=float(rng.uniform(0.1, 0.6)),
            overlap=float(rng.uniform(0.0, 0.6)),
            defocus_px=float(rng.uniform(0.0, 1.0)),
        )
        found.append(with_parasites(image, truth, LARGEST_DIAMETER_PX))
    return found
