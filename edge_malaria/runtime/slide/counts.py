"""What goes into a slide's statistics and what comes out: rules, counts, results."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from edge_malaria.records import Basis, Interval, Verdict, expect

# WHO, Basic malaria microscopy (2010): 5,000,000 red cells per microlitre where not measured.
DEFAULT_RBC_PER_UL = 5_000_000.0
# Infected per 1,000 red cells x haematocrit % x 125.6 = parasites per microlitre, that is
# 125,600 red cells per microlitre for each per cent of haematocrit.
RBC_PER_UL_PER_HAEMATOCRIT = 125_600.0


@dataclass(frozen=True)
class VerdictRules:
    """The limits behind a verdict; ``[verdict]`` of the configuration.

    Attributes:
        level: chance of ``parasites-detected`` on a slide without parasites.
        grey_level: below this chance of the count without parasites the slide is indeterminate.
        min_cells: fewer counted cells are never ``not-detected`` (500: the least for a thin smear).
        min_cells_detected: fewer counted cells are never ``parasites-detected``.
        max_doubtful: above this share of borderline cells (a probability between ``doubtful_from``
            and the threshold), per cell above it, the slide looks unlike those of the fit.
        doubtful_from: see ``max_doubtful``.
        doubtful_base: the share of borderline cells that is allowed however few are positive.
            ``benchmarks.slides.doubtful_limits`` derives both from train and validation patients.
        max_lod: a slide whose limit of detection lies above this parasitemia is never
            ``not-detected``: not to see anything then is no finding.
        confirm_cells: so many flagged cells that a person confirms mean parasites.
        confirm_readers: or one cell that so many persons confirm.
    """

    level: float = 0.015
    grey_level: float = 0.1
    min_cells: int = 500
    min_cells_detected: int = 200
    doubtful_from: float = 0.2
    doubtful_base: float = 0.14
    max_doubtful: float = 4.9
    max_lod: float = 0.005
    confirm_cells: int = 2
    confirm_readers: int = 2

    def __post_init__(self) -> None:
        expect(0 < self.level < self.grey_level < 1, "0 < level < grey_level < 1", self.level)
        expect(self.min_cells >= 1, "min_cells >= 1", self.min_cells)
        expect(0 < self.max_lod <= 1, "0 < max_lod <= 1", self.max_lod)
        expect(self.confirm_cells >= 1, "confirm_cells >= 1", self.confirm_cells)
        expect(self.confirm_readers >= 1, "confirm_readers >= 1", self.confirm_readers)


@dataclass(frozen=True)
class SlideCount:
    """What was counted on a slide.

    Attributes:
        cells: counted red cells; positive: those at or above the screening threshold.
        borderline: those with a probability from ``VerdictRules.doubtful_from`` to the threshold.
        likely: those at or above the balanced threshold; 0 where it was not counted.
    """

    cells: int
    positive: int
    borderline: int = 0
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
class ReviewCount:
    """What persons said of a slide's flagged cells.

    Attributes:
        flagged: cells at or above the balanced threshold, which a person should look at.
        reviewed: those with a decision; ``flagged - reviewed`` wait.
        confirmed: a reader said parasite, none said no parasite.
        overturned: a reader said no parasite, none said parasite.
        unsure: nobody could say.
        conflicts: readers contradict each other.
        confirmed_by: the most readers who confirm one and the same cell.
        confirmed_upper: confirmed ones at or above the upper point (``SlideErrors.upper``).
        readers: their names, sorted.
    """

    flagged: int
    reviewed: int = 0
    confirmed: int = 0
    overturned: int = 0
    unsure: int = 0
    conflicts: int = 0
    confirmed_by: int = 0
    confirmed_upper: int = 0
    readers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        parts = self.confirmed + self.overturned + self.unsure + self.conflicts
        expect(parts == self.reviewed, "reviewed = the sum of its parts", (self.reviewed, parts))
        expect(self.reviewed <= self.flagged, "reviewed <= flagged", (self.reviewed, self.flagged))
        upper = self.confirmed_upper
        expect(0 <= upper <= self.confirmed, "0 <= confirmed_upper <= confirmed", upper)

    @property
    def complete(self) -> bool:
        """Whether every flagged cell, at least one, was looked at."""
        return 0 < self.flagged == self.reviewed

    @property
    def open(self) -> int:
        """Cells on which no answer stands: nobody could say, or readers contradict each other."""
        return self.unsure + self.conflicts

    def as_json(self) -> dict[str, Any]:
        """The ``review`` block of ``screen --json``."""
        return {
            "flagged": self.flagged,
            "reviewed": self.reviewed,
            "confirmed": self.confirmed,
            "overturned": self.overturned,
            "readers": list(self.readers),
        }


@dataclass(frozen=True)
class SlideResult:
    """The slide's numbers; rates are fractions.

    ``parasitemia`` and what follows from it is None where no number is known: no cell counted, the
    slide is unlike the fit, its two points contradict each other, or nothing can settle it.
    ``cause`` is the verdict's reason in one word, on which the advice rests; see ``CAUSES``.
    """

    verdict: Verdict
    basis: Basis
    cause: str
    why: str
    parasitemia: float | None
    ci95: Interval | None
    parasites_per_ul: float | None
    parasites_per_ul_ci95: Interval | None
    rbc_per_ul: float
    limit_of_detection: float | None
    limit_of_detection_per_ul: float | None
    limit_of_detection_reviewed: float | None
    limit_of_detection_reviewed_per_ul: float | None
    max_lod: float
    p_value: float
    count_needed: int | None
    more_cells: int | None
    unfamiliar: bool
    measured_at: str
    points_disagree: bool
    false_positive_mean: float
    false_positive_p95: float
    sensitivity_mean: float
    site: str
    review: ReviewCount

    def as_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


CAUSES = (
    "no-cells", "few-cells", "unfamiliar", "grey", "blind", "above-errors", "within-errors",
    "confirmed", "one-confirmed", "no-answer", "none-confirmed",
)  # fmt: skip


def rbc_per_ul(rbc: float | None, haematocrit_percent: float | None) -> float:
    """Red cells per microlitre: measured, from the haematocrit, or the usual 5,000,000."""
    if rbc is not None:
        return float(rbc)
    if haematocrit_percent is not None:
        return haematocrit_percent * RBC_PER_UL_PER_HAEMATOCRIT
    return DEFAULT_RBC_PER_UL
