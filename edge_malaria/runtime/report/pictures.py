"""Pictures of a report: annotated fields and the crops of the gallery."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from edge_malaria.files import encode_image
from edge_malaria.prepare.preprocess import cut
from edge_malaria.records import Box, Cell, Image, Prediction
from edge_malaria.runtime.detect.light import halved, shrink

# Side of the small copy that registration, quality and pictures share, at least.
OVERVIEW_SIDE_PX = 640
CROP_SIDE_PX = 96
# Share of a cell's size that is shown around it.
_MARGIN = 0.15
# Colour-blind safe (Okabe & Ito): vermilion, blue, grey, yellow.
_POSITIVE, _COUNTED, _LEFT_OUT, _WHITE = (213, 94, 0), (0, 114, 178), (150, 150, 150), (230, 190, 0)


def overview(image: Image) -> Image:
    """A small copy of a field, its longer side 640 px or up to twice that.

    Halved as often as that allows, for which INTER_AREA is many times as fast as for other factors.
    """
    return halved(image, OVERVIEW_SIDE_PX)


def annotated(
    image: Image,
    factor: float,
    cells: Sequence[Cell],
    predictions: Sequence[Prediction | None],
) -> bytes:
    """A field with a box around each thing found, as JPEG bytes.

    Args:
        image: the field, or a smaller copy of it.
        factor: the copy's scale, 1 for the field itself.
        cells: of the field, in its own pixels.
        predictions: one a cell; None where it was not classified.
    """
    canvas = image.copy()
    for cell, prediction in zip(cells, predictions, strict=True):
        x0, y0, x1, y1 = (round(v * factor) for v in cell.box)
        positive = cell.counted and prediction is not None and prediction.positive
        colour = _POSITIVE if positive else _COUNTED if cell.counted else _LEFT_OUT
        colour = _WHITE if cell.kind == "white-cell" else colour
        cv2.rectangle(canvas, (x0, y0), (x1 - 1, y1 - 1), colour, 3 if positive else 1)
        if positive and prediction is not None:
            text, place = f"{prediction.p_parasitized:.2f}", (x0, max(12, y0 - 4))
            cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)
    return encode_image(canvas, ".jpg", 80)


def cell_crop(image: Image, box: Box) -> bytes:
    """The cell with a little of what is around it, ``CROP_SIDE_PX`` square, as JPEG bytes."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = box
    half = (1 + 2 * _MARGIN) * max(x1 - x0, y1 - y0) / 2
    cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
    left, top = max(0, int(cx - half)), max(0, int(cy - half))
    right, bottom = min(width, int(cx + half) + 1), min(height, int(cy + half) + 1)
    crop = cut(image, (left, top, right, bottom))
    factor = CROP_SIDE_PX / max(crop.shape[:2])
    small = shrink(crop, factor)
    # What lies outside the field repeats the field's border.
    y, x = CROP_SIDE_PX - small.shape[0], CROP_SIDE_PX - small.shape[1]
    edges = (y // 2, y - y // 2, x // 2, x - x // 2)
    canvas = cv2.copyMakeBorder(small, *edges, cv2.BORDER_REPLICATE)
    return encode_image(np.asarray(canvas, np.uint8), ".jpg", 85)
