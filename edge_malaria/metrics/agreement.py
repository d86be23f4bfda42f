"""Agreement between raters: Cohen's and Fleiss' kappa."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from edge_malaria.metrics.rates import confusion
from edge_malaria.records import expect


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
