"""How many more cells would settle a slide: larger slides of the same shares, tried in turn.

Whether one of them settles is asked some fifty times, so what is not asked is left out: where a
limit of detection lies exactly does not matter, only whether it reaches what is wanted.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edge_malaria.runtime.slide.counts import ReviewCount, SlideCount, VerdictRules
from edge_malaria.runtime.slide.operating_point import PointModel

# A count that could ever settle a slide; beyond it more cells are no advice.
MOST_CELLS = 200_000
# Sizes that are tried.
_SIZES = 48
# A limit is searched with chances that are read off a line, good to 1e-4.
_SURE = 0.005


def larger_slides(
    count: SlideCount, review: ReviewCount, min_cells: int
) -> list[tuple[SlideCount, ReviewCount]]:
    """Slides of more cells with the same shares of calls and decisions, the smallest first.

    Args:
        count: what was counted.
        review: what persons said of the flagged cells.
        min_cells: the least for a thin smear; one of the sizes.
    """
    n = max(count.cells, 1)
    shares = [count.positive / n, count.borderline / n, count.likely / n]
    sizes = np.geomspace(max(n, 100) * 1.05, MOST_CELLS, _SIZES).astype(int)
    found = []
    for total in np.unique([min_cells, *sizes]).tolist():
        if total > count.cells:
            k, borderline, likely = (round(share * total) for share in shares)
            slide = SlideCount(total, k, borderline, likely)
            found.append((slide, _grown(review, total / n)))
    return found


def _grown(review: ReviewCount, factor: float) -> ReviewCount:
    """The review of more cells of which as large a share is flagged and confirmed."""
    flagged = round(review.flagged * factor)
    if not review.complete:
        return ReviewCount(flagged)
    confirmed = min(round(review.confirmed * factor), flagged)
    return ReviewCount(
        flagged,
        flagged,
        confirmed,
        flagged - confirmed,
        confirmed_by=min(confirmed, 1),
        confirmed_upper=min(round(review.confirmed_upper * factor), confirmed),
        readers=review.readers,
    )


class RoughLimit:
    """Limits of detection of growing slides, as far as ``VerdictRules.max_lod`` asks.

    Of more cells at least as many must be called, so the fewest calls needed of a smaller slide
    are a bound: where even these would not be reached, the exact number is not looked for.

    Args:
        point: of the verdict.
        rules: of the verdict.
        needed: gives the fewest calls that mean parasites of so many cells; None where none do.
    """

    def __init__(
        self, point: PointModel, rules: VerdictRules, needed: Callable[[int], int | None]
    ) -> None:
        self.point, self.rules = point, rules
        self._needed, self._at_least = needed, 0

    def __call__(self, cells: int, power: float = 0.95) -> float | None:
        """A number on the same side of ``max_lod`` as the limit; None may stand for above it.

        Args:
            cells: counted; never fewer than in the call before.
            power: the chance of being called at the limit.
        """
        wanted = self.rules.max_lod
        if cells < self.rules.min_cells_detected:
            return None
        if self.point.surely_above(self._at_least, cells, wanted, power - _SURE):
            return None
        needed = self._needed(cells)
        if needed is None:
            return None
        self._at_least = needed
        return self.point.limit_of_detection(needed, cells, power, settles=wanted)
