"""Persons who look at flagged cells: what their confirmed cells say of the slide."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from edge_malaria.records import Interval
from edge_malaria.runtime.slide.beta_binomial import (
    Floats,
    RateFit,
    RateSpread,
    binomial_sf,
    log_beta,
)
from edge_malaria.runtime.slide.counts import ReviewCount
from edge_malaria.runtime.slide.expected_errors import PointErrors
from edge_malaria.runtime.slide.operating_point import PointModel

# One reader in three confirms every flagged cell that holds a parasite; the others confirm 95 of
# 100, one of them 83, another all (Beta(19, 1)). Of flagged cells that hold none a reader confirms
# one of 1,000; one reader in 40 takes one of 100 for a parasite. Assumed, not measured: readers of
# pictures of single cells have not been tested with this program.
READER_SENSITIVITY = (19.0, 1.0)
FLAWLESS_READERS = 1 / 3
READER_FALSE_CONFIRMATION = 0.001
_HASTY_READER = 0.01
# How often mistaken confirmations alone may reach the number that means parasites.
MISTAKEN_LEVEL = 0.01
_NODES, _SENSITIVITY_NODES = 8, 24
# How far the distance between the two points' sensitivities (in logits) differs between slides: one
# standard deviation of its logarithm, on NIH validation patients and the fit part of iml.
_STEP_SPREAD = 0.4
# In each of two laboratories whose parasites were measured (NIH, iml) the distance is about the
# usual one. That the parasites of the next laboratory follow another rule then has a chance of one
# in four (Laplace's rule of succession); every share of strong cells is as probable there.
_OTHER_RULE = 0.25
# Where the two points lie closer together than this, in logits, the step between them differs from
# slide to slide by more than itself, and the confirmed cells tell nothing.
_LEAST_STEP = 0.5


def confirmations_needed(flagged: int, least: int) -> int:
    """How many confirmed cells mean parasites where so many were looked at.

    At least ``least``; more where a reader who is wrong on one flagged cell of 1,000 would reach
    that by mistakes alone on more than one slide of 100.
    """
    needed = least
    while needed < flagged:
        mistaken = float(binomial_sf(needed, flagged, READER_FALSE_CONFIRMATION))
        if mistaken <= MISTAKEN_LEVEL:
            break
        needed += 1
    return needed


def _sensitivities() -> RateSpread:
    """How many of the flagged parasites a reader confirms."""
    usual = RateFit(*READER_SENSITIVITY, 0, 0).spread().thinned(_NODES)
    weights = np.append(usual.weights * (1 - FLAWLESS_READERS), FLAWLESS_READERS)
    return RateSpread(np.append(usual.rates, 1.0), weights)


def _false_confirmations() -> RateSpread:
    """How often a reader confirms a flagged cell that holds no parasite: log-normal."""
    steps = np.linspace(-2.5, 2.5, 11)
    # 1.96 standard deviations above the usual reader stands the one reader in 40.
    spread = np.log(_HASTY_READER / READER_FALSE_CONFIRMATION) / 1.96
    weights = np.exp(-0.5 * steps**2)
    return RateSpread(READER_FALSE_CONFIRMATION * np.exp(spread * steps), weights / weights.sum())


class ReaderModel:
    """Counts of confirmed cells: flagged by the balanced point, then confirmed by a person.

    How many parasites are flagged at all differs much between laboratories, and the confirmed cells
    tell something of it: where most of them reach the upper point, too, the parasites of this slide
    score high, and few lie below the balanced one. How far the sensitivity falls from the one point
    to the other differs between slides (``_STEP_SPREAD``).

    Args:
        flagging: the errors at the point that flags.
        upper: those at a point above it; None where there is none.

    Attributes:
        flagged_share: of healthy cells that are flagged, on average.
    """

    def __init__(self, flagging: PointErrors, upper: PointErrors | None = None) -> None:
        self.flagged_share = flagging.eps.mean
        self._found = flagging.sensitivity
        self._reads = _sensitivities()
        self._mistakes = _false_confirmations()
        self._strong = None if upper is None else _strong_share(self._found, upper.sensitivity)
        self._limits: dict[tuple[int, int, int], float | None] = {}

    def limit_of_detection(self, cells: int, flagged: int, confirmed: int) -> float | None:
        """The lowest parasitemia at which so many cells are confirmed on 95 of 100 slides.

        Args:
            cells: counted.
            flagged: of them, without parasites.
            confirmed: so many mean parasites.
        """
        if cells == 0:
            return None
        key = cells, flagged, confirmed
        if key not in self._limits:
            point = self._point(flagged / cells, self._found.weights)
            self._limits[key] = point.limit_of_detection(confirmed, cells)
        return self._limits[key]

    def measured(self, cells: int, review: ReviewCount) -> tuple[float | None, Interval]:
        """Parasitemia by the confirmed cells, corrected for what flagging and reading miss.

        Args:
            cells: counted, above 0.
            review: complete. A flagged cell on which no answer stands may hold a parasite, so the
                upper end takes it for confirmed.
        """
        confirmed, most = review.confirmed, review.confirmed + review.open
        weights = self._weights(confirmed, review.confirmed_upper)
        point = self._point((review.flagged - confirmed) / cells, weights)
        low, high = point.interval(confirmed, cells)
        if most > confirmed:
            high = point.interval(most, cells)[1]
        return point.estimate(confirmed, cells), (low, high)

    def _weights(self, confirmed: int, strong: int) -> Floats:
        """How probable each sensitivity of flagging is on this slide."""
        weights = self._found.weights
        if self._strong is None or confirmed == 0:
            return weights
        shares, chances = self._strong
        log = strong * np.log(shares) + (confirmed - strong) * np.log1p(-shares)
        other = float(log_beta(strong + 1.0, confirmed - strong + 1.0))
        top = max(float(log.max()), other)
        by_step = chances @ np.exp(log - top)
        told = weights * ((1 - _OTHER_RULE) * by_step + _OTHER_RULE * np.exp(other - top))
        return np.asarray(told / told.sum(), np.float64)

    def _point(self, healthy_share: float, weights: Floats) -> PointModel:
        """Chances of confirmed cells; ``healthy_share`` of the cells is flagged without cause."""
        rates = np.outer(self._found.rates, self._reads.rates).ravel()
        both = np.outer(weights, self._reads.weights).ravel()
        order = np.argsort(rates, kind="stable")
        found = RateSpread(rates[order], both[order]).thinned(_SENSITIVITY_NODES)
        return PointModel(PointErrors(self._mistakes.scaled(healthy_share), found))


def usual_step(found: RateSpread, upper: RateSpread) -> float:
    """By how many logits the median sensitivity falls from the flagging to the upper point."""
    return float(_logit(found.quantile(0.5)) - _logit(upper.quantile(0.5)))


def _strong_share(found: RateSpread, upper: RateSpread) -> tuple[Floats, Floats] | None:
    """Of a slide's flagged parasites, the share that reaches the upper point.

    Returns:
        The share for each step and sensitivity of flagging, [steps, sensitivities], and how
        probable each step is, [steps]; None where the points lie too close together.
    """
    usual = usual_step(found, upper)
    if not (usual >= _LEAST_STEP):
        return None
    spread = np.linspace(-2.5, 2.5, 11)
    steps = usual * np.exp(_STEP_SPREAD * spread)
    chances = np.exp(-0.5 * spread**2)
    called = 1 / (1 + np.exp(steps[:, None] - _logit(found.rates)))
    shares = np.clip(called / found.rates, 1e-6, 1 - 1e-6)
    return np.asarray(shares, np.float64), chances / chances.sum()


def _logit(rate: ArrayLike) -> Floats:
    share = np.clip(np.asarray(rate, np.float64), 1e-6, 1 - 1e-6)
    return np.asarray(np.log(share / (1 - share)), np.float64)
