"""Rates, intervals and tests of a two-class classifier; numpy only.

Truth is 1 (parasitized) or 0 (uninfected); rates are fractions (0-1). A rate whose denominator is
zero is None, never 0 and never NaN. Scores that are not finite are refused with ValueError: a NaN
compares as "not parasitized" and would pass for a good specificity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_malaria.records import Interval, expect

RATE_NAMES = ("accuracy", "sensitivity", "specificity", "precision", "f1", "mcc")
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Confusion:
    """Counts of a two-class decision; every rate is None where it is undefined."""

    tp: int
    fp: int
    tn: int
    fn: int

    def __post_init__(self) -> None:
        expect(min(self.tp, self.fp, self.tn, self.fn) >= 0, "counts >= 0", self)

    @property
    def n(self) -> int:
        """Number of cells."""
        return self.tp + self.fp + self.tn + self.fn

    @property
    def accuracy(self) -> float | None:
        """Share of cells decided rightly."""
        return _ratio(self.tp + self.tn, self.n)

    @property
    def sensitivity(self) -> float | None:
        """Share of parasitized cells called parasitized."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> float | None:
        """Share of uninfected cells called uninfected."""
        return _ratio(self.tn, self.tn + self.fp)

    @property
    def precision(self) -> float | None:
        """Share of the cells called parasitized that are."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and sensitivity."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def mcc(self) -> float | None:
        """Matthews correlation coefficient, -1 to 1; None where a margin of the table is empty."""
        # Python integers: the product of four margins of 27,558 cells overflows int64 soon after.
        product = (self.tp + self.fp) * (self.tp + self.fn) * (self.tn + self.fp)
        product *= self.tn + self.fn
        if product == 0:
            return None
        return (self.tp * self.tn - self.fp * self.fn) / math.sqrt(product)

    def rates(self) -> dict[str, float | None]:
        """All rates by name, in the order of ``RATE_NAMES``."""
        return {name: getattr(self, name) for name in RATE_NAMES}

    def as_json(self) -> dict[str, int]:
        """The contract's ``confusion`` object."""
        return {"tp": self.tp, "fp": self.fp, "tn": self.tn, "fn": self.fn}


def _ratio(numerator: float, denominator: float) -> float | None:
    return numerator / denominator if denominator else None


def _flags(values: ArrayLike, name: str) -> Flags:
    array = np.asarray(values)
    expect(array.ndim == 1, f"{name} of shape [N]", array.shape)
    if array.dtype != np.bool_:
        known = np.isin(array, (0, 1)).all()
        expect(bool(known), f"{name} of 0 and 1", np.unique(array)[:5].tolist())
    return array.astype(np.bool_)


def _scores(values: ArrayLike, n: int) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    expect(array.shape == (n,), f"scores of shape ({n},)", array.shape)
    bad = int(np.count_nonzero(~np.isfinite(array)))
    expect(bad == 0, "finite scores", f"{bad} of {n} that are NaN or infinite")
    return array


def confusion(truth: ArrayLike, predicted: ArrayLike) -> Confusion:
    """Counts the four outcomes of ``predicted`` [N] against ``truth`` [N], both 0/1 or bool."""
    is_true, called = _flags(truth, "truth"), _flags(predicted, "predicted")
    expect(is_true.shape == called.shape, f"predicted of shape {is_true.shape}", called.shape)
    tp = int(np.count_nonzero(is_true & called))
    fp = int(np.count_nonzero(~is_true & called))
    fn = int(np.count_nonzero(is_true & ~called))
    return Confusion(tp=tp, fp=fp, tn=int(is_true.size) - tp - fp - fn, fn=fn)


def _average_ranks(scores: Floats) -> Floats:
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts).astype(np.float64)
    return np.asarray((last - (counts - 1) / 2.0)[inverse.reshape(-1)])


