"""From counts to a slide's verdict, with limits that a careful microscopist would accept.

- Verdict: parasites are detected only where the count at the screening point exceeds what the fit
  allows at the stated level even if this slide's false-positive rate were ``inflation`` times what
  was measured: a new microscope, stain or camera is not the laboratory that the fit comes from.
- How much: the share corrected for both errors, at the operating point that says it more
  precisely; where the two points contradict each other the interval spans both (``measured``).

The chances behind it stand in ``slide_point``, the spread of error rates in ``error_rates``.
"""

from __future__ import annotations

import numpy as np

from edge_malaria.records import Interval, Verdict
from edge_malaria.runtime.slide.counts import (
    DEFAULT_RBC_PER_UL,
    Measured,
    SlideCount,
    SlideResult,
    VerdictRules,
    rbc_per_ul,
)
from edge_malaria.runtime.slide.error_rates import (
    FalsePositiveFit,
    choose_screening_threshold,
    fit_false_positives,
)
from edge_malaria.runtime.slide.operating_point import PointModel

__all__ = [
    "DEFAULT_RBC_PER_UL",
    "FalsePositiveFit",
    "Measured",
    "SlideCount",
    "SlideResult",
    "SlideStatistics",
    "VerdictRules",
    "choose_screening_threshold",
    "fit_false_positives",
    "rbc_per_ul",
]

# A count that could ever settle a slide; beyond it more cells are no advice.
MOST_CELLS = 200_000


