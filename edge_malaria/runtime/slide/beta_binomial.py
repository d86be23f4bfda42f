"""Beta-binomial rates that differ between patients, on numpy alone.

A classifier's error rate is not one number: every patient and slide has its own. The rates are
taken as draws from a beta distribution; what is uncertain about that beta itself (few patients)
is carried along by averaging over a grid of its parameters, so that the prediction for the next
slide is wider than the best fit alone would say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_malaria.records import expect

Floats = NDArray[np.float64]

# Stirling's series is good to 1e-14 from here on; below, the recurrence lifts the argument.
_STIRLING_FROM = 10


def log_gamma(x: ArrayLike) -> Floats:
    """ln Gamma(x) for x > 0, float64 of x's shape; relative error below 1e-12."""
    value = np.array(x, np.float64)
    shift = np.zeros_like(value)
    for _ in range(_STIRLING_FROM):
        low = value < _STIRLING_FROM
        if not low.any():
            break
        shift -= np.where(low, np.log(np.where(low, value, 1.0)), 0.0)
        value = np.where(low, value + 1.0, value)
    inverse = 1.0 / value
    square = inverse * inverse
    series = inverse * (
        1 / 12 - square * (1 / 360 - square * (1 / 1260 - square * (1 / 1680 - square / 1188)))
    )
    return np.asarray(
        shift + (value - 0.5) * np.log(value) - value + 0.5 * np.log(2 * np.pi) + series, np.float64
    )


def log_beta(a: ArrayLike, b: ArrayLike) -> Floats:
    """ln B(a, b)."""
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return np.asarray(log_gamma(first) + log_gamma(second) - log_gamma(first + second))


def beta_cdf(a: ArrayLike, b: ArrayLike, x: ArrayLike) -> Floats:
    """P(X <= x) of Beta(a, b): the regularized incomplete beta function, broadcasting.

    Continued fraction by Lentz's method (Numerical Recipes, 6.4), on the side where it converges
    in about sqrt(max(a, b)) steps.
    """
    first, second, point = (np.asarray(value, np.float64) for value in (a, b, x))
    flip = point > (first + 1) / (first + second + 2)
    aa, bb = np.where(flip, second, first), np.where(flip, first, second)
    z = np.clip(np.where(flip, 1 - point, point), 0.0, 1.0)
    inside = (point > 0) & (point < 1)
    safe = np.where(inside, z, 0.5)
    # ln B(a, b) is ln B(b, a), and a and b are mostly the same for all of many x.
    front = np.exp(aa * np.log(safe) + bb * np.log1p(-safe) - log_beta(first, second)) / aa
    part = np.clip(
        front * _beta_fraction(aa.ravel(), bb.ravel(), safe.ravel()).reshape(safe.shape), 0, 1
    )
    share = np.where(flip, 1 - part, part)
    return np.asarray(np.where(inside, share, (point >= 1).astype(np.float64)), np.float64)


def _beta_fraction(a: Floats, b: Floats, x: Floats) -> Floats:
    result = np.ones_like(x)
    place: Any = slice(None)
    c, total = np.ones_like(x), a + b
    d = 1 / _off_zero(1 - total * x / (a + 1))
    part = d.copy()
    for m in range(1, 5000):
        twice = a + 2 * m
        even = m * (b - m) * x / ((twice - 1) * twice)
        odd = -(a + m) * (total + m) * x / (twice * (twice + 1))
        for term in (even, odd):
            d = 1 / _off_zero(1 + term * d)
            c = _off_zero(1 + term / c)
            step = d * c
            part *= step
        # Only what has not settled yet goes on: a few awkward points do not hold up the rest.
        active = np.abs(step - 1) > 1e-12
        going = int(np.count_nonzero(active))
        if going < len(active):
            result[place] = part
            if not going:
                return result
            a, b, x, c, d, part, total = (v[active] for v in (a, b, x, c, d, part, total))
            place = np.arange(len(result))[place][active]
    result[place] = part
    return result


def _off_zero(values: Floats) -> Floats:
    """``values``, changed in place where they are too near 0 to divide by."""
    tiny = 1e-300
    np.copyto(values, tiny, where=np.abs(values) < tiny)
    return values


