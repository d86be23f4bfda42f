"""Percentile intervals with whole patients redrawn: cells of one patient are not independent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_malaria.metrics.rates import RATE_NAMES, Floats, checked_scores, flags
from edge_malaria.records import Interval, expect


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
        resamples: how often the patients are redrawn.
        level: share of the redraws inside the interval, 0-1.
        seed: of the redraws.

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
    is_true, called = flags(truth, "truth"), flags(predicted, "predicted")
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
    positive = flags(truth, "truth")
    values = checked_scores(scores, positive.size)
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
