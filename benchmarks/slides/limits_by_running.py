"""The lowest parasitemia at which 95 of 100 slides are called, found by running."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np

from benchmarks.slides.simulated_slides import READERS, Drawn, Points, Reader, draw
from edge_malaria.runtime.slide.beta_binomial import Floats
from edge_malaria.runtime.slide.counts import VerdictRules
from edge_malaria.runtime.slide.readers import confirmations_needed
from edge_malaria.runtime.slide.statistics import SlideStatistics

CELLS = (1000, 5000)
# So many slides at each step tell a share of 0.95 to 0.003; steps are 2.3 % apart.
_SLIDES = 4000
_GRID = np.geomspace(1e-4, 1.0, 401)
_POWER = 0.95


def called_alone(statistics: SlideStatistics, drawn: Drawn) -> Floats:
    """Whether the program alone calls parasites on each slide: 0 or 1, float64 [M]."""
    needed = statistics.count_needed(drawn.cells)
    if needed is None:
        return np.zeros(len(drawn.truth))
    # As ``SlideStatistics.unfamiliar``.
    rules = statistics.rules
    base = max(rules.doubtful_base, statistics.errors.doubtful_base or 0.0)
    familiar = drawn.borderline <= base * drawn.cells + rules.max_doubtful * drawn.positive
    return np.asarray((drawn.positive >= needed) & familiar, float)


@cache
def _needed(flagged: int, least: int) -> int:
    return confirmations_needed(flagged, least)


def called_by(reader: Reader, rng: np.random.Generator, drawn: Drawn) -> Floats:
    """Whether one reader's confirmed cells mean parasites on each slide."""
    least = VerdictRules().confirm_cells
    flagged, place = np.unique(drawn.flagged, return_inverse=True)
    needed = np.array([_needed(int(f), least) for f in flagged])[place]
    return np.asarray(drawn.read(reader, rng)[0] >= needed, float)


def _called_by_two(rng: np.random.Generator, drawn: Drawn) -> Floats:
    """Whether two careful readers confirm one and the same cell."""
    careful = READERS[1].sensitivity
    return np.asarray(rng.binomial(drawn.flagged_parasites, careful**2) >= 1, float)


def limits(
    rng: np.random.Generator,
    statistics: SlideStatistics,
    points: Points,
    healthy: list[Floats],
    sick: list[Floats],
) -> dict[str, Any]:
    """By cells counted: the limits by running of each way to a verdict, and those stated."""

    def lowest(cells: int, called: Callable[[Drawn], Floats]) -> float | None:
        low, high = 0, len(_GRID)
        while high > low:
            middle = (low + high) // 2
            drawn = draw(rng, _SLIDES, cells, float(_GRID[middle]), healthy, sick, points)
            found = called(drawn).mean() >= _POWER
            low, high = (low, middle) if found else (middle + 1, high)
        return float(_GRID[low]) if low < len(_GRID) else None

    table: dict[str, Any] = {}
    for cells in CELLS:
        row = {
            "alone": lowest(cells, partial(called_alone, statistics)),
            "stated_alone": statistics.limit_of_detection(cells),
            "stated_reviewed": statistics.limit_reviewed(cells),
        }
        for reader in READERS[:2]:
            row[f"reader {reader.name}"] = lowest(cells, partial(called_by, reader, rng))
        row["two careful readers, one cell"] = lowest(cells, partial(_called_by_two, rng))
        table[str(cells)] = row
    return table
