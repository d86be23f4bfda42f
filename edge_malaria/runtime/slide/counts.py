"""What goes into a slide's statistics and what comes out: rules, counts, results."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from edge_malaria.records import Interval, Verdict, expect

# WHO, Basic malaria microscopy (2010): 5,000,000 red cells per microlitre where not measured.
DEFAULT_RBC_PER_UL = 5_000_000.0
# Infected per 1,000 red cells x haematocrit % x 125.6 = parasites per microlitre, that is
# 125,600 red cells per microlitre for each per cent of haematocrit.
RBC_PER_UL_PER_HAEMATOCRIT = 125_600.0


@dataclass(frozen=True)
class VerdictRules:
    """The limits behind a verdict; ``[verdict]`` of the configuration.

    Attributes:
        level: chance of ``parasites-detected`` on a slide without parasites whose rate is
            ``inflation`` times the fitted one.
        grey_level: below this chance of the count under the plain fit the slide is indeterminate.
        inflation: how many times the fitted false-positive rate an unknown slide may have.
        min_cells: fewer counted cells are never ``not-detected`` (500: the least for a thin smear).
        min_cells_detected: fewer counted cells are never ``parasites-detected``.
        max_doubtful: above this share of cells with a probability between ``doubtful_from`` and
            the threshold, per cell above it, the slide looks unlike those of the fit.
        doubtful_from: see ``max_doubtful``.
        doubtful_base: the share of doubtful cells that is allowed however few are positive.
            ``benchmarks.slides.doubtful_limits`` derives both from train and validation patients.
    """

    level: float = 0.015
    grey_level: float = 0.1
    inflation: float = 2.0
    min_cells: int = 500
    min_cells_detected: int = 200
    doubtful_from: float = 0.2
    doubtful_base: float = 0.12
    max_doubtful: float = 1.0

    def __post_init__(self) -> None:
        expect(0 < self.level < self.grey_level < 1, "0 < level < grey_level < 1", self.level)
        expect(self.inflation >= 1, "inflation >= 1", self.inflation)
        expect(self.min_cells >= 1, "min_cells >= 1", self.min_cells)


@dataclass(frozen=True)
class SlideCount:
    """What was counted on a slide.

    Attributes:
        cells: counted red cells; positive: those at or above the screening threshold.
        doubtful: those with a probability from ``VerdictRules.doubtful_from`` to the threshold.
        likely: those at or above the balanced threshold; 0 where it was not counted.
    """

    cells: int
    positive: int
    doubtful: int = 0
    likely: int = 0

    def __post_init__(self) -> None:
        expect(0 <= self.positive <= self.cells, "0 <= positive <= cells", self.positive)


@dataclass(frozen=True)
class Measured:
    """How much there is, and by which count.

    Attributes:
        parasitemia: corrected share, 0-1; None where the point cannot tell cells apart.
        ci95: its interval.
        at: ``screening`` or ``balanced``: the operating point whose count was taken.
        disagree: whether the two points contradict each other; ``ci95`` then spans both intervals.
    """

    parasitemia: float | None
    ci95: Interval
    at: str
    disagree: bool = False


@dataclass(frozen=True)
class SlideResult:
    """The slide's numbers; rates are fractions, None where no cell was counted."""

    verdict: Verdict
    why: str
    parasitemia: float | None
    ci95: Interval | None
    parasites_per_ul: float | None
    parasites_per_ul_ci95: Interval | None
    rbc_per_ul: float
    limit_of_detection: float | None
    limit_of_detection_per_ul: float | None
    p_value: float
    p_value_inflated: float
    count_needed: int | None
    more_cells: int | None
    unfamiliar: bool
    measured_at: str
    points_disagree: bool
    false_positive_mean: float
    false_positive_p95: float
    sensitivity_mean: float

    def as_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def rbc_per_ul(rbc: float | None, haematocrit_percent: float | None) -> float:
    """Red cells per microlitre: measured, from the haematocrit, or the usual 5,000,000."""
    if rbc is not None:
        return float(rbc)
    if haematocrit_percent is not None:
        return haematocrit_percent * RBC_PER_UL_PER_HAEMATOCRIT
    return DEFAULT_RBC_PER_UL
