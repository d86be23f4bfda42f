"""A labelled picture of cells of both classes, with OpenCV alone."""

from __future__ import annotations

import cv2
import numpy as np

from edge_malaria.data.dataset import Dataset, Row
from edge_malaria.records import Image, expect

_TILE_PX = 96
_GAP_PX = 6
_TITLE_PX = 28
_CAPTION_PX = 14
_INK = (235, 235, 235)
_TITLES = {1: "Parasitized", 0: "Uninfected"}


def cell_panel(dataset: Dataset, per_class: int = 32, columns: int = 8, seed: int = 0) -> Image:
    """Cells drawn by lot from both classes, each with its patient, uint8 [H, W, 3] RGB.

    Args:
        dataset: what to show.
        per_class: at most so many of each class.
        columns: cells side by side.
        seed: of the lot.
    """
    expect(per_class >= 1, "per_class >= 1", per_class)
    expect(columns >= 1, "columns >= 1", columns)
    rng = np.random.default_rng(seed)
    parts = []
    for label in (1, 0):
        rows = [row for row in dataset.rows if row.label == label]
        chosen = sorted(rng.permutation(len(rows))[:per_class])
        parts.append(_block(dataset, [rows[int(i)] for i in chosen], columns, len(rows)))
    return np.concatenate(parts, axis=0)


def _block(dataset: Dataset, rows: list[Row], columns: int, total: int) -> Image:
    step_x, step_y = _TILE_PX + _GAP_PX, _TILE_PX + _CAPTION_PX + _GAP_PX
    lines = -(-len(rows) // columns)
    canvas: Image = np.zeros((_TITLE_PX + lines * step_y, columns * step_x + _GAP_PX, 3), np.uint8)
    title = _TITLES[rows[0].label] if rows else ""
    _write(canvas, f"{title}: {len(rows)} of {total}", _GAP_PX, _TITLE_PX - 9, 0.55)
    for index, row in enumerate(rows):
        line, column = divmod(index, columns)
        x, y = _GAP_PX + column * step_x, _TITLE_PX + line * step_y
        tile = _tile(dataset.read(row))
        canvas[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
        _write(canvas, (row.patient_id or "")[:14], x, y + _TILE_PX + _CAPTION_PX - 3, 0.35)
    return canvas


def _tile(image: Image) -> Image:
    high, wide = image.shape[:2]
    scale = _TILE_PX / max(high, wide)
    size = (max(1, int(wide * scale)), max(1, int(high * scale)))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(image, size, interpolation=way), dtype=np.uint8)


def _write(canvas: Image, text: str, x: int, y: int, scale: float) -> None:
    cv2.putText(canvas, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, _INK, 1, cv2.LINE_AA)