def auc(truth: ArrayLike, scores: ArrayLike) -> float | None:
    """Area under the ROC curve (Mann-Whitney, a tie counts one half); None with one class only."""
    positive = _flags(truth, "truth")
    values = _scores(scores, positive.size)
    n_positive = int(np.count_nonzero(positive))
    n_negative = positive.size - n_positive
    if n_positive == 0 or n_negative == 0:
        return None
    rank_sum = float(_average_ranks(values)[positive].sum())
    return (rank_sum - n_positive * (n_positive + 1) / 2.0) / (n_positive * n_negative)


def sensitivity_at_specificity(
    truth: ArrayLike, scores: ArrayLike, specificity: float
) -> tuple[float, float] | None:
    """The best sensitivity among thresholds that keep at least the given specificity.

    A cell is positive where its score >= threshold.

    Returns:
        (sensitivity, threshold); the threshold may be ``inf`` where nothing may be called
        positive. None with one class only.
    """
    expect(0.0 <= specificity <= 1.0, "specificity between 0 and 1", specificity)
    positive = _flags(truth, "truth")
    values = _scores(scores, positive.size)
    if positive.all() or not positive.any():
        return None
    thresholds = np.append(np.unique(values), np.inf)
    healthy = np.sort(values[~positive])
    below = np.searchsorted(healthy, thresholds, side="left")
    # The lowest threshold that is specific enough is the most sensitive one.
    index = int(np.argmax(below >= math.ceil(specificity * healthy.size - 1e-9)))
    threshold = float(thresholds[index])
    return float(np.mean(values[positive] >= threshold)), threshold


def roc_curve(truth: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats] | None:
    """(false-positive rate, sensitivity) at every threshold from none to all called positive.

    Returns:
        Two float64 [T + 1] for T distinct scores, from (0, 0) to (1, 1); None with one class only.
    """
    positive = _flags(truth, "truth")
    values = _scores(scores, positive.size)
    if positive.all() or not positive.any():
        return None
    order = np.argsort(-values, kind="stable")
    last = np.append(np.flatnonzero(np.diff(values[order])), positive.size - 1)
    hits = np.cumsum(positive[order])[last] / np.count_nonzero(positive)
    false = np.cumsum(~positive[order])[last] / np.count_nonzero(~positive)
    return np.concatenate([[0.0], false]), np.concatenate([[0.0], hits])


def fleiss_kappa(ratings: ArrayLike) -> float | None:
    """Fleiss' kappa of several raters (Fleiss 1971); None where chance agreement is complete.

    Args:
        ratings: 0/1 [N, R]: N cells, each called by the same R >= 2 raters.
    """
    calls = np.asarray(ratings)
    expect(calls.ndim == 2 and calls.shape[1] >= 2, "ratings of shape [N, R >= 2]", calls.shape)
    known = bool(np.isin(calls, (0, 1)).all())
    expect(known, "ratings of 0 and 1", np.unique(calls)[:5].tolist())
    n, raters = calls.shape
    if n == 0:
        return None
    ones = calls.astype(np.int64).sum(axis=1)
    agreeing = ones * (ones - 1) + (raters - ones) * (raters - ones - 1)
    observed = int(agreeing.sum()) / (n * raters * (raters - 1))
    share = int(ones.sum()) / (n * raters)
    by_chance = share * share + (1.0 - share) * (1.0 - share)
    if share in (0.0, 1.0):
        return None
    return float((observed - by_chance) / (1.0 - by_chance))


def cohen_kappa(first: ArrayLike, second: ArrayLike) -> float | None:
    """Cohen's kappa of two raters' 0/1 calls [N]; None where chance agreement is complete."""
    table = confusion(first, second)
    if table.n == 0:
        return None
    n = table.n
    by_chance = (table.tp + table.fn) * (table.tp + table.fp)
    by_chance += (table.tn + table.fp) * (table.tn + table.fn)
    if by_chance == n * n:
        return None
    return (n * (table.tp + table.tn) - by_chance) / (n * n - by_chance)


