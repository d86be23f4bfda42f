"""From counts to a slide's verdict, with limits that a careful microscopist would accept.

The model. A slide has a parasitemia p, a false-positive rate eps and a sensitivity s of its own.
Of N counted cells, K ~ Binomial(N, eps (1 - p) + s p) are called parasitized. eps and s are drawn
from what was measured on patients that the classifier had not seen (``beta_binomial``), the
uncertainty of that fit included.

- Verdict: parasites are detected only where K exceeds what the fit allows at the stated level even
  if this slide's false-positive rate were ``inflation`` times what was measured: a new microscope,
  stain or camera is not the laboratory that the fit comes from.
- Interval: every p under which the observed K is not in a 2.5 % tail (test inversion with mid-P,
  which takes the discreteness of counts out of the coverage).
- Point: (K/N - mean eps) / (mean s - mean eps), cut to 0..1 (Rogan & Gladen 1978).
- Limit of detection: the lowest p at which this many cells would be called parasites-detected in
  95 of 100 slides.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edge_malaria.records import Interval, Verdict, expect
from edge_malaria.runtime.beta_binomial import (
    Floats,
    RateFit,
    RateSpread,
    binomial_cdf,
    binomial_sf,
    log_gamma,
)
from edge_malaria.runtime.error_rates import (
    FalsePositiveFit,
    choose_screening_threshold,
    fit_false_positives,
)

__all__ = [
    "DEFAULT_RBC_PER_UL",
    "FalsePositiveFit",
    "SlideCount",
    "SlideResult",
    "SlideStatistics",
    "VerdictRules",
    "choose_screening_threshold",
    "fit_false_positives",
    "rbc_per_ul",
]

# WHO, Basic malaria microscopy (2010): 5,000,000 red cells per microlitre where not measured.
DEFAULT_RBC_PER_UL = 5_000_000.0
# Infected per 1,000 red cells x haematocrit % x 125.6 = parasites per microlitre, that is
# 125,600 red cells per microlitre for each per cent of haematocrit.
RBC_PER_UL_PER_HAEMATOCRIT = 125_600.0
# What the sensitivity's spread is taken for where a bundle does not record it.
ASSUMED_SENSITIVITY = (18.0, 2.0)
# A count that could ever settle a slide; beyond it more cells are no advice.
MOST_CELLS = 200_000


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
        doubtful_base: the share of doubtful cells that is allowed however few are positive; the
            uninfected cells of validation patients show 0-14 %, sets of other laboratories 25-73 %.
    """

    level: float = 0.01
    grey_level: float = 0.1
    inflation: float = 4.0
    min_cells: int = 500
    min_cells_detected: int = 200
    doubtful_from: float = 0.2
    doubtful_base: float = 0.15
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


