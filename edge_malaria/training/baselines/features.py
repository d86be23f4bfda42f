"""Features by hand: colour, texture and shape of one masked cell -> ``FEATURES`` numbers.

Colour and texture are measured on the cell drawn into ``SIDE_PX`` squares by ``preprocess``, so
that a coarser copy of the same cell gives nearly the same texture; shape on the crop itself.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.data.dataset import Dataset
from edge_malaria.files import write_bytes
from edge_malaria.prepare.preprocess import CONTRACT_STEPS, network_input
from edge_malaria.records import Image, Mask, expect_image
from edge_malaria.training.baselines import texture

Floats = NDArray[np.float32]

VERSION = 1
SIDE_PX = 64
# Background is black; a re-encoded picture has it at a few grey levels.
BACKGROUND_LEVEL = 8
PERCENTILES = (2, 10, 50, 90, 98)
BINS = 8
COLOUR_SPACES = (
    ("rgb", "rgb", None),
    ("hsv", "hsv", cv2.COLOR_RGB2HSV),
    ("lab", "lab", cv2.COLOR_RGB2LAB),
)


def cell_mask(crop: Image) -> Mask:
    """bool [H, W]: the largest connected part above the background, holes filled.

    All True where nothing is above the background: a black crop has features too.
    """
    red, green, blue = cv2.split(crop)
    above = (cv2.max(cv2.max(red, green), blue) > BACKGROUND_LEVEL).astype(np.uint8)
    outlines, _ = cv2.findContours(above, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return np.ones(crop.shape[:2], np.bool_)
    largest = max(outlines, key=cv2.contourArea)
    filled = np.zeros(crop.shape[:2], np.uint8)
    cv2.drawContours(filled, [largest], -1, 1, cv2.FILLED)
    return filled.astype(np.bool_)


def _statistics(values: Floats) -> Floats:
    """Mean, standard deviation, skewness and percentiles of each row: [C, P] -> [C, 8]."""
    mean = values.mean(axis=1, keepdims=True)
    away = values - mean
    square = away * away
    spread = np.sqrt(square.mean(axis=1))
    third = (square * away).mean(axis=1)
    skewness = third / np.maximum(spread, 1e-3) ** 3 * (spread > 1e-3)
    places = np.rint(np.array(PERCENTILES) / 100.0 * (values.shape[1] - 1)).astype(np.int64)
    ranks = np.sort(values, axis=1)[:, places]
    return np.column_stack([mean[:, 0], spread, skewness, ranks])


def _on_cell(image: Image, mask: Mask) -> Image:
    """The cell's pixels by channel, uint8 [3, P]."""
    return np.stack([channel[mask] for channel in cv2.split(image)])


def colour_features(image: Image, mask: Mask) -> list[float]:
    """Statistics of every channel in RGB, HSV and Lab, and histograms of RGB; on the cell only."""
    found: list[float] = []
    for _, _, code in COLOUR_SPACES:
        converted = image if code is None else cv2.cvtColor(image, code)
        found += _statistics(_on_cell(converted, mask).astype(np.float32)).reshape(-1).tolist()
    for channel in _on_cell(image, mask):
        counts = np.bincount(channel // (256 // BINS), minlength=BINS)
        found += (counts / max(1, len(channel))).tolist()
    return found


def colour_names() -> list[str]:
    """Names of ``colour_features``, in order."""
    measures = ("mean", "sd", "skewness", *(f"p{share}" for share in PERCENTILES))
    names = [
        f"{space}_{letter}_{measure}"
        for space, letters, _ in COLOUR_SPACES
        for letter in letters
        for measure in measures
    ]
    return names + [f"histogram_{letter}_{index}" for letter in "rgb" for index in range(BINS)]


SHAPE_NAMES = (
    "area_px",
    "perimeter_px",
    "circularity",
    "aspect_ratio",
    "extent",
    "solidity",
    "equivalent_diameter_px",
    *(f"hu_{index}" for index in range(1, 8)),
)


def shape_features(mask: Mask) -> list[float]:
    """``SHAPE_NAMES`` of a mask bool [H, W] in its own pixels.

    Circularity is 4 pi area / perimeter squared (1 for a disc); Hu's moments (Hu, IRE Trans. IT
    8(2), 1962) as sign(h) log10|h|.
    """
    drawn = mask.astype(np.uint8)
    outlines, _ = cv2.findContours(drawn, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return [0.0] * len(SHAPE_NAMES)
    outline = max(outlines, key=cv2.contourArea)
    area = float(drawn.sum())
    perimeter = float(cv2.arcLength(outline, True))
    _, _, width, height = cv2.boundingRect(outline)
    hull = max(1.0, float(cv2.contourArea(cv2.convexHull(outline))))
    moments = cv2.HuMoments(cv2.moments(drawn, True)).reshape(-1)
    return [
        area,
        perimeter,
        4.0 * float(np.pi) * area / max(1.0, perimeter) ** 2,
        max(width, height) / max(1, min(width, height)),
        area / (width * height),
        float(cv2.contourArea(outline)) / hull,
        float(np.sqrt(4.0 * area / np.pi)),
        *(float(-np.sign(h) * np.log10(abs(h))) if h else 0.0 for h in moments),
    ]


FEATURE_NAMES = (
    *colour_names(),
    *texture.co_occurrence_names(),
    *texture.pattern_names(),
    *SHAPE_NAMES,
)


def handcrafted(crop: Image) -> Floats:
    """All features of one cell on black background, float32 [len(FEATURE_NAMES)], finite.

    Args:
        crop: uint8 [H, W, 3] RGB.
    """
    expect_image(crop, "crop")
    image = network_input(crop, SIDE_PX)
    mask = cell_mask(image)
    # Green carries the stain: haemoglobin and chromatin both absorb it.
    green = np.ascontiguousarray(image[:, :, 1])
    found = [
        *colour_features(image, mask),
        *texture.co_occurrence_features(green, mask),
        *texture.pattern_features(green, mask),
        *shape_features(cell_mask(crop)),
    ]
    return np.asarray(found, np.float32)


def load_features(
    dataset: Dataset,
    *,
    cache: Path | None = None,
    step: Callable[[int], None] = lambda done: None,
) -> Floats:
    """Handcrafted features of every row, float32 [N, len(FEATURE_NAMES)]; each row is opened.

    Args:
        dataset: the rows wanted, and no others.
        cache: a directory for the result; None measures again each time.
        step: called with the number of cells just done.

    Raises:
        ImageError: a picture is damaged.
    """
    stored = None if cache is None else cache / f"features-{_cache_key(dataset)}.npy"
    if stored is not None and stored.is_file():
        return np.asarray(np.load(stored, allow_pickle=False), np.float32)
    table = np.zeros((len(dataset.rows), len(FEATURE_NAMES)), np.float32)
    for index, row in enumerate(dataset.rows):
        table[index] = handcrafted(dataset.read(row))
        step(1)
    if stored is not None:
        buffer = io.BytesIO()
        np.save(buffer, table)
        write_bytes(stored, buffer.getvalue())
    return table


def _cache_key(dataset: Dataset) -> str:
    status = dataset.path.stat()
    stamp = [str(dataset.path.resolve()), status.st_size, status.st_mtime_ns]
    names = [*CONTRACT_STEPS, *FEATURE_NAMES]
    recipe = [VERSION, SIDE_PX, names, [row.file for row in dataset.rows]]
    return hashlib.sha256(json.dumps([stamp, recipe]).encode()).hexdigest()[:24]
