"""The advice on further cells is what trying every size in full gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_malaria.bundle.format import read_bundle
from edge_malaria.runtime.screen.slide_errors import slide_errors
from edge_malaria.runtime.slide.beta_binomial import RateSpread
from edge_malaria.runtime.slide.counts import ReviewCount, SlideCount, VerdictRules
from edge_malaria.runtime.slide.expected_errors import PointErrors, SlideErrors
from edge_malaria.runtime.slide.further_cells import larger_slides
from edge_malaria.runtime.slide.operating_point import PointModel
from edge_malaria.runtime.slide.statistics import SlideStatistics


def _spread(mean: float, factor: float) -> RateSpread:
    """Rates around ``mean``, each ``factor`` times the one before."""
    rates = np.clip(mean * factor ** np.arange(-6.0, 7.0), 0.0, 1.0)
    weights = np.exp(-0.5 * np.linspace(-2.5, 2.5, len(rates)) ** 2)
    return RateSpread(rates, weights / weights.sum())


def _errors(false_calls: float, factor: float) -> SlideErrors:
    misses = _spread(0.05, 1.3)
    screening = PointErrors(_spread(false_calls, factor), misses.complement())
    balanced = PointErrors(_spread(5 * false_calls, factor), misses.complement())
    return SlideErrors(screening, balanced, 5, 100, 100_000, 1000)


# From a site that knows its mistakes well to a laboratory of which hardly anything is known.
_KNOWN = [
    SlideStatistics(_errors(mean, factor))
    for mean, factor in ((2e-5, 1.1), (3e-4, 1.3), (1e-3, 1.5), (2e-3, 2.2))
]


def _tried_in_full(
    statistics: SlideStatistics, count: SlideCount, review: ReviewCount
) -> int | None:
    """The rule as it is written down: every size, with its limit of detection itself."""
    finding = statistics.finding(count, review)
    if finding.verdict != "indeterminate":
        return 0
    if finding.cause in ("no-cells", "unfamiliar", "no-answer"):
        return None
    for slide, looked_at in larger_slides(count, review, statistics.rules.min_cells):
        if statistics.finding(slide, looked_at).verdict != "indeterminate":
            return slide.cells - count.cells
    return None


# (whose mistakes, cells, positive, flagged, confirmed where a person looked at all of them)
_SLIDES = [
    (0, 120, 0, 0, 0),
    (0, 700, 1, 3, 0),
    (1, 600, 1, 3, 0),
    (1, 5000, 2, 20, 1),
    (2, 550, 2, 2, 1),
    (2, 800, 0, 4, 0),
    (2, 1200, 3, 9, 0),
    (3, 900, 0, 9, 1),
    (3, 4000, 30, 60, 0),
]


@pytest.mark.parametrize(("known", "cells", "positive", "flagged", "confirmed"), _SLIDES)
def test_it_is_what_every_size_in_full_gives(
    known: int, cells: int, positive: int, flagged: int, confirmed: int
) -> None:
    count = SlideCount(cells, positive, likely=flagged)
    looked_at = ReviewCount(flagged, flagged, confirmed, flagged - confirmed, readers=("A",))
    for review in (ReviewCount(flagged), looked_at):
        statistics = SlideStatistics(_KNOWN[known].errors)
        assert statistics.more_cells(count, review) == _tried_in_full(_KNOWN[known], count, review)


def test_the_slides_get_every_kind_of_advice() -> None:
    answers = [
        _KNOWN[known].more_cells(SlideCount(cells, positive, likely=flagged))
        for known, cells, positive, flagged, _ in _SLIDES
    ]
    assert None in answers and 0 in answers and any(answers)


def test_the_shipped_errors_give_the_same(shipped_bundle: Path) -> None:
    errors = slide_errors(read_bundle(shipped_bundle))
    for cells, positive, likely in ((600, 0, 4), (1926, 1, 49), (580, 12, 30)):
        count, review = SlideCount(cells, positive, likely=likely), ReviewCount(likely)
        full = _tried_in_full(SlideStatistics(errors), count, review)
        assert SlideStatistics(errors).more_cells(count, review) == full


@pytest.mark.parametrize("wanted", [1e-9, 1e-4, 0.0031, 0.005, 0.07, 1.0])
@pytest.mark.parametrize("known", range(len(_KNOWN)))
def test_a_search_that_ends_early_is_on_the_right_side(known: int, wanted: float) -> None:
    point = _KNOWN[known].screening
    for n in (200, 900, 7000, 100_000):
        needed = point.count_needed(n, VerdictRules().level)
        assert needed is not None
        exact, early = (point.limit_of_detection(needed, n, settles=s) for s in (None, wanted))
        assert exact is not None and early is not None
        assert (early <= wanted) == (exact <= wanted)
        for fewer in (needed, max(1, needed // 2)):
            if point.surely_above(fewer, n, wanted, 0.945):
                assert exact > wanted


def test_more_cells_never_need_fewer_calls() -> None:
    for statistics in _KNOWN:
        needed = [statistics.count_needed(n) for n in (200, 230, 300, 1000, 1100, 9000, 90_000)]
        found = [k for k in needed if k is not None]
        assert len(found) == len(needed) and found == sorted(found)


def test_chances_of_many_counts_are_those_of_each() -> None:
    counts = [(0, 100), (3, 100), (7, 5000), (5000, 5000), (0, 0)]
    many, single = (PointModel(_KNOWN[2].errors.screening) for _ in range(2))
    many.note_p_values(counts)
    assert [many.p_value(*pair) for pair in counts] == [single.p_value(*pair) for pair in counts]
