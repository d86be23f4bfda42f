"""What surrounds a cell in a field and what a segmenter leaves of it: masks, neighbours, dirt.

A neighbour is the cell itself, turned: same slide, same stain, and a healthy cell never gets a
piece of somebody else's parasite.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.records import Image
from edge_malaria.training.classifier.platelets import with_platelet

Floats = NDArray[np.float32]

# Re-encoded crops have a black background up to a few grey levels of coding noise.
BLACK_LEVEL = 24
# Light that passes beside the cells, in grey levels: overlapping cells multiply their transmission.
CLEAR_LIGHT = 235.0


@dataclass(frozen=True)
class Scenery:
    """Probabilities a cell.

    Attributes:
        specks: grey dirt, which is no parasite.
        platelet: a platelet or a shred of stain clings to its edge.
        overlap: another cell lies over its edge.
        mask_jitter: an eroded mask.
        hole: a hole in the mask's middle, as pale centres get.
        fragment: a piece of a neighbour left in the mask.
        background: visible background (dilated or missing mask), maybe with a neighbour.
        cut: straight edges, where a segmenter parted touching cells.
    """

    specks: float = 0.08
    platelet: float = 0.2
    overlap: float = 0.12
    mask_jitter: float = 0.2
    hole: float = 0.04
    fragment: float = 0.15
    background: float = 0.22
    cut: float = 0.2


def brightest(images: Image) -> NDArray[np.bool_]:
    """Where any channel is above ``BLACK_LEVEL``; ``max(axis=-1)`` over three numbers is slow."""
    pair = np.maximum(images[..., 0], images[..., 1])
    return np.asarray(np.maximum(pair, images[..., 2]) > np.uint8(BLACK_LEVEL))


def cell_mask(image: Image) -> NDArray[np.uint8]:
    """uint8 [S, S], 1 on the cell of an input with black background."""
    return brightest(image).view(np.uint8)


def set_in_scene(image: Image, rng: np.random.Generator, strength: Scenery) -> Image:
    """One cell, uint8 [S, S, 3] on black, with dirt, neighbours and another mask."""
    if rng.random() < strength.specks:
        image = _with_specks(image, rng)
    if rng.random() < strength.platelet:
        image = with_platelet(image, cell_mask(image), rng)
    if rng.random() < strength.overlap:
        image = _overlapped(image, rng)
    image = _remasked(image, rng, strength)
    if rng.random() < strength.cut:
        image = _cut(image, rng)
    return image


def _remasked(image: Image, rng: np.random.Generator, strength: Scenery) -> Image:
    draw = rng.random()
    if draw < strength.mask_jitter:
        kept = cv2.erode(cell_mask(image), _disc(int(rng.integers(1, 4))))
        return np.asarray(image * kept[:, :, None], np.uint8)
    draw -= strength.mask_jitter
    if draw < strength.hole:
        return _with_hole(image, rng)
    draw -= strength.hole
    if draw < strength.fragment:
        black: Floats = np.zeros(image.shape, np.float32)
        return _whole(_laid_over(_laid_over(black, _neighbour(image, rng)), image))
    if draw - strength.fragment < strength.background:
        return _with_background(image, rng)
    return image


def _whole(image: Floats) -> Image:
    whole: Image = image.astype(np.uint8)
    return whole


def _disc(radius: int) -> NDArray[np.uint8]:
    side = 2 * radius + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)


def _with_specks(image: Image, rng: np.random.Generator) -> Image:
    size = image.shape[0]
    dirt: Floats = np.zeros((size, size), np.float32)
    for _ in range(int(rng.integers(1, 5))):
        place = rng.uniform(0.15, 0.85, 2) * size
        axes = rng.uniform(0.6, 2.2, 2)
        centre = (int(place[0] * 16), int(place[1] * 16))
        radii = (int(axes[0] * 16), int(axes[1] * 16))
        cv2.ellipse(dirt, centre, radii, 0.0, 0.0, 360.0, rng.uniform(0.5, 1.0), -1, 8, 4)
    alpha = cv2.GaussianBlur(dirt, (3, 3), 0.7) * cell_mask(image)
    grey = rng.uniform(5, 70)
    mixed = image * (1.0 - alpha[:, :, None]) + grey * alpha[:, :, None]
    return _whole(np.asarray(mixed, np.float32))


def _with_hole(image: Image, rng: np.random.Generator) -> Image:
    size = image.shape[0]
    kept: NDArray[np.uint8] = np.ones((size, size), np.uint8)
    centre = (size / 2 + rng.uniform(-0.12, 0.12, 2) * size).astype(int).tolist()
    radii = rng.integers(1, 7, 2).tolist()
    cv2.ellipse(kept, centre, radii, rng.uniform(0, 180), 0.0, 360.0, 0, -1)
    return np.asarray(image * kept[:, :, None], np.uint8)


def _neighbour(image: Image, rng: np.random.Generator) -> Image:
    """The cell itself, turned and moved nearly a diameter away."""
    size = image.shape[0]
    turned = np.ascontiguousarray(np.rot90(image, int(rng.integers(4)))[:, ::-1])
    direction = rng.uniform(0.0, 2.0 * np.pi)
    distance = rng.uniform(0.7, 1.0) * size
    shift = np.array([[1, 0, distance * np.cos(direction)], [0, 1, distance * np.sin(direction)]])
    return np.asarray(cv2.warpAffine(turned, shift, (size, size)), np.uint8)


def _overlapped(image: Image, rng: np.random.Generator) -> Image:
    """Another cell over the edge: where both lie, light passes through both."""
    other = _neighbour(image, rng)
    inner = cv2.erode(cell_mask(other), _disc(1))[:, :, None]
    through: Floats = np.where(inner > 0, other / CLEAR_LIGHT, 1.0)
    return _whole(np.minimum(image * through, 255.0))


def _with_background(image: Image, rng: np.random.Generator) -> Image:
    """The cell on a light background, maybe with a neighbour, behind a loose mask or none."""
    shade = np.clip(rng.uniform(165, 250) + rng.normal(0.0, 12.0, 3), 90, 255)
    scene: Floats = np.full(image.shape, shade, np.float32)
    if rng.random() < 0.6:
        scene = _laid_over(scene, _neighbour(image, rng))
    scene = _laid_over(scene, image)
    if rng.random() < 0.5:
        loose = cv2.dilate(cell_mask(image), _disc(int(rng.integers(1, 6))))
        scene = scene * loose[:, :, None]
    return _whole(scene)


def _laid_over(scene: Floats, image: Image) -> Floats:
    # The outermost pixels are mixed with the black around the crop: a rim that no cell has.
    inner = cv2.erode(cell_mask(image), _disc(1)).astype(np.float32)
    alpha = np.asarray(cv2.GaussianBlur(inner, (3, 3), 0.8), np.float32)[:, :, None]
    return np.asarray(scene * (1.0 - alpha) + image * alpha, np.float32)


def _cut(image: Image, rng: np.random.Generator) -> Image:
    """Straight edges on one to three sides, then tight and full-size again, as the device cuts."""
    size = image.shape[0]
    along = np.arange(size, dtype=np.float32) - (size - 1) / 2
    kept: NDArray[np.bool_] = brightest(image)
    for _ in range(int(rng.integers(1, 4))):
        direction = rng.uniform(0.0, 2.0 * np.pi)
        reach = along[None, :] * np.cos(direction) + along[:, None] * np.sin(direction)
        kept = kept & (reach < rng.uniform(0.35, 0.5) * size)
    rows, columns = np.flatnonzero(kept.any(axis=1)), np.flatnonzero(kept.any(axis=0))
    if len(rows) < size // 2 or len(columns) < size // 2:
        return image
    part = (image * kept[:, :, None])[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.asarray(cv2.resize(part, (size, size), interpolation=cv2.INTER_LINEAR), np.uint8)
