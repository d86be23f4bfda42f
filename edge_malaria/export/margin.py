"""The margin that the gate of an export uses, where a user has only a few labelled cells.

With none of n cells changed, the upper 95 % bound of the share changed is 3 / n (the rule of three,
Hanley and Lippman-Hand 1983). A margin below that cannot be shown by n cells, whatever they say. So
it is widened to 3 / n, said aloud and recorded in the bundle; nothing else of the gate changes.
"""

from __future__ import annotations

import math

from edge_malaria.data.dataset import Dataset
from edge_malaria.export.convert import Log

# Below this many cells of a class, 3 / n is no share any more and the gate refuses.
LEAST_CELLS = 4


def shown_by(cells: int) -> float:
    """The smallest margin that ``cells`` of a class can show, a fraction; 1.0 for too few."""
    # Rounded up in the sixth place, so that the gate's own 3 / margin never asks for one more.
    return math.ceil(3e6 / cells) / 1e6 if cells >= LEAST_CELLS else 1.0


def widened(delta: float, judging: Dataset | None, log: Log) -> float:
    """``delta``, or the smallest margin that the cells of the smaller class can show.

    Args:
        delta: as asked for, a fraction.
        judging: labelled cells that decide; None where drawn cells alone do.
        log: told where the margin is widened.
    """
    if judging is None:
        return delta
    sick = sum(row.label for row in judging.rows)
    fewest = min(sick, len(judging.rows) - sick)
    least = shown_by(fewest)
    # With fewer than four cells of a class the gate refuses, and says what is missing.
    if least <= delta or least >= 1.0:
        return delta
    asked = math.ceil(3 / delta - 1e-9)
    log(
        f"margin    widened from {delta:.1%} to {least:.1%}: {fewest} val cells of a class can "
        f"show no smaller change (3 / {fewest}). Judge by {asked} of each for "
        f"{delta:.1%}; what is below is judged on drawn cells alone."
    )
    return least