class SlideStatistics:
    """Verdicts and intervals under one fit and one set of rules."""

    def __init__(self, fit: FalsePositiveFit, rules: VerdictRules | None = None) -> None:
        self.fit = fit
        self.rules = rules or VerdictRules()
        quantity = fit.quantity
        self.quantity = None if quantity is None else SlideStatistics(quantity, self.rules)
        self.eps: RateSpread = fit.false_positives.spread().thinned(48)
        self.eps_inflated = self.eps.scaled(self.rules.inflation)
        misses = fit.misses or RateFit(ASSUMED_SENSITIVITY[1], ASSUMED_SENSITIVITY[0], 0, 0)
        self.sensitivity: RateSpread = misses.spread().thinned(20).complement()
        self._counts_needed: dict[int, int | None] = {}
        self._better: dict[SlideCount, tuple[SlideStatistics, SlideCount] | None] = {}

    def _mixed(self, tail: Any, k: float, n: int, p: float, eps: RateSpread) -> float:
        """``tail`` (such as binomial_sf) at parasitemia ``p``, averaged over eps and s."""
        if p == 0.0:
            return float(eps.weights @ tail(k, n, eps.rates))
        rate = eps.rates[:, None] * (1 - p) + self.sensitivity.rates[None, :] * p
        return float(eps.weights @ tail(k, n, rate) @ self.sensitivity.weights)

    def p_value(self, count: SlideCount, *, inflated: bool) -> float:
        """Chance of as many positives or more on a slide without parasites."""
        if count.cells == 0:
            return 1.0
        eps = self.eps_inflated if inflated else self.eps
        return self._mixed(binomial_sf, count.positive, count.cells, 0.0, eps)

    def count_needed(self, cells: int) -> int | None:
        """The fewest positives among ``cells`` that are called parasites; None where none are."""
        if cells not in self._counts_needed:
            low, high = 0, cells + 1
            while high - low > 1:
                middle = (low + high) // 2
                chance = self._mixed(binomial_sf, middle, cells, 0.0, self.eps_inflated)
                low, high = (low, middle) if chance <= self.rules.level else (middle, high)
            self._counts_needed[cells] = high if high <= cells else None
        return self._counts_needed[cells]

    def _quantity(self, count: SlideCount) -> tuple[SlideStatistics, SlideCount] | None:
        """The statistics that measure how much, where they measure better than the verdict's own.

        The screening point misses more parasites, and not equally many on every slide; the
        balanced point calls more healthy cells. Once parasites are detected, whichever has the
        narrower interval says how many.
        """
        if count not in self._better:
            self._better[count] = self._narrower(count)
        return self._better[count]

    def _narrower(self, count: SlideCount) -> tuple[SlideStatistics, SlideCount] | None:
        if self.quantity is None or count.likely < count.positive or count.cells == 0:
            return None
        needed = self.count_needed(count.cells)
        if needed is None or count.positive < needed:
            return None
        other = SlideCount(count.cells, count.likely)
        own, better = self._interval(count), self.quantity._interval(other)
        narrower = better[0] > 0 and better[1] - better[0] < own[1] - own[0]
        return (self.quantity, other) if narrower else None

    def parasitemia(self, count: SlideCount) -> float | None:
        """Rogan-Gladen estimate, 0-1."""
        if count.cells == 0:
            return None
        better = self._quantity(count)
        if better is not None:
            return better[0].parasitemia(better[1])
        eps, sens = self.eps.mean, self.sensitivity.mean
        if not (sens > eps):
            return None
        return float(np.clip((count.positive / count.cells - eps) / (sens - eps), 0.0, 1.0))

    def interval(self, count: SlideCount, level: float = 0.95) -> Interval | None:
        """The parasitemias under which this count is in no tail; None without cells."""
        if count.cells == 0:
            return None
        better = self._quantity(count)
        return (
            self._interval(count, level)
            if better is None
            else better[0]._interval(better[1], level)
        )

    def _interval(self, count: SlideCount, level: float = 0.95) -> Interval:
        tail = (1 - level) / 2
        grid = np.concatenate([[0.0], np.geomspace(1e-7, 1.0, 57)])
        below = self._mid_p(count, grid)
        # Lower end: the least p that makes so many positives not too rare; upper end: the largest
        # that makes so few not too rare. Both fall with p, so each lies between two grid points.
        first = int(np.argmax(1 - below > tail)) if (1 - below > tail).any() else len(grid) - 1
        last = int(np.flatnonzero(below > tail)[-1]) if (below > tail).any() else 0
        low, high = float(grid[first]), float(grid[last])
        fine_low = np.linspace(grid[max(first - 1, 0)], grid[first], 25)
        fine_high = np.linspace(grid[last], grid[min(last + 1, len(grid) - 1)], 25)
        below = self._mid_p(count, np.concatenate([fine_low, fine_high]))
        if (1 - below[:25] > tail).any():
            low = float(fine_low[int(np.argmax(1 - below[:25] > tail))])
        if (below[25:] > tail).any():
            high = float(fine_high[int(np.flatnonzero(below[25:] > tail)[-1])])
        # A count far below what the fit expects would make the interval empty; no count can say
        # more than the rule of three: -ln(tail) parasites among n cells may always be missed.
        least = min(1.0, -float(np.log(tail)) / (count.cells * max(self.sensitivity.mean, 0.05)))
        return (low, max(high, low, least))

    def _mid_p(self, count: SlideCount, parasitemia: Floats) -> Floats:
        """P(K < positive) + P(K = positive) / 2 at each parasitemia, averaged over eps and s."""
        k, n = count.positive, count.cells
        p = parasitemia[:, None, None]
        rate = self.eps.rates[None, :, None] * (1 - p) + self.sensitivity.rates[None, None, :] * p
        rate = np.clip(rate, 1e-12, 1 - 1e-12)
        choose = log_gamma(n + 1.0) - log_gamma(k + 1.0) - log_gamma(n - k + 1.0)
        exact = np.exp(choose + k * np.log(rate) + (n - k) * np.log1p(-rate))
        middle = binomial_cdf(k - 1, n, rate) + exact / 2
        return np.asarray(
            np.einsum("pes,e,s->p", middle, self.eps.weights, self.sensitivity.weights), np.float64
        )

    def limit_of_detection(self, cells: int, power: float = 0.95) -> float | None:
        """The lowest parasitemia called parasites-detected with chance ``power`` from ``cells``."""
        if cells < self.rules.min_cells_detected:
            return None
        needed = self.count_needed(cells)
        if needed is None:
            return None

        def reached(p: float) -> bool:
            return self._mixed(binomial_sf, needed, cells, p, self.eps) >= power

        return _bisect(reached) if reached(1.0) else None

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
        share = count.positive / n
        doubtful = count.doubtful / n
        for total in np.unique(
            np.concatenate(
                [[self.rules.min_cells], np.geomspace(max(n, 100) * 1.05, MOST_CELLS, 48)]
            ).astype(int)
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
        share, interval = self.parasitemia(count), self.interval(count)
        limit = self.limit_of_detection(count.cells)
        return SlideResult(
            verdict=verdict,
            why=why,
            parasitemia=share,
            ci95=interval,
            parasites_per_ul=None if share is None else share * rbc,
            parasites_per_ul_ci95=None
            if interval is None
            else (interval[0] * rbc, interval[1] * rbc),
            rbc_per_ul=rbc,
            limit_of_detection=limit,
            limit_of_detection_per_ul=None if limit is None else limit * rbc,
            p_value=self.p_value(count, inflated=False),
            p_value_inflated=self.p_value(count, inflated=True),
            count_needed=self.count_needed(count.cells) if count.cells else None,
            more_cells=self.more_cells(count),
            unfamiliar=self.unfamiliar(count),
            measured_at="screening" if self._quantity(count) is None else "balanced",
            false_positive_mean=self.eps.mean,
            false_positive_p95=self.eps.quantile(0.95),
            sensitivity_mean=self.sensitivity.mean,
        )


def _bisect(holds: Any) -> float:
    """The p in 0..1 from which ``holds`` is True, found on a logarithmic scale to 0.1 %."""
    low, high = 1e-8, 1.0
    while high / low > 1.001:
        middle = float(np.sqrt(low * high))
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
