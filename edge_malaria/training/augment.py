"""Augmentation that fits smears: what another microscope, stain, hand or segmenter would change.

NumPy and OpenCV only, so that every training backend uses the same. A batch is deterministic in
its generator.

- geometry: flips, quarter turns, small rotation, stretch, zoom and shift;
- stain: a random affine map in optical density (Beer-Lambert), where a 3 x 3 matrix mixes the
  channels (hue, saturation, gamma) and an offset is exposure and white balance; strong for a share
  of the cells, because other laboratories' slides are violet, slate or grey;
- optics: blur, JPEG, sensor noise;
- mask: eroded, with a hole where the centre is pale, with a piece of a neighbour left in, dilated
  with background showing, or missing;
- the cell itself: central pallor, and neutral dark specks of dirt, which are no parasites.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.records import Image

Batch = NDArray[np.float32]

# Re-encoded crops have a black background up to a few grey levels of coding noise.
BLACK_LEVEL = 24
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
        specks: probability of grey dirt.
        mask_jitter: probability of an eroded mask.
        hole: probability of a hole in the mask's middle.
        fragment: probability of a piece of a neighbour on black background.
        background: probability of visible background (dilated or missing mask).
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
    specks: float = 0.08
    mask_jitter: float = 0.2
    hole: float = 0.05
    fragment: float = 0.15
    background: float = 0.2


def cell_mask(image: Image) -> NDArray[np.uint8]:
    """uint8 [S, S], 1 on the cell of an input with black background."""
    return _brightest(image, np.uint8(BLACK_LEVEL)).view(np.uint8)


def _brightest(images: Image, level: np.uint8) -> NDArray[np.bool_]:
    """Where any channel is above ``level``; ``max(axis=-1)`` over three numbers is slow."""
    pair = np.maximum(images[..., 0], images[..., 1])
    return np.asarray(np.maximum(pair, images[..., 2]) > level)


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
    stained = _stain(moved, rng, strength)
    masked = np.stack([_mask(stained, index, rng, strength) for index in range(len(stained))])
    return np.stack([_optics(image, rng, strength) for image in masked]).astype(np.float32)


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
    on_cell = _brightest(batch, np.uint8(BLACK_LEVEL))
    values *= on_cell.reshape(count, size * size, 1)
    return np.asarray(values.reshape(batch.shape), np.uint8)


def _whole(image: NDArray[np.float32]) -> Image:
    whole: Image = image.astype(np.uint8)
    return whole


def _disc(radius: int) -> NDArray[np.uint8]:
    side = 2 * radius + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)


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


def _mask(batch: Image, index: int, rng: np.random.Generator, strength: Augmentation) -> Image:
    """One cell of the batch with dirt and another mask."""
    image: Image = batch[index]
    neighbour = batch[int(rng.integers(len(batch)))]
    if rng.random() < strength.specks:
        image = _with_specks(image, rng)
    draw = rng.random()
    if draw < strength.mask_jitter:
        kept = cv2.erode(cell_mask(image), _disc(int(rng.integers(1, 4))))
        return np.asarray(image * kept[:, :, None], np.uint8)
    draw -= strength.mask_jitter
    if draw < strength.hole:
        return _with_hole(image, rng)
    draw -= strength.hole
    if draw < strength.fragment:
        black: NDArray[np.float32] = np.zeros(image.shape, np.float32)
        return _whole(_laid_over(_neighbour_on(black, neighbour, rng), image))
    if draw - strength.fragment < strength.background:
        return _with_background(image, neighbour, rng)
    return image


def _with_specks(image: Image, rng: np.random.Generator) -> Image:
    size = image.shape[0]
    dirt: NDArray[np.float32] = np.zeros((size, size), np.float32)
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


def _neighbour_on(
    scene: NDArray[np.float32], neighbour: Image, rng: np.random.Generator
) -> NDArray[np.float32]:
    size = neighbour.shape[0]
    direction = rng.uniform(0.0, 2.0 * np.pi)
    distance = rng.uniform(0.72, 1.0) * size
    shift = np.array([[1, 0, distance * np.cos(direction)], [0, 1, distance * np.sin(direction)]])
    return _laid_over(scene, np.asarray(cv2.warpAffine(neighbour, shift, (size, size))))


def _with_background(image: Image, neighbour: Image, rng: np.random.Generator) -> Image:
    """The cell on a light background, maybe with a neighbour, behind a loose mask or none."""
    shade = np.clip(rng.uniform(165, 250) + rng.normal(0.0, 12.0, 3), 90, 255)
    scene: NDArray[np.float32] = np.full(image.shape, shade, np.float32)
    if rng.random() < 0.6:
        scene = _neighbour_on(scene, neighbour, rng)
    scene = _laid_over(scene, image)
    if rng.random() < 0.5:
        loose = cv2.dilate(cell_mask(image), _disc(int(rng.integers(1, 6))))
        scene = scene * loose[:, :, None]
    return _whole(scene)


def _laid_over(scene: NDArray[np.float32], image: Image) -> NDArray[np.float32]:
    mask = cell_mask(image)
    edge = cv2.GaussianBlur(mask.astype(np.float32), (3, 3), 0.8) * mask
    alpha = np.asarray(edge, np.float32)[:, :, None]
    return np.asarray(scene * (1.0 - alpha) + image * alpha, np.float32)


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
