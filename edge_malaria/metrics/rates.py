"""Counts, rates, ranks and calibration of one classifier."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_malaria.records import expect

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


def flags(values: ArrayLike, name: str) -> Flags:
    """``values`` as bool [N]; ValueError for anything but 0, 1 and bool."""
    array = np.asarray(values)
    expect(array.ndim == 1, f"{name} of shape [N]", array.shape)
    if array.dtype != np.bool_:
        known = np.isin(array, (0, 1)).all()
        expect(bool(known), f"{name} of 0 and 1", np.unique(array)[:5].tolist())
    return array.astype(np.bool_)


def checked_scores(values: ArrayLike, n: int) -> Floats:
    """``values`` as float64 [n]; ValueError where one is not finite."""
    array = np.asarray(values, dtype=np.float64)
    expect(array.shape == (n,), f"scores of shape ({n},)", array.shape)
    bad = int(np.count_nonzero(~np.isfinite(array)))
    expect(bad == 0, "finite scores", f"{bad} of {n} that are NaN or infinite")
    return array


def confusion(truth: ArrayLike, predicted: ArrayLike) -> Confusion:
    """Counts the four outcomes of ``predicted`` [N] against ``truth`` [N], both 0/1 or bool."""
    is_true, called = flags(truth, "truth"), flags(predicted, "predicted")
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
    positive = flags(truth, "truth")
    values = checked_scores(scores, positive.size)
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
    positive = flags(truth, "truth")
    values = checked_scores(scores, positive.size)
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
    positive = flags(truth, "truth")
    values = checked_scores(scores, positive.size)
    if positive.all() or not positive.any():
        return None
    order = np.argsort(-values, kind="stable")
    last = np.append(np.flatnonzero(np.diff(values[order])), positive.size - 1)
    hits = np.cumsum(positive[order])[last] / np.count_nonzero(positive)
    false = np.cumsum(~positive[order])[last] / np.count_nonzero(~positive)
    return np.concatenate([[0.0], false]), np.concatenate([[0.0], hits])


def expected_calibration_error(
    truth: ArrayLike, probabilities: ArrayLike, bins: int = 15
) -> float | None:
    """Mean gap between stated probability and observed share, over equal-width bins of (0, 1].

    Fifteen bins as in Guo et al. 2017 (arXiv 1706.04599). None with no cells.
    """
    positive = flags(truth, "truth")
    p = checked_scores(probabilities, positive.size)
    expect(bool(((p >= 0) & (p <= 1)).all()), "probabilities between 0 and 1", "others")
    if p.size == 0:
        return None
    which = np.clip(np.ceil(p * bins).astype(np.intp) - 1, 0, bins - 1)
    stated = np.bincount(which, weights=p, minlength=bins)
    observed = np.bincount(which, weights=positive.astype(np.float64), minlength=bins)
    return float(np.abs(stated - observed).sum() / p.size)
