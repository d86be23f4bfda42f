"""How much of what is stained found cells explain: a finder that is off leaves most of it out.

At a wrong scale it marks groups of cells as one and passes by the others. What it marks may look
like cells, so it is what it does not mark that tells.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from edge_malaria.records import Cell, Mask


def explained_share(cells: Sequence[Cell], ground: Mask | None, side_px: int) -> float:
    """The share of a field's stained area that lies in the boxes of found things, 0-1.

    Args:
        cells: of the field, of every kind.
        ground: bool [h, w], what is stained in a small copy of the field; None where it is not
            known: then all counts as explained.
        side_px: the field's longer side.
    """
    if ground is None:
        return 1.0
    stained = ground.view(np.uint8)
    total = cv2.countNonZero(stained)
    if total == 0:
        return 1.0
    left = stained.copy()
    boxes = np.array([cell.box for cell in cells], np.float64).reshape(-1, 4)
    edges = np.rint(boxes * (max(ground.shape) / side_px)).astype(int)
    for x0, y0, x1, y1 in edges.tolist():
        left[y0:y1, x0:x1] = 0
    return 1.0 - cv2.countNonZero(left) / total
