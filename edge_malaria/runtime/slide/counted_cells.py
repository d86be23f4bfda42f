"""Which cells of earlier frames were counted, so that none is counted twice."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_malaria.records import Box, Cell
from edge_malaria.runtime.slide.registration import Placement

# A frame this close to the field's edge had no whole cells there, in cell diameters.
_EDGE_DIAMETERS = 0.6
# One cell seen in two frames lies at most so far apart, in cell diameters.
_SAME_CELL_DIAMETERS = 0.5


class CountedCells:
    """Which cells of earlier frames were counted, so that none is counted twice.

    Args:
        frames: how many earlier frames are remembered.
    """

    def __init__(self, frames: int = 64) -> None:
        self._frames: deque[tuple[int, NDArray[np.float64]]] = deque(maxlen=frames)

    def seen(
        self,
        cells: Sequence[Cell],
        placement: Placement,
        earlier: Sequence[tuple[float, float, int, int]],
    ) -> list[bool]:
        """For each cell whether it was counted before.

        Inside an earlier frame every whole cell was looked at already; along that frame's edge
        cells were cut off, so there a cell is known only where a counted one lay.
        """
        if not cells or not earlier:
            return [False] * len(cells)
        known = [c for chain, c in self._frames if chain == placement.chain and len(c)]
        centres = np.concatenate(known) if known else np.zeros((0, 2))
        offset = np.array([placement.x_px, placement.y_px])
        answers = []
        for cell in cells:
            x0, y0, x1, y1 = cell.box
            centre = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
            size = float(np.sqrt((x1 - x0) * (y1 - y0)))
            edge = _EDGE_DIAMETERS * size
            inside = any(
                x + edge <= centre[0] <= x + w - edge and y + edge <= centre[1] <= y + h - edge
                for x, y, w, h in earlier
            )
            if inside or len(centres) == 0:
                answers.append(inside)
                continue
            away = np.hypot(*(centres - centre - offset).T)
            answers.append(bool(away.min() < _SAME_CELL_DIAMETERS * size))
        return answers

    def add(self, cells: Sequence[Cell], placement: Placement) -> None:
        """Remembers a frame's counted cells."""
        self._add([cell.box for cell in cells if cell.counted], placement)

    def restore(self, boxes: Sequence[Box], placement: Placement) -> None:
        """Remembers the boxes of a frame's counted cells, as a resumed slide does."""
        self._add(boxes, placement)

    def _add(self, boxes: Sequence[Box], placement: Placement) -> None:
        centres = np.array([((b[0] + b[2]) / 2, (b[1] + b[3]) / 2) for b in boxes]).reshape(-1, 2)
        self._frames.append((placement.chain, centres + np.array([placement.x_px, placement.y_px])))
