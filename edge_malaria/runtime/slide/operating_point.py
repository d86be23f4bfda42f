"""Counts at one operating point: how probable they are, and what parasitemia they speak for.

A slide has a parasitemia p, a false-positive rate eps and a sensitivity s of its own. Of n counted
cells, K ~ Binomial(n, eps (1 - p) + s p) are called parasitized. eps and s are drawn from what was
measured on slides that the classifier had not seen.

- Interval: every p under which the observed K is not in a 2.5 % tail (test inversion with mid-P,
  which takes the discreteness of counts out of the coverage).
- Estimate: the p under which K is in the middle, so that it always lies inside its interval.
- Limit of detection: the lowest p at which n cells would reach a count in 95 of 100 slides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from edge_malaria.records import Interval
from edge_malaria.runtime.slide.beta_binomial import (
    Floats,
    RateSpread,
    binomial_cdf,
    binomial_sf,
    log_gamma,
)
from edge_malaria.runtime.slide.expected_errors import PointErrors

# Rates at which the chance of a count is computed (``_mid_p``).
_RATES = 600
# Parts into which a range of counts is cut in one step of ``fewest_as_rare``.
_SECTIONS = 24
# Parasitemias among which intervals are sought.
_GRID = np.concatenate([[0.0], np.geomspace(1e-7, 1.0, 57)])


class PointModel:
    """Chances of counts at one operating point.

    Args:
        errors: to expect there.
    """

    def __init__(self, errors: PointErrors) -> None:
        self.eps: RateSpread = errors.eps
        self.sensitivity: RateSpread = errors.sensitivity
        self._needed: dict[tuple[int, float], int | None] = {}
        self._p_values: dict[tuple[int, int], float] = {}
        self._last: tuple[tuple[int, int], Floats] | None = None

    def _mixed(self, tail: Any, k: float, n: int, p: float) -> float:
        """``tail`` (such as binomial_sf) at parasitemia ``p``, averaged over eps and s."""
        eps = self.eps
        if p == 0.0:
            return float(eps.weights @ tail(k, n, eps.rates))
        rate = eps.rates[:, None] * (1 - p) + self.sensitivity.rates[None, :] * p
        return float(eps.weights @ tail(k, n, rate) @ self.sensitivity.weights)

    def p_value(self, k: int, n: int) -> float:
        """Chance of ``k`` positives or more among ``n`` cells without parasites; 1 for n = 0."""
        if n == 0:
            return 1.0
        if (k, n) not in self._p_values:
            self._p_values[k, n] = self._mixed(binomial_sf, k, n, 0.0)
        return self._p_values[k, n]

    def note_p_values(self, counts: Sequence[tuple[int, int]]) -> None:
        """Computes ``p_value`` of many (k, n) at once: the series takes as long for one."""
        unknown = [pair for pair in counts if pair[1] > 0 and pair not in self._p_values]
        if unknown:
            k, n = np.array(unknown, np.float64).T
            chances = binomial_sf(k[:, None], n[:, None], self.eps.rates)
            for pair, chance in zip(unknown, chances, strict=True):
                self._p_values[pair] = float(self.eps.weights @ chance)

    def count_needed(self, n: int, level: float) -> int | None:
        """The fewest positives of ``n`` as rare as ``level`` without parasites; None where none."""
        if (n, level) not in self._needed:
            self._needed[n, level] = fewest_as_rare(self.eps, n, level)
        return self._needed[n, level]

    def estimate(self, k: int, n: int) -> float | None:
        """The parasitemia that puts ``k`` of ``n`` in the middle; None where nothing tells apart.

        With well-known errors it is Rogan and Gladen's (k/n - eps) / (s - eps).
        """
        if n == 0 or not (self.sensitivity.mean > self.eps.mean):
            return None
        above = np.flatnonzero(self._on_grid(k, n) >= 0.5)
        if not len(above):
            return 0.0
        last = int(above[-1])
        if last == len(_GRID) - 1:
            return 1.0
        fine = np.linspace(_GRID[last], _GRID[last + 1], 25)
        chance = self._mid_p(k, n, fine)
        return float(np.interp(-0.5, -chance, fine))

    def interval(self, k: int, n: int, level: float = 0.95) -> Interval:
        """The parasitemias under which ``k`` of ``n`` > 0 cells is in no tail."""
        tail = (1 - level) / 2
        grid, below = _GRID, self._on_grid(k, n)
        # Lower end: the least p that makes so many positives not too rare; upper end: the largest
        # that makes so few not too rare. Both fall with p, so each lies between two grid points.
        first = int(np.argmax(1 - below > tail)) if (1 - below > tail).any() else len(grid) - 1
        last = int(np.flatnonzero(below > tail)[-1]) if (below > tail).any() else 0
        low, high = float(grid[first]), float(grid[last])
        fine_low = np.linspace(grid[max(first - 1, 0)], grid[first], 25)
        fine_high = np.linspace(grid[last], grid[min(last + 1, len(grid) - 1)], 25)
        below = self._mid_p(k, n, np.concatenate([fine_low, fine_high]))
        if (1 - below[:25] > tail).any():
            low = float(fine_low[int(np.argmax(1 - below[:25] > tail))])
        if (below[25:] > tail).any():
            high = float(fine_high[int(np.flatnonzero(below[25:] > tail)[-1])])
        # A count far below what the fit expects would make the interval empty; no count can say
        # more than the rule of three: -ln(tail) parasites among n cells may always be missed.
        least = min(1.0, -float(np.log(tail)) / (n * max(self.sensitivity.mean, 0.05)))
        return (low, max(high, low, least))

    def _on_grid(self, k: int, n: int) -> Floats:
        """``_mid_p`` at ``_GRID``; an estimate and its interval ask for that of the same count."""
        if self._last is None or self._last[0] != (k, n):
            self._last = (k, n), self._mid_p(k, n, _GRID)
        return self._last[1]

    def _mid_p(self, k: int, n: int, parasitemia: Floats) -> Floats:
        """P(K < k) + P(K = k) / 2 at each parasitemia, averaged over eps and s."""
        known, chance = _chances(k, n)
        p = parasitemia[:, None, None]
        rate = self.eps.rates[None, :, None] * (1 - p) + self.sensitivity.rates[None, None, :] * p
        middle = np.interp(rate.ravel(), known, chance).reshape(rate.shape)
        return np.asarray(
            np.einsum("pes,e,s->p", middle, self.eps.weights, self.sensitivity.weights), np.float64
        )

    def limit_of_detection(
        self, needed: int, n: int, power: float = 0.95, settles: float | None = None
    ) -> float | None:
        """The lowest parasitemia that reaches ``needed`` of ``n`` with chance ``power``.

        Args:
            needed: calls.
            n: cells.
            power: the chance.
            settles: where it is given, the answer is exact only in whether it lies above this.
        """
        known, below = _fewer(needed, n)

        def reached(p: float) -> bool:
            rate = self._rates(p)
            fewer = np.interp(rate.ravel(), known, below).reshape(rate.shape)
            return float(self.eps.weights @ (1 - fewer) @ self.sensitivity.weights) >= power

        return _bisect(reached, settles) if reached(1.0) else None

    def surely_above(self, needed: int, n: int, limit: float, power: float) -> bool:
        """Whether ``limit_of_detection`` lies above ``limit``, as far as a bound can tell.

        Chernoff's bound: of n cells called at the rate r, k or more are called with a chance of at
        most exp(-n D), D = k/n ln(k/n / r) + (1 - k/n) ln((1 - k/n) / (1 - r)), for r < k/n. False
        says nothing. It also holds for every larger ``needed``.
        """
        share = needed / n
        if not (0 < share < 1):
            return False

        def may_be_reached(p: float) -> bool:
            rate = np.clip(self._rates(p), 1e-300, 1 - 1e-16)
            apart = share * np.log(share / rate) + (1 - share) * np.log((1 - share) / (1 - rate))
            chance = np.where(rate < share, np.exp(-n * apart), 1.0)
            return float(self.eps.weights @ chance @ self.sensitivity.weights) >= power

        # The same parasitemias are asked as in the search itself, so its answer lies above, too.
        return _bisect(may_be_reached, limit) > limit

    def _rates(self, p: float) -> Floats:
        """How often a cell is called at parasitemia ``p``: [false calls, sensitivities]."""
        return self.eps.rates[:, None] * (1 - p) + self.sensitivity.rates[None, :] * p


@lru_cache(maxsize=1024)
def _fewer(k: int, n: int) -> tuple[Floats, Floats]:
    """(some hundred rates of calls, P(K < k) at each); they hold for every model.

    The chance falls smoothly with the rate, so a line through it at these rates is read instead of
    the incomplete beta function at each of the 100,000: within 1e-4.
    """
    reach = 9 * np.sqrt(k + 1) + 20
    known = np.linspace(max(0.0, (k - reach) / n), min(1.0, (k + reach) / n), _RATES)
    known = np.clip(known, 1e-12, 1 - 1e-12)
    return known, binomial_cdf(k - 1, n, known)


@lru_cache(maxsize=1024)
def _chances(k: int, n: int) -> tuple[Floats, Floats]:
    """(rates of calls, P(K < k) + P(K = k) / 2 at each), as ``_fewer``."""
    known, below = _fewer(k, n)
    choose = log_gamma(n + 1.0) - log_gamma(k + 1.0) - log_gamma(n - k + 1.0)
    exact = np.exp(choose + k * np.log(known) + (n - k) * np.log1p(-known))
    return known, below + exact / 2


def fewest_as_rare(eps: RateSpread, n: int, level: float) -> int | None:
    """The fewest calls of ``n`` cells that false calls reach with chance ``level`` at most."""
    low, high = 0, n + 1
    while high - low > 1:
        # Many counts cost hardly more than one: numpy's calls take the time.
        between = np.unique(np.linspace(low, high, _SECTIONS + 1).astype(int)[1:-1])
        between = between[between > low]
        rare = binomial_sf(between[:, None], n, eps.rates) @ eps.weights <= level
        first = int(np.argmax(rare)) if rare.any() else len(between)
        bounds = [low, *between.tolist(), high]
        low, high = bounds[first], bounds[first + 1]
    return high if high <= n else None


def _bisect(holds: Callable[[float], bool], settles: float | None = None) -> float:
    """The p in 0..1 from which ``holds`` is True, found on a logarithmic scale to 0.1 %.

    Where ``settles`` is given the search ends as soon as it is known on which side of it p lies.
    """
    low, high = 1e-8, 1.0
    while high / low > 1.001 and (settles is None or low < settles < high):
        middle = float(np.sqrt(low * high))
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
