"""Drawn thin smears for the cell finder: training fields with full truth, calibration inputs.

Seeds below 100 000 are for measuring (tests, benchmarks, demo); training and calibration draw
from two ranges above it.
"""

from __future__ import annotations

import numpy as np

from edge_malaria.records import Image
from edge_malaria.runtime.detect.light import shrink
from edge_malaria.synthetic import SmearTruth, draw_field
from edge_malaria.training.finder.data import LARGEST_DIAMETER_PX, TruthField
from edge_malaria.training.finder.scenes import NOMINAL_DIAMETER_PX, PLATELET, RED, WHITE

FIRST_TRAINING_SEED = 100_000
FIRST_CALIBRATION_SEED = 200_000
CALIBRATION_PX = 128
KINDS = {"red-cell": RED, "white-cell": WHITE, "platelet": PLATELET}


def drawn_truth(
    image: Image, truth: SmearTruth, diameter_px: float, covered: int = 255
) -> TruthField:
    """A drawn field with its things.

    Args:
        image: uint8 [H, W, 3] RGB.
        truth: how it was drawn.
        diameter_px: of its red cells.
        covered: the byte of a pixel that a red or white cell covers.
    """
    cover = np.zeros(image.shape[:2], np.uint8)
    boxes, kinds, known = [], [], []
    for thing in truth.objects:
        kind = thing.cell_kind
        if kind not in KINDS:
            continue
        boxes.append(thing.box)
        kinds.append(KINDS[kind])
        known.append(thing.whole)
        if kind != "platelet":
            x0, y0, x1, y1 = thing.box
            cover[y0:y1, x0:x1][thing.mask] = covered
    return TruthField(
        image,
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(kinds, np.int64),
        np.array(known, np.bool_),
        cover,
        np.ones(cover.shape, np.bool_),
        diameter_px,
    )


def drawn_fields(count: int) -> list[TruthField]:
    """Drawn fields of every stain and background, sparse to crowded, sharp to defocused."""
    found = []
    for number in range(count):
        rng = np.random.default_rng(FIRST_TRAINING_SEED + number)
        image, truth = draw_field(
            FIRST_TRAINING_SEED + number,
            width_px=480,
            height_px=360,
            cell_diameter_px=LARGEST_DIAMETER_PX,
            parasitemia=0.1,
            density=float(rng.uniform(0.1, 0.6)),
            overlap=float(rng.uniform(0.0, 0.6)),
            defocus_px=float(rng.uniform(0.0, 1.0)),
        )
        found.append(drawn_truth(image, truth, LARGEST_DIAMETER_PX))
    return found


def finder_calibration_inputs(count: int = 64) -> Image:
    """What the network's int8 ranges are measured on: drawn fields at its own scale.

    Returns:
        uint8 [count, 128, 128, 3] RGB; the same on every call.
    """
    tiles = np.empty((count, CALIBRATION_PX, CALIBRATION_PX, 3), np.uint8)
    for number in range(count):
        rng = np.random.default_rng(FIRST_CALIBRATION_SEED + number)
        zoom = float(rng.uniform(0.7, 1.4))
        side = 4 * CALIBRATION_PX + 8
        image, _ = draw_field(
            FIRST_CALIBRATION_SEED + number,
            width_px=side,
            height_px=side,
            cell_diameter_px=4 * NOMINAL_DIAMETER_PX * zoom,
            density=float(rng.uniform(0.05, 0.6)),
            overlap=float(rng.uniform(0.0, 0.5)),
            light=float(rng.uniform(0.7, 1.1)),
        )
        tiles[number] = shrink(image, 0.25)[:CALIBRATION_PX, :CALIBRATION_PX]
    return tiles
