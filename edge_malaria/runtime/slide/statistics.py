"""From counts to a slide's verdict, with limits that a careful microscopist would accept.

- Without a reader: parasites are detected only where the count at the screening point exceeds what
  slides without parasites show, of the site where a profile says so, else of a laboratory of which
  nothing is known.
- With every flagged cell judged by a person the verdict is the reader's (``readers``).
- ``not-detected`` only where the slide could have shown parasites: its limit of detection lies at
  or below ``max_lod``.
- How much: the share corrected for both errors, at the operating point that says it more
  precisely; no number where none is known.

The chances behind it stand in ``operating_point``, the spread of error rates in ``hierarchy``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from edge_malaria.records import Interval
from edge_malaria.runtime.slide.counts import (
    DEFAULT_RBC_PER_UL,
    Measured,
    ReviewCount,
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
from edge_malaria.runtime.slide.expected_errors import SlideErrors
from edge_malaria.runtime.slide.findings import (
    Finding,
    Seen,
    found_alone,
    found_by_reader,
    nothing_found,
)
from edge_malaria.runtime.slide.further_cells import RoughLimit, larger_slides
from edge_malaria.runtime.slide.operating_point import PointModel
from edge_malaria.runtime.slide.readers import ReaderModel, confirmations_needed

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

Limit = Callable[[int], float | None]


class SlideStatistics:
    """Verdicts and intervals under one error model and one set of rules.

    Args:
        errors: what is known of the classifier (``ErrorRecord.errors``, ``SiteProfile.errors``).
        rules: the limits.

    Attributes:
        screening: the point of the verdict.
        balanced: the point that misses fewer parasites; None where the errors lack it.
        reader: persons who look at the cells that the balanced point flags.
    """

    def __init__(self, errors: SlideErrors, rules: VerdictRules | None = None) -> None:
        self.errors = errors
        self.rules = rules or VerdictRules()
        self.screening = PointModel(errors.screening)
        self.balanced = None if errors.balanced is None else PointModel(errors.balanced)
        self.reader = (
            ReaderModel(errors.screening)
            if errors.balanced is None
            else ReaderModel(errors.balanced, errors.upper or errors.screening)
        )
        self._measured: dict[SlideCount, Measured | None] = {}
        self._limits: dict[int, float | None] = {}

    def p_value(self, count: SlideCount) -> float:
        """Chance of as many positives or more on a slide without parasites."""
        return self.screening.p_value(count.positive, count.cells)

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
        usual = not (self.p_value(count) <= self.rules.grey_level)
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

    def limit_of_detection(self, cells: int, power: float = 0.95) -> float | None:
        """The lowest parasitemia called parasites-detected with chance ``power`` from ``cells``."""
        if cells < self.rules.min_cells_detected:
            return None
        if power == 0.95 and cells in self._limits:
            return self._limits[cells]
        needed = self.count_needed(cells)
        limit = None if needed is None else self.screening.limit_of_detection(needed, cells, power)
        if power == 0.95:
            self._limits[cells] = limit
        return limit

    def limit_reviewed(self, cells: int, flagged: float | None = None) -> float | None:
        """The same where a person looks at every flagged cell.

        Args:
            cells: counted.
            flagged: share of them that is flagged; None takes what is usual without parasites.
        """
        share = self.reader.flagged_share if flagged is None else flagged
        looked_at = round(share * cells)
        needed = confirmations_needed(looked_at, self.rules.confirm_cells)
        return self.reader.limit_of_detection(cells, looked_at, needed)

    def unfamiliar(self, count: SlideCount) -> bool:
        """Whether more cells than parasites explain are neither clear nor positive.

        On slides like those of the fit most cells are clear; a stain or camera that the classifier
        does not know blurs all of them together, and positives are then its upper tail.
        """
        if count.cells == 0:
            return False
        base = max(self.rules.doubtful_base, self.errors.doubtful_base or 0.0)
        allowed = base * count.cells + self.rules.max_doubtful * count.positive
        return not (count.borderline <= allowed)

    def _seen(self, count: SlideCount) -> Seen:
        n = count.cells
        return Seen(
            self.p_value(count),
            lambda: self.count_needed(n) if n else None,
            self.unfamiliar(count),
        )

    def verdict(self, count: SlideCount, limit: Limit | None = None) -> Finding:
        """The program's own verdict; ``limit``: in place of ``limit_of_detection``."""
        of = limit or self.limit_of_detection
        return found_alone(self.rules, count, self._seen(count), lambda: of(count.cells))

    def finding(
        self, count: SlideCount, review: ReviewCount, limit: Limit | None = None
    ) -> Finding:
        """The verdict that stands: the reader's once every flagged cell is judged.

        Args:
            count: what was counted.
            review: what persons said of the flagged cells.
            limit: gives the program's own limit of detection of so many cells, in place of
                ``limit_of_detection``.
        """
        n = count.cells
        if n and review.complete:
            needed = confirmations_needed(review.flagged, self.rules.confirm_cells)
            seen = replace(self._seen(count), confirmations=needed)
            share = review.flagged / n
            return found_by_reader(
                self.rules, count, review, seen, lambda: self.limit_reviewed(n, share)
            )
        found = self.verdict(count, limit)
        if found.cause == "blind" and review.flagged == 0 and self.balanced is not None:
            # Nothing was flagged, so a person could not add anything: the reader's limit holds.
            reviewed = self.limit_reviewed(n, 0.0)
            return nothing_found(self.rules, n, reviewed, "within-errors", "Not one was flagged.")
        return found

    def more_cells(self, count: SlideCount, review: ReviewCount | None = None) -> int | None:
        """How many more cells would settle an indeterminate slide if its share stayed as it is.

        0 where it is settled; None where no number would.
        """
        review = review or ReviewCount(flagged=count.likely)
        finding = self.finding(count, review)
        if finding.verdict != "indeterminate":
            return 0
        # Without one counted cell its fields say what to do, not a number of cells.
        if finding.cause in ("no-cells", "unfamiliar", "no-answer"):
            return None
        slides = larger_slides(count, review, self.rules.min_cells)
        self.screening.note_p_values([(slide.positive, slide.cells) for slide, _ in slides])
        limit = RoughLimit(self.screening, self.rules, self.count_needed)
        for slide, looked_at in slides:
            if self.finding(slide, looked_at, limit).verdict != "indeterminate":
                return slide.cells - count.cells
        return None

    def result(
        self,
        count: SlideCount,
        rbc: float = DEFAULT_RBC_PER_UL,
        review: ReviewCount | None = None,
    ) -> SlideResult:
        """Everything that the report says of the slide.

        Args:
            count: what was counted.
            rbc: red cells per microlitre of blood.
            review: what persons said of the flagged cells.
        """
        review = review or ReviewCount(flagged=count.likely)
        finding = self.finding(count, review)
        more = self.more_cells(count, review)
        by_reader = bool(count.cells) and review.complete
        found = self._by_reader(count, review) if by_reader else self.measured(count)
        unfamiliar = self.unfamiliar(count)
        hopeless = finding.verdict == "indeterminate" and more is None
        known = found is not None and not (unfamiliar or found.disagree or hopeless)
        share = found.parasitemia if found is not None and known else None
        interval = found.ci95 if found is not None and known else None
        limit = self.limit_of_detection(count.cells)
        reviewed = self.limit_reviewed(count.cells, review.flagged / max(count.cells, 1))
        return SlideResult(
            verdict=finding.verdict,
            basis="reader" if by_reader else "algorithm",
            cause=finding.cause,
            why=finding.why,
            parasitemia=share,
            ci95=interval,
            parasites_per_ul=None if share is None else share * rbc,
            parasites_per_ul_ci95=interval and (interval[0] * rbc, interval[1] * rbc),
            rbc_per_ul=rbc,
            limit_of_detection=limit,
            limit_of_detection_per_ul=None if limit is None else limit * rbc,
            limit_of_detection_reviewed=reviewed,
            limit_of_detection_reviewed_per_ul=None if reviewed is None else reviewed * rbc,
            max_lod=self.rules.max_lod,
            p_value=self.p_value(count),
            count_needed=self.count_needed(count.cells) if count.cells else None,
            more_cells=more,
            unfamiliar=unfamiliar,
            measured_at=found.at if found else "screening",
            points_disagree=bool(found and found.disagree),
            false_positive_mean=self.screening.eps.mean,
            false_positive_p95=self.screening.eps.quantile(0.95),
            sensitivity_mean=self.screening.sensitivity.mean,
            site=self.errors.site,
            review=review,
        )

    def _by_reader(self, count: SlideCount, review: ReviewCount) -> Measured:
        share, interval = self.reader.measured(count.cells, review)
        return Measured(share, interval, "reader")


def _at(point: PointModel, k: int, n: int) -> tuple[float | None, Interval]:
    return point.estimate(k, n), point.interval(k, n)
