"""What the finder's network shall answer for a tile, and how far off an answer is.

The network answers at half resolution, one vector of eight a pixel:

    0-2  logits: here is the centre of a red cell, a white cell, a platelet
    3    logit: this lies on a red or white cell
    4-7  distance to the cell's left, top, right and bottom edge, in output pixels

Targets carry three more channels: the weights of the centres, of the cover and of the distances.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_malaria.training.finder.scenes import RED, WHITE, FloatArray, Tile

STRIDE_PX = 2
CHANNELS = 8
# A centre fades out like a Gaussian of 0.3 radii: two cells 0.4 diameters apart keep two peaks.
MIDDLE_SPREAD = 0.3
# Distances are learnt up to here (in radii), where a decoded peak may lie by mistake.
LEARN_WITHIN = 0.6


def targets(tile: Tile) -> FloatArray:
    """float32 [S/2, S/2, 11]: the eight channels, then weights of centres, cover, distances."""
    side = tile.image.shape[0] // STRIDE_PX
    answer = np.zeros((side, side, CHANNELS + 3), np.float32)
    nearest = np.full((side, side), np.inf, np.float32)
    centre = np.asarray((np.arange(side) + 0.5) * STRIDE_PX, np.float32)
    answer[:, :, 8] = tile.complete[::2, ::2] & tile.complete[1::2, 1::2]
    for box, kind, known in zip(tile.boxes, tile.kinds, tile.known, strict=True):
        _one(answer, nearest, centre, box, int(kind), bool(known))
    cover = tile.cover.reshape(side, 2, side, 2).astype(np.float32).mean((1, 3))
    answer[:, :, 3] = cover / 255
    unknown = (tile.cover == 128).reshape(side, 2, side, 2).any((1, 3))
    answer[:, :, 9] = ~unknown
    return answer


def _one(
    answer: FloatArray,
    nearest: FloatArray,
    centre: FloatArray,
    box: NDArray[np.float32],
    kind: int,
    known: bool,
) -> None:
    """Writes one cell into the answer, in place."""
    x0, y0, x1, y1 = (float(v) for v in box)
    columns = np.flatnonzero((centre > x0) & (centre < x1))
    rows = np.flatnonzero((centre > y0) & (centre < y1))
    if columns.size == 0 or rows.size == 0:
        return
    view = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    x, y = centre[columns][None, :], centre[rows][:, None]
    far = np.hypot((x - (x0 + x1) / 2) * 2 / (x1 - x0), (y - (y0 + y1) / 2) * 2 / (y1 - y0))
    if not known:
        answer[..., 8][view] = np.where(far < 1, 0, answer[..., 8][view])
        return
    # Small things get a centre at least one output pixel wide.
    spread = max(MIDDLE_SPREAD, 1.5 * STRIDE_PX / max(1.0, min(x1 - x0, y1 - y0)))
    peak = np.exp(-0.5 * (far / spread) ** 2)
    np.maximum(answer[..., kind][view], peak, out=answer[..., kind][view])
    if kind not in (RED, WHITE):
        return
    mine = (far < nearest[view]) & (far < 1.0)
    nearest[view] = np.where(mine, far, nearest[view])
    edges = np.broadcast_arrays(x - x0, y - y0, x1 - x, y1 - y)
    for channel, edge in enumerate(edges, 4):
        answer[..., channel][view] = np.where(mine, edge / STRIDE_PX, answer[..., channel][view])
    weight = np.where(far < LEARN_WITHIN, np.exp(-0.5 * (far / 0.4) ** 2), 0.0)
    answer[..., 10][view] = np.where(mine, weight, answer[..., 10][view])
