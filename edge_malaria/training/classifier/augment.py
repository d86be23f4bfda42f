"""Augmentation that fits smears: what another microscope, stain, hand or segmenter would change.

NumPy and OpenCV only, so that every training backend uses the same. A batch is deterministic in
its generator.

- geometry: flips, quarter turns, small rotation, stretch, zoom and shift;
- stain: a random affine map in optical density (Beer-Lambert), where a 3 x 3 matrix mixes the
  channels (hue, saturation, gamma) and an offset is exposure and white balance; strong for a share
  of the cells, because other laboratories' slides are violet, slate or grey;
- optics: blur, JPEG, sensor noise;
- central pallor;
- what surrounds the cell and what a segmenter leaves of it: see ``scenery``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.records import Image
from edge_malaria.training.classifier.scenery import Scenery, brightest, cell_mask, set_in_scene

Batch = NDArray[np.float32]

_OPTICAL_DENSITY = -np.log(np.maximum(np.arange(256), 1) / 255.0).astype(np.float32)


@dataclass(frozen=True)
class Augmentation:
    """Strengths; probabilities are per cell, sigmas in the unit named.

    Attributes:
        rotation_deg, stretch, shift_px: geometry (uniform, log-normal sigma, uniform).
        stain_sigma: entries of the density matrix around the identity.
        strong_stain: share of cells with 2.5 times that and a random overall density.
        exposure_sigma, balance_sigma: density offset common to / separate for the channels.
        blur, jpeg, noise: probabilities.
        density_sigma: log-normal sigma of a strong cell's overall density.
        pallor: probability of a paler centre.
        plain: share of cells that are only turned and moved, as the training slides were taken.
        scenery: masks, neighbours and dirt.
    """

    rotation_deg: float = 20.0
    stretch: float = 0.07
    shift_px: float = 2.0
    stain_sigma: float = 0.08
    strong_stain: float = 0.3
    exposure_sigma: float = 0.10
    balance_sigma: float = 0.05
    blur: float = 0.2
    jpeg: float = 0.1
    noise: float = 0.3
    density_sigma: float = 0.45
    pallor: float = 0.25
    plain: float = 0.0
    scenery: Scenery = field(default_factory=Scenery)


def augment(batch: Image, rng: np.random.Generator, strength: Augmentation) -> Batch:
    """One randomly changed copy of each cell.

    Args:
        batch: uint8 [N, S, S, 3] RGB with black background; never changed.
        rng: decides everything.
        strength: how much.

    Returns:
        float32 [N, S, S, 3], whole numbers 0-255.
    """
    moved = np.stack([_geometry(image, rng, strength) for image in batch])
    changed = moved.astype(np.float32)
    chosen = rng.random(len(batch)) >= strength.plain
    if chosen.any():
        stained = _stain(moved[chosen], rng, strength)
        scenes = [set_in_scene(image, rng, strength.scenery) for image in stained]
        changed[chosen] = np.stack([_optics(image, rng, strength) for image in scenes])
    return changed


def _geometry(image: Image, rng: np.random.Generator, strength: Augmentation) -> Image:
    size = image.shape[0]
    image = np.rot90(image, int(rng.integers(4)))
    if rng.random() < 0.5:
        image = image[:, ::-1]
    angle = np.deg2rad(rng.uniform(-strength.rotation_deg, strength.rotation_deg))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.diag(np.exp(rng.normal(0.0, strength.stretch, 2)))
    centre = np.full(2, (size - 1) / 2)
    shift = centre - linear @ centre + rng.uniform(-strength.shift_px, strength.shift_px, 2)
    matrix = np.column_stack([linear, shift])
    return np.asarray(cv2.warpAffine(np.ascontiguousarray(image), matrix, (size, size)), np.uint8)


def _stain(batch: Image, rng: np.random.Generator, strength: Augmentation) -> Image:
    count, size = batch.shape[:2]
    strong = rng.random(count) < strength.strong_stain
    sigma = strength.stain_sigma * np.where(strong, 2.5, 1.0)
    matrix = np.eye(3) + rng.normal(size=(count, 3, 3)) * sigma[:, None, None]
    density = np.where(strong, np.exp(rng.normal(0.0, strength.density_sigma, count)), 1.0)
    matrix *= density[:, None, None]
    offset = rng.normal(0.0, strength.exposure_sigma, (count, 1)) + rng.normal(
        0.0, strength.balance_sigma, (count, 3)
    )
    flat = _OPTICAL_DENSITY[batch].reshape(count, size * size, 3)
    flat = flat * _pallor(count, size, rng, strength).reshape(count, size * size, 1)
    changed = flat @ matrix.transpose(0, 2, 1).astype(np.float32)
    changed += offset[:, None, :].astype(np.float32)
    values = 255.0 * np.exp(-np.clip(changed, 0.0, 6.0))
    on_cell = brightest(batch)
    values *= on_cell.reshape(count, size * size, 1)
    return np.asarray(values.reshape(batch.shape), np.uint8)


def _pallor(
    count: int, size: int, rng: np.random.Generator, strength: Augmentation
) -> NDArray[np.float32]:
    """Factor on optical density, [N, S, S]: below 1 in a cell's middle where it is paler."""
    depth = np.where(rng.random(count) < strength.pallor, rng.uniform(0.1, 0.7, count), 0.0)
    width = rng.uniform(0.12, 0.3, count) * size
    centre = (size - 1) / 2 + rng.uniform(-0.1, 0.1, (2, count)) * size
    along = np.arange(size, dtype=np.float32)
    down = (along[None, :] - centre[0][:, None]) ** 2
    across = (along[None, :] - centre[1][:, None]) ** 2
    distance = down[:, :, None] + across[:, None, :]
    pale = depth > 0
    bump = np.exp(-distance[pale] / (2.0 * width[pale, None, None] ** 2))
    factor: NDArray[np.float32] = np.ones((count, size, size), np.float32)
    factor[pale] = 1.0 - depth[pale, None, None] * bump
    return factor


def _optics(image: Image, rng: np.random.Generator, strength: Augmentation) -> Image:
    if rng.random() < strength.blur:
        image = np.asarray(cv2.GaussianBlur(image, (5, 5), rng.uniform(0.3, 1.2)), np.uint8)
    if rng.random() < strength.jpeg:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 95))]
        coded = cv2.imencode(".jpg", image, quality)[1]
        image = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    if rng.random() < strength.noise:
        noise = rng.normal(0.0, rng.uniform(0.5, 4.0), image.shape)
        on_cell = cell_mask(image)[:, :, None]
        image = np.clip(image + noise * on_cell, 0, 255).astype(np.uint8)
    return image