def binomial_cdf(k: ArrayLike, n: ArrayLike, rate: ArrayLike) -> Floats:
    """P(K <= k) of Binomial(n, rate), broadcasting; 0 for k < 0, 1 for k >= n."""
    kk, nn, qq = (np.asarray(value, np.float64) for value in (k, n, rate))
    inside = (kk >= 0) & (kk < nn)
    lower = np.where(inside, nn - kk, 1.0)
    upper = np.where(inside, kk + 1, 1.0)
    value = beta_cdf(lower, upper, 1 - qq)
    return np.asarray(np.where(inside, value, (kk >= nn).astype(np.float64)), np.float64)


def binomial_sf(k: ArrayLike, n: ArrayLike, rate: ArrayLike) -> Floats:
    """P(K >= k) of Binomial(n, rate), broadcasting; exact in the far tail."""
    kk, nn, qq = (np.asarray(value, np.float64) for value in (k, n, rate))
    inside = (kk > 0) & (kk <= nn)
    value = beta_cdf(np.where(inside, kk, 1.0), np.where(inside, nn - kk + 1, 1.0), qq)
    return np.asarray(np.where(inside, value, (kk <= 0).astype(np.float64)), np.float64)


def beta_binomial_log_pmf(k: ArrayLike, n: ArrayLike, alpha: ArrayLike, beta: ArrayLike) -> Floats:
    """ln P(K = k) of BetaBinomial(n, alpha, beta), broadcasting."""
    kk, nn = np.asarray(k, np.float64), np.asarray(n, np.float64)
    choose = log_gamma(nn + 1) - log_gamma(kk + 1) - log_gamma(nn - kk + 1)
    a, b = np.asarray(alpha, np.float64), np.asarray(beta, np.float64)
    return np.asarray(choose + log_beta(kk + a, nn - kk + b) - log_beta(a, b), np.float64)


@dataclass(frozen=True, eq=False)
class RateSpread:
    """A rate that differs between patients, as weights on a grid of rates.

    Attributes:
        rates: float64 [G], rising, 0-1.
        weights: float64 [G], sum 1: how probable each rate is for the next patient.
    """

    rates: Floats
    weights: Floats

    def __post_init__(self) -> None:
        expect(self.rates.shape == self.weights.shape, "a weight for each rate", self.weights.shape)
        total = float(self.weights.sum())
        expect(abs(total - 1) < 1e-6, "weights that sum to 1", total)
        expect(bool((self.weights >= 0).all()), "weights of 0 and more", self.weights.min())
        sound = bool(((self.rates >= 0) & (self.rates <= 1)).all())
        expect(sound, "rates of 0-1", (self.rates.min(), self.rates.max()))

    @property
    def mean(self) -> float:
        """The mean rate of the next patient."""
        return float(self.rates @ self.weights)

    def quantile(self, share: float) -> float:
        """The rate that ``share`` of patients stay below."""
        place = int(np.searchsorted(np.cumsum(self.weights), share))
        return float(self.rates[min(place, len(self.rates) - 1)])

    def scaled(self, factor: float) -> RateSpread:
        """Every rate ``factor`` times as high, never above 1."""
        return RateSpread(np.minimum(self.rates * factor, 1.0), self.weights)

    def complement(self) -> RateSpread:
        """The spread of 1 - rate."""
        return RateSpread(1 - self.rates[::-1], self.weights[::-1].copy())

    def thinned(self, nodes: int) -> RateSpread:
        """At most ``nodes`` grid points: neighbours merged, fewer of them towards both tails.

        Groups are even in arcsin(sqrt(share below)), so the outermost of 20 holds 0.6 % of the
        weight: tails decide verdicts and intervals.
        """
        share = np.clip(np.cumsum(self.weights) - self.weights / 2, 0.0, 1.0)
        group = np.floor(np.arcsin(np.sqrt(share)) * (2 / np.pi) * nodes)
        _, index = np.unique(group, return_inverse=True)
        weights = np.bincount(index, self.weights)
        keep = weights > 0
        rates = np.bincount(index, self.weights * self.rates)[keep] / weights[keep]
        return RateSpread(rates, weights[keep] / weights.sum())


