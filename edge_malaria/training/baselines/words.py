"""Bag of features: a cell as a histogram of visual words.

Csurka et al., "Visual categorization with bags of keypoints", ECCV workshop 2004. Descriptors are
dense SIFT (Lowe, IJCV 60(2), 2004) on a grid over the cell, as RootSIFT (Arandjelovic, Zisserman,
CVPR 2012), with the patch's mean colour appended: a parasite is a matter of stain as much as of
edges. The codebook is fitted on training cells only.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.errors import MissingExtra
from edge_malaria.records import Image
from edge_malaria.training.baselines.features import cell_mask

Floats = NDArray[np.float32]

SIDE_PX = 64
GRID_PX = 6
PATCH_PX = 10
WORDS = 256
# Of each training cell so many descriptors enter the codebook's fitting, of so many cells at most.
DESCRIPTORS_PER_CELL = 20
CODEBOOK_CELLS = 4000
COLOUR_WEIGHT = 0.5
DESCRIPTOR = 128 + 3


@cache
def _sift() -> Any:
    return cv2.SIFT.create()


def descriptors(image: Image) -> Floats:
    """Descriptors of one cell, float32 [D, DESCRIPTOR]; D may be 0 on a tiny cell.

    Args:
        image: uint8 [SIDE_PX, SIDE_PX, 3] RGB, background black.
    """
    mask = cell_mask(image)
    places = range(GRID_PX, image.shape[0] - GRID_PX + 1, GRID_PX)
    points = [cv2.KeyPoint(float(x), float(y), PATCH_PX) for y in places for x in places]
    points = [point for point in points if mask[int(point.pt[1]), int(point.pt[0])]]
    if not points:
        return np.zeros((0, DESCRIPTOR), np.float32)
    kept, found = _sift().compute(np.ascontiguousarray(image[:, :, 1]), points)
    if found is None or len(kept) == 0:
        return np.zeros((0, DESCRIPTOR), np.float32)
    root = np.sqrt(found / np.maximum(found.sum(axis=1, keepdims=True), 1e-6))
    mean = cv2.blur(image, (PATCH_PX, PATCH_PX))
    colour = [mean[int(point.pt[1]), int(point.pt[0])] for point in kept]
    return np.hstack([root, np.asarray(colour, np.float32) * (COLOUR_WEIGHT / 64.0)])


def fit_codebook(cells: Image, seed: int = 0, words: int = WORDS) -> Floats:
    """Visual words from training cells by mini-batch k-means, float32 [words, DESCRIPTOR].

    Args:
        cells: uint8 [N, SIDE_PX, SIDE_PX, 3].
        seed: of the choice of cells and descriptors and of the start.
        words: at most; fewer where there are fewer descriptors.

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    try:
        from sklearn.cluster import MiniBatchKMeans
    except ImportError as error:
        raise MissingExtra("scikit-learn", "train") from error
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(cells))[:CODEBOOK_CELLS]
    parts = []
    for index in chosen:
        found = descriptors(cells[index])
        parts.append(found[rng.permutation(len(found))[:DESCRIPTORS_PER_CELL]])
    sample = np.concatenate(parts)
    means = MiniBatchKMeans(min(words, len(sample)), random_state=seed, n_init=1, batch_size=4096)
    return np.asarray(means.fit(sample).cluster_centers_, np.float32)


def histograms(cells: Sequence[Image] | Image, codebook: Floats) -> Floats:
    """Share of each word among a cell's descriptors, float32 [N, words]; all 0 without any."""
    table = np.zeros((len(cells), len(codebook)), np.float32)
    norms = (codebook**2).sum(axis=1)
    for index, image in enumerate(cells):
        found = descriptors(image)
        if len(found):
            nearest = np.argmin(norms - 2.0 * found @ codebook.T, axis=1)
            table[index] = np.bincount(nearest, minlength=len(codebook)) / len(found)
    return table
