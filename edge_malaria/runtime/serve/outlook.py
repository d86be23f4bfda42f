"""What the counts so far say of a running slide, worked out now and then for all who look on.

The interval and the limit of detection take some 0.03 s of a desk's processor and ten times that of
a small board's. Twenty phones that ask each second would take it from the screening.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import numpy as np

from edge_malaria.runtime.slide.counts import Measured, SlideCount
from edge_malaria.runtime.slide.further_cells import MOST_CELLS
from edge_malaria.runtime.slide.statistics import SlideStatistics

# Numbers of cells at which the limit of detection is looked up: the same for every slide, so that
# each is computed once.
_SIZES = tuple(int(n) for n in np.geomspace(200, MOST_CELLS, 60))
# So many times as long as it took, it rests: at most a twentieth of a core.
_REST = 19


@dataclass(frozen=True)
class Outlook:
    """What some counts say, by the program alone.

    Attributes:
        measured: how many parasites there are. None where no number is known: before the first
            cell, and on a slide that the report would give none for, too: unlike the fit, or with
            two points that contradict each other.
        cells_needed: so many bring the limit of detection to what the rules ask for; None: none do.
    """

    measured: Measured | None = None
    cells_needed: int | None = None


class LatestOutlook:
    """The outlook of one slide, a little behind its counts.

    Args:
        statistics: of the slide.
    """

    def __init__(self, statistics: SlideStatistics) -> None:
        self._statistics = statistics
        self._at_work = threading.Lock()
        self._count: SlideCount | None = None
        self._outlook = Outlook()
        self._next = 0.0

    def of(self, count: SlideCount) -> Outlook:
        """That of ``count``, or the latest that is known while it is too early for another.

        One thread at a time works it out; the others do not wait for it.
        """
        due = count != self._count and time.monotonic() >= self._next
        if due and self._at_work.acquire(blocking=False):
            try:
                started = time.monotonic()
                self._outlook = outlook(self._statistics, count)
                self._count = count
                ended = time.monotonic()
                self._next = ended + _REST * (ended - started)
            finally:
                self._at_work.release()
        return self._outlook


def outlook(statistics: SlideStatistics, count: SlideCount) -> Outlook:
    """What ``count`` says."""
    if count.cells == 0:
        return Outlook()
    found = statistics.measured(count)
    sound = found is not None and not found.disagree and not statistics.unfamiliar(count)
    needed = cells_for_limit(statistics, statistics.rules.max_lod, count.likely / count.cells)
    return Outlook(found if sound else None, needed)


def cells_for_limit(statistics: SlideStatistics, wanted: float, flagged: float) -> int | None:
    """So many cells bring the limit of detection, with a reader, to ``wanted``; None: none do.

    Args:
        statistics: of the slide.
        wanted: parasitemia, 0-1.
        flagged: share of the cells that is flagged.
    """
    low, high = 0, len(_SIZES)
    while low < high:
        middle = (low + high) // 2
        limit = statistics.limit_reviewed(_SIZES[middle], flagged)
        if limit is not None and limit <= wanted:
            high = middle
        else:
            low = middle + 1
    return _SIZES[low] if low < len(_SIZES) else None
