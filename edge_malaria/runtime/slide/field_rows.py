"""The rows of which a field's record in the journal is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edge_malaria.records import Cell, Prediction
from edge_malaria.runtime.slide.registration import Placement

SEEN_BEFORE = "seen-before"
# So many cells tell how large red cells are on this slide.
_SURE_CELLS = 10


def place_row(placement: Placement) -> list[float]:
    """Where a frame lies, for the journal."""
    return [
        placement.chain,
        round(placement.x_px, 2),
        round(placement.y_px, 2),
        placement.width_px,
        placement.height_px,
    ]


def refusal(name: str, index: int, reason: str, quality: dict[str, Any]) -> dict[str, Any]:
    """A refused field's record."""
    return {"field": name, "index": index, "reason": reason, "quality": quality}


def left_out(cell: Cell) -> Cell:
    """The cell, left out of the count as seen before."""
    return replace(cell, counted=False, reason=SEEN_BEFORE) if cell.counted else cell


def cell_row(cell: Cell, prediction: Prediction | None) -> list[Any]:
    """A cell's row of the journal: box, kind, probability, counted, reason."""
    p = None if prediction is None else round(prediction.p_parasitized, 5)
    return [*cell.box, cell.kind, p, int(cell.counted), cell.reason]


def cells_diameter(rows: Sequence[Sequence[Any]]) -> float | None:
    """The median size of counted cells in journal rows, px; None for fewer than ten."""
    sizes = [((r[2] - r[0]) * (r[3] - r[1])) ** 0.5 for r in rows if r[6]]
    return float(np.median(sizes)) if len(sizes) >= _SURE_CELLS else None
