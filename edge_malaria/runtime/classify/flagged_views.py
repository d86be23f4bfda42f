"""A flagged cell is asked again: the mean logit of its eight views.

A red cell lies on a slide in any direction, and the network answers a little differently to each.
Where a bundle says ``flagged_views`` (``decision`` in bundle.json), a cell whose first answer is at
or above the balanced point is shown in eight views, and their mean decides in place of the first
answer. What lies below the balanced point keeps its first answer.

The rule to the bit, so that every machine and engine comes to the same number:

* The views are made of the network's input, not of the crop: quarter turns counterclockwise, none
  first, each followed by its mirror image (left and right changed).
* The eight logits are float32, as the engine gives them. They are added in that order in float64,
  divided by 8, and rounded once to float32. The first view is the first answer and is not run
  again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from edge_malaria.records import Image

VIEWS = 8

Logits = Callable[[Image], NDArray[np.float32]]


def eight_views(batch: Image) -> Iterator[Image]:
    """uint8 [N, S, S, 3] -> eight batches of that shape, the batch itself first."""
    for turns in range(4):
        turned = np.rot90(batch, turns, (1, 2))
        yield np.ascontiguousarray(turned)
        yield np.ascontiguousarray(turned[:, :, ::-1])


def mean_logits(
    batch: Image, run: Logits, first: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """The mean logit over the eight views of each cell.

    Args:
        batch: uint8 [N, S, S, 3], network inputs; N may be 0.
        run: the network: uint8 [N, S, S, 3] -> float32 [N].
        first: float32 [N], its answers to ``batch`` itself, where they are known already.

    Returns:
        float32 [N].
    """
    views = eight_views(batch)
    total = np.zeros(len(batch), np.float64)
    if not len(batch):
        return total.astype(np.float32)
    known = run(next(views)) if first is None else first
    if first is not None:
        next(views)
    total += known
    for view in views:
        total += run(view)
    return (total / VIEWS).astype(np.float32)