def expected_calibration_error(
    truth: ArrayLike, probabilities: ArrayLike, bins: int = 15
) -> float | None:
    """Mean gap between stated probability and observed share, over equal-width bins of (0, 1].

    Fifteen bins as in Guo et al. 2017 (arXiv 1706.04599). None with no cells.
    """
    positive = _flags(truth, "truth")
    p = _scores(probabilities, positive.size)
    expect(bool(((p >= 0) & (p <= 1)).all()), "probabilities between 0 and 1", "others")
    if p.size == 0:
        return None
    which = np.clip(np.ceil(p * bins).astype(np.int64) - 1, 0, bins - 1)
    stated = np.bincount(which, weights=p, minlength=bins)
    observed = np.bincount(which, weights=positive.astype(np.float64), minlength=bins)
    return float(np.abs(stated - observed).sum() / p.size)


def wilson_interval(hits: int, n: int, level: float = 0.95) -> Interval | None:
    """Wilson score interval of a share (Wilson 1927); None with n = 0."""
    expect(0 <= hits <= n, f"hits between 0 and {n}", hits)
    if n == 0:
        return None
    z = NormalDist().inv_cdf(0.5 + level / 2.0)
    share, z2 = hits / n, z * z
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    low = 0.0 if hits == 0 else max(0.0, centre - half)
    return low, 1.0 if hits == n else min(1.0, centre + half)


def _beta_fraction(a: float, b: float, x: float) -> float:
    # Continued fraction of the incomplete beta function by the modified Lentz method
    # (NIST DLMF 8.17.22); converges in O(sqrt(max(a, b))) steps for x < (a + 1) / (a + b + 2).
    tiny = 1e-300
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > tiny else tiny)
    value = d
    for m in range(1, 100_000):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 + numerator * d
            d = 1.0 / (d if abs(d) > tiny else tiny)
            c = 1.0 + numerator / c
            c = c if abs(c) > tiny else tiny
            value *= c * d
        if abs(c * d - 1.0) < 1e-15:
            return value
    raise ArithmeticError(f"incomplete beta did not converge for a={a}, b={b}, x={x}")


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Regularised incomplete beta function I_x(a, b) for a, b > 0 and 0 <= x <= 1."""
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _beta_fraction(a, b, x) / a
    return 1.0 - front * _beta_fraction(b, a, 1.0 - x) / b


def _beta_quantile(a: float, b: float, share: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(200):
        middle = (low + high) / 2.0
        if middle in (low, high):
            break
        if incomplete_beta(a, b, middle) < share:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0


def clopper_pearson_interval(hits: int, n: int, level: float = 0.95) -> Interval | None:
    """Exact interval of a share (Clopper and Pearson 1934); None with n = 0."""
    expect(0 <= hits <= n, f"hits between 0 and {n}", hits)
    if n == 0:
        return None
    tail = (1.0 - level) / 2.0
    low = 0.0 if hits == 0 else _beta_quantile(hits, n - hits + 1, tail)
    high = 1.0 if hits == n else _beta_quantile(hits + 1, n - hits, 1.0 - tail)
    return low, high


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Two-sided exact McNemar p-value of two paired classifiers.

    Args:
        only_first: cells that only the first classifier decides rightly.
        only_second: cells that only the second decides rightly.

    Returns:
        2 P(X <= min) under Binomial(b + c, 1/2), at most 1; 1.0 without discordant cells.
    """
    expect(min(only_first, only_second) >= 0, "counts >= 0", (only_first, only_second))
    n, k = only_first + only_second, min(only_first, only_second)
    if only_first == only_second:
        return 1.0
    return min(1.0, 2.0 * incomplete_beta(n - k, k + 1, 0.5))


def _cluster_index(groups: Sequence[Any] | NDArray[Any], n: int) -> tuple[NDArray[np.intp], int]:
    names = np.asarray(groups)
    expect(names.shape == (n,), f"groups of shape ({n},)", names.shape)
    unique, index = np.unique(names, return_inverse=True)
    return index.reshape(-1), int(unique.size)


def _resampling_weights(n_groups: int, resamples: int, seed: int) -> Floats:
    """How often each of ``n_groups`` patients is drawn: float64 [resamples, n_groups]."""
    rng = np.random.default_rng(seed)
    shares = np.full(n_groups, 1.0 / n_groups)
    return rng.multinomial(n_groups, shares, size=resamples).astype(np.float64)