class SlideStatistics:
    """Verdicts and intervals under one fit and one set of rules.

    Attributes:
        screening: the point of the verdict.
        balanced: the point that misses fewer parasites; None where the fit lacks it.
    """

    def __init__(self, fit: FalsePositiveFit, rules: VerdictRules | None = None) -> None:
        self.fit = fit
        self.rules = rules or VerdictRules()
        self.screening = PointModel(fit, self.rules.inflation)
        balanced = fit.quantity
        self.balanced = None if balanced is None else PointModel(balanced, self.rules.inflation)
        self._measured: dict[SlideCount, Measured | None] = {}

    def p_value(self, count: SlideCount, *, inflated: bool) -> float:
        """Chance of as many positives or more on a slide without parasites."""
        return self.screening.p_value(count.positive, count.cells, inflated=inflated)

    def count_needed(self, cells: int) -> int | None:
        """The fewest positives among ``cells`` that are called parasites; None where none are."""
        return self.screening.count_needed(cells, self.rules.level)

    def measured(self, count: SlideCount) -> Measured | None:
        """How much there is, by the operating point that says it best; None without cells.

        The screening point calls hardly any healthy cell, but it misses many parasites, and on a
        slide of another stain or camera perhaps nearly all. The balanced point calls more healthy
        cells and misses few parasites anywhere. So the balanced count is taken where the
        screening count is more than usual without parasites, the balanced count by itself is, too,
        and its interval is the narrower one in proportion to its lower end. A slide that is picked
        by its many likely cells has too many of them by chance or stain more often than not, so
        the lower end is the lower one of the two. Where each estimate lies outside the other's
        interval this slide's errors are not those of the fit: the interval then spans both.
        """
        if count not in self._measured:
            self._measured[count] = self._measure(count)
        return self._measured[count]

    def _measure(self, count: SlideCount) -> Measured | None:
        n = count.cells
        if n == 0:
            return None
        share, few = _at(self.screening, count.positive, n)
        usual = not (self.p_value(count, inflated=False) <= self.rules.grey_level)
        if self.balanced is None or count.likely < count.positive or usual:
            return Measured(share, few, "screening")
        likely, many = _at(self.balanced, count.likely, n)
        if likely is None or not (many[0] > 0):
            return Measured(share, few, "screening")
        low = min(few[0], many[0])
        if share is None or not (many[0] <= share <= many[1] or few[0] <= likely <= few[1]):
            return Measured(likely, (low, max(few[1], many[1])), "balanced", disagree=True)
        if many[1] * few[0] < few[1] * many[0]:
            return Measured(likely, (low, many[1]), "balanced")
        return Measured(share, few, "screening")

    def parasitemia(self, count: SlideCount) -> float | None:
        """Corrected share of parasitized cells, 0-1; None without cells."""
        found = self.measured(count)
        return None if found is None else found.parasitemia

    def interval(self, count: SlideCount) -> Interval | None:
        """The 95 % interval of ``parasitemia``; None without cells."""
        found = self.measured(count)
        return None if found is None else found.ci95

    def limit_of_detection(self, cells: int, power: float = 0.95) -> float | None:
        """The lowest parasitemia called parasites-detected with chance ``power`` from ``cells``."""
        if cells < self.rules.min_cells_detected:
            return None
        needed = self.count_needed(cells)
        return None if needed is None else self.screening.limit_of_detection(needed, cells, power)

    def unfamiliar(self, count: SlideCount) -> bool:
        """Whether more cells than parasites explain lie between the classes.

        On slides like those of the fit most cells are clear; a stain or camera that the classifier
        does not know blurs all of them together, and positives are then its upper tail.
        """
        if count.cells == 0:
            return False
        allowed = self.rules.doubtful_base * count.cells + self.rules.max_doubtful * count.positive
        return not (count.doubtful <= allowed)

    def verdict(self, count: SlideCount) -> tuple[Verdict, str]:
        """The verdict and why, in plain words."""
        rules, n, k = self.rules, count.cells, count.positive
        if n == 0:
            return "indeterminate", "No red cell could be counted."
        detected = self.p_value(count, inflated=True) <= rules.level
        grey = self.p_value(count, inflated=False) <= rules.grey_level
        if self.unfamiliar(count):
            return "indeterminate", (
                f"{count.doubtful} of {n} cells lie between the classes: this stain, camera or "
                "light is unlike those that the error rate was measured on. A person must look."
            )
        if detected and n >= rules.min_cells_detected:
            return "parasites-detected", (
                f"{k} of {n} cells were called parasitized; without parasites at most "
                f"{(self.count_needed(n) or 1) - 1} are to be expected."
            )
        if detected:
            return "indeterminate", f"Only {n} cells were counted; {rules.min_cells} are the least."
        if grey:
            return "indeterminate", (
                f"{k} of {n} cells were called parasitized: more than usual without parasites, "
                "too few to tell them from the classifier's own errors. A person must look."
            )
        if n < rules.min_cells:
            return "indeterminate", f"Only {n} cells were counted; {rules.min_cells} are the least."
        return "not-detected", (
            f"Not detected in {n} cells: {k} called parasitized, no more than the classifier's own "
            "errors explain."
        )

    def more_cells(self, count: SlideCount) -> int | None:
        """How many more cells would settle an indeterminate slide if its share stayed as it is.

        0 where it is settled; None where no number would, as the spread of the classifier's own
        errors is the floor.
        """
        if self.verdict(count)[0] != "indeterminate":
            return 0
        if self.unfamiliar(count):
            return None
        n = max(count.cells, 1)
        share, doubtful = count.positive / n, count.doubtful / n
        sizes = np.geomspace(max(n, 100) * 1.05, MOST_CELLS, 48)
        for total in np.unique(
            np.concatenate([[self.rules.min_cells], sizes]).astype(int)
        ).tolist():
            if total <= count.cells:
                continue
            guess = SlideCount(total, round(share * total), round(doubtful * total))
            if self.verdict(guess)[0] != "indeterminate":
                return int(total - count.cells)
        return None

    def result(self, count: SlideCount, rbc: float = DEFAULT_RBC_PER_UL) -> SlideResult:
        """Everything that the report says of the slide.

        Args:
            count: what was counted.
            rbc: red cells per microlitre of blood.
        """
        verdict, why = self.verdict(count)
        found = self.measured(count)
        share, interval = (found.parasitemia, found.ci95) if found else (None, None)
        limit = self.limit_of_detection(count.cells)
        per_ul = None if interval is None else (interval[0] * rbc, interval[1] * rbc)
        return SlideResult(
            verdict=verdict,
            why=why,
            parasitemia=share,
            ci95=interval,
            parasites_per_ul=None if share is None else share * rbc,
            parasites_per_ul_ci95=per_ul,
            rbc_per_ul=rbc,
            limit_of_detection=limit,
            limit_of_detection_per_ul=None if limit is None else limit * rbc,
            p_value=self.p_value(count, inflated=False),
            p_value_inflated=self.p_value(count, inflated=True),
            count_needed=self.count_needed(count.cells) if count.cells else None,
            more_cells=self.more_cells(count),
            unfamiliar=self.unfamiliar(count),
            measured_at=found.at if found else "screening",
            points_disagree=bool(found and found.disagree),
            false_positive_mean=self.screening.eps.mean,
            false_positive_p95=self.screening.eps.quantile(0.95),
            sensitivity_mean=self.screening.sensitivity.mean,
        )


def _at(point: PointModel, k: int, n: int) -> tuple[float | None, Interval]:
    return point.estimate(k, n), point.interval(k, n)