@dataclass(frozen=True, eq=False)
class RateFit:
    """A beta distribution of rates between patients, fitted to counts.

    Attributes:
        alpha, beta: of the best fit.
        patients, cells: how many stand behind it.
        counts: (hits, cells) of each patient; () where only alpha and beta are known.
    """

    alpha: float
    beta: float
    patients: int
    cells: int
    counts: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        expect(self.alpha > 0 and self.beta > 0, "alpha, beta > 0", (self.alpha, self.beta))

    @property
    def mean(self) -> float:
        """Mean rate of the best fit."""
        return self.alpha / (self.alpha + self.beta)

    def spread(self) -> RateSpread:
        """The rate of the next patient, the fit's own uncertainty included."""
        if self.counts:
            _, alpha, beta, weights = _posterior(self.counts)
        else:
            alpha, beta, weights = np.array([self.alpha]), np.array([self.beta]), np.ones(1)
        return _mixture(alpha, beta, weights)

    def as_json(self) -> dict[str, Any]:
        """JSON-ready; ``from_json`` is the inverse."""
        return {
            "alpha": self.alpha,
            "beta": self.beta,
            "mean": self.mean,
            "patients": self.patients,
            "cells": self.cells,
            "counts": [list(pair) for pair in self.counts],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RateFit:
        """The inverse of ``as_json``; ``counts`` may be absent."""
        counts = tuple((int(k), int(n)) for k, n in value.get("counts", ()))
        return cls(
            float(value["alpha"]),
            float(value["beta"]),
            int(value.get("patients", len(counts))),
            int(value.get("cells", sum(n for _, n in counts))),
            counts,
        )


def fit_rates(counts: Sequence[tuple[int, int]]) -> RateFit:
    """Fits a beta distribution to each patient's (hits, cells).

    Raises:
        ValueError: fewer than two patients with cells, or hits outside 0..cells.
    """
    kept = tuple((int(k), int(n)) for k, n in counts if n > 0)
    expect(len(kept) >= 2, "at least two patients with cells", len(kept))
    expect(all(0 <= k <= n for k, n in kept), "0 <= hits <= cells", kept)
    best, alpha, beta, _ = _posterior(kept)
    return RateFit(float(alpha[best]), float(beta[best]), len(kept), sum(n for _, n in kept), kept)


def _posterior(counts: Sequence[tuple[int, int]]) -> tuple[int, Floats, Floats, Floats]:
    """Best index, alpha, beta and weight on a grid of the mean and of the spread around it.

    The spread is the coefficient of variation between patients, 0.1-4. Prior: mean^-0.5
    (Jeffreys) times log-uniform / (1 + cv^2), so that few patients do not make rare, wild slides
    look likely, while many can.
    """
    means = np.geomspace(1e-6, 0.6, 72)
    cvs = np.geomspace(0.1, 4.0, 30)
    m, cv = (g.ravel() for g in np.meshgrid(means, cvs, indexing="ij"))
    # Variance m (1 - m) / (s + 1) = (cv m)^2; a beta needs s > 0.
    s = np.maximum((1 - m) / (m * cv**2) - 1, 0.5)
    alpha, beta = m * s, (1 - m) * s
    pairs, times = np.unique(np.asarray(counts, np.float64), axis=0, return_counts=True)
    k, n = pairs[:, :1], pairs[:, 1:]
    likelihood = log_beta(k + alpha, n - k + beta) - log_beta(alpha, beta)
    total = times @ likelihood
    weight = total + 0.5 * np.log(m) - np.log1p(cv**2)
    weight = np.exp(weight - weight.max())
    return int(np.argmax(total)), alpha, beta, np.asarray(weight / weight.sum(), np.float64)


def _most(weights: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Indices of the largest weights that hold 99.9 % of them all, and these weights, sum 1."""
    order = np.argsort(weights)[::-1]
    share = np.cumsum(weights[order])
    kept = order[: int(np.searchsorted(share, 0.999)) + 1]
    return kept, weights[kept] / weights[kept].sum()


def _mixture(alpha: Floats, beta: Floats, weights: Floats) -> RateSpread:
    """The mixture of betas as weights on a grid that is fine near 0."""
    edges = np.concatenate([[0.0], np.geomspace(1e-7, 0.1, 110), np.linspace(0.11, 1.0, 60)])
    kept, weight = _most(weights)
    cdf = weight @ beta_cdf(alpha[kept, None], beta[kept, None], edges[None, 1:-1])
    mass = np.maximum(np.diff(np.concatenate([[0.0], cdf, [1.0]])), 0.0)
    middle = (edges[1:] + edges[:-1]) / 2
    return RateSpread(middle, mass / mass.sum())