def _percentiles(values: Floats, level: float) -> Interval | None:
    defined = values[np.isfinite(values)]
    if defined.size == 0:
        return None
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(defined, (tail, 1.0 - tail))
    return float(low), float(high)


def _divide(numerator: Floats, denominator: Floats) -> Floats:
    out = np.full(numerator.shape, np.nan)
    return np.asarray(np.divide(numerator, denominator, out=out, where=denominator != 0))


def bootstrap_ratio(
    numerator: ArrayLike,
    denominator: ArrayLike,
    groups: Sequence[Any] | NDArray[Any],
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval | None:
    """Percentile interval of sum(numerator) / sum(denominator), whole patients redrawn.

    A rate: ``numerator`` is 1 for a hit. A change of rates between two classifiers on the same
    cells: ``numerator`` is hit(second) - hit(first), so that the pairing is kept.

    Args:
        numerator: [N] real.
        denominator: [N] real >= 0; 0 leaves a cell out.
        groups: [N] patient of each cell.

    Returns:
        (low, high), or None where no redraw has a denominator.
    """
    top, bottom = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    expect(top.ndim == 1 and top.shape == bottom.shape, "two arrays of shape [N]", top.shape)
    if top.size == 0:
        return None
    index, n_groups = _cluster_index(groups, top.size)
    weights = _resampling_weights(n_groups, resamples, seed)
    tops = weights @ np.bincount(index, weights=top, minlength=n_groups)
    bottoms = weights @ np.bincount(index, weights=bottom, minlength=n_groups)
    return _percentiles(_divide(tops, bottoms), level)


def bootstrap_rates(
    truth: ArrayLike,
    predicted: ArrayLike,
    groups: Sequence[Any] | NDArray[Any],
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval | None]:
    """Percentile intervals of every rate of ``RATE_NAMES``, whole patients redrawn."""
    is_true, called = _flags(truth, "truth"), _flags(predicted, "predicted")
    expect(is_true.shape == called.shape, f"predicted of shape {is_true.shape}", called.shape)
    if is_true.size == 0:
        return dict.fromkeys(RATE_NAMES)
    index, n_groups = _cluster_index(groups, is_true.size)
    weights = _resampling_weights(n_groups, resamples, seed)
    tp, fp, tn, fn = (
        weights @ np.bincount(index, weights=outcome.astype(np.float64), minlength=n_groups)
        for outcome in (is_true & called, ~is_true & called, ~is_true & ~called, is_true & ~called)
    )
    margins = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    values = {
        "accuracy": _divide(tp + tn, tp + fp + tn + fn),
        "sensitivity": _divide(tp, tp + fn),
        "specificity": _divide(tn, tn + fp),
        "precision": _divide(tp, tp + fp),
        "f1": _divide(2 * tp, 2 * tp + fp + fn),
        "mcc": _divide(tp * tn - fp * fn, margins),
    }
    return {name: _percentiles(value, level) for name, value in values.items()}


def bootstrap_auc(
    truth: ArrayLike,
    scores: ArrayLike,
    groups: Sequence[Any] | NDArray[Any],
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval | None:
    """Percentile interval of the AUC, whole patients redrawn; None with one class only."""
    positive = _flags(truth, "truth")
    values = _scores(scores, positive.size)
    if positive.size == 0:
        return None
    index, n_groups = _cluster_index(groups, positive.size)
    _, step = np.unique(values, return_inverse=True)
    step = step.reshape(-1)
    n_steps = int(step.max()) + 1
    areas = np.empty(resamples)
    for row, weights in enumerate(_resampling_weights(n_groups, resamples, seed)):
        weight = weights[index]
        ill = np.bincount(step, weights=weight * positive, minlength=n_steps)
        well = np.bincount(step, weights=weight * ~positive, minlength=n_steps)
        pairs = float(ill.sum() * well.sum())
        wins = float((ill * (np.cumsum(well) - well / 2.0)).sum())
        areas[row] = wins / pairs if pairs else np.nan
    return _percentiles(areas, level)
