"""Beta and binomial distributions on numpy agree with scipy; rates that differ between patients."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_malaria.runtime.slide import beta_binomial as bb
from edge_malaria.runtime.slide.statistics import FalsePositiveFit
from tests.runtime.slide.test_slide import made_fit

# Its parts are loaded where a test asks for them: scipy.stats alone takes a second.
scipy = pytest.importorskip("scipy")


def test_log_gamma_agrees_with_scipy() -> None:
    x = np.geomspace(1e-4, 1e8, 3000)
    expected = scipy.special.gammaln(x)
    assert np.max(np.abs(bb.log_gamma(x) - expected) / np.maximum(1, np.abs(expected))) < 1e-12


def test_beta_cdf_agrees_with_scipy() -> None:
    rng = np.random.default_rng(1)
    a, b = 10 ** rng.uniform(-3, 5, (2, 4000))
    x = np.clip(rng.beta(a, b), 1e-12, 1 - 1e-12)
    assert np.max(np.abs(bb.beta_cdf(a, b, x) - scipy.special.betainc(a, b, x))) < 1e-8


@given(
    n=st.integers(1, 200_000), share=st.floats(0, 1), rate=st.floats(1e-9, 1 - 1e-9)
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_binomial_tails_agree_with_scipy(n: int, share: float, rate: float) -> None:
    k = round(share * n)
    assert float(bb.binomial_cdf(k, n, rate)) == pytest.approx(
        scipy.stats.binom.cdf(k, n, rate), abs=1e-7
    )
    assert float(bb.binomial_sf(k, n, rate)) == pytest.approx(
        scipy.stats.binom.sf(k - 1, n, rate), abs=1e-7
    )


def test_beta_binomial_agrees_with_scipy() -> None:
    k = np.arange(201)
    ours = bb.beta_binomial_log_pmf(k, 200, 0.7, 90.0)
    assert np.allclose(ours, scipy.stats.betabinom.logpmf(k, 200, 0.7, 90.0), atol=1e-9)
    assert math.isclose(float(np.exp(ours).sum()), 1.0)


def test_fit_finds_the_mean_and_the_spread_of_many_patients() -> None:
    rng = np.random.default_rng(2)
    counts = [(int(rng.binomial(2000, rng.beta(2, 198))), 2000) for _ in range(400)]
    fit = bb.fit_rates(counts)
    assert fit.mean == pytest.approx(0.01, rel=0.15)
    assert fit.alpha == pytest.approx(2.0, rel=0.3)
    spread = fit.spread()
    assert spread.quantile(0.95) == pytest.approx(scipy.stats.beta.ppf(0.95, 2, 198), rel=0.15)


def test_fit_refuses_impossible_counts() -> None:
    with pytest.raises(ValueError, match="at least two patients"):
        bb.fit_rates([(0, 100)])
    with pytest.raises(ValueError, match="0 <= hits <= cells"):
        bb.fit_rates([(5, 3), (0, 100)])


def test_fit_survives_json() -> None:
    fit = made_fit()
    again = FalsePositiveFit.from_json(fit.as_json())
    assert again == FalsePositiveFit(again.false_positives, again.misses)
    assert again.false_positives.counts == fit.false_positives.counts
    assert again.misses is not None and fit.misses is not None
    assert again.misses.counts == fit.misses.counts
    bare = FalsePositiveFit.from_json({"alpha": 1.0, "beta": 999.0, "patients": 46, "cells": 9000})
    assert bare.false_positives.spread().mean == pytest.approx(0.001, rel=0.02)


@given(mean=st.floats(1e-4, 0.3), factor=st.floats(1.0, 50.0), nodes=st.integers(8, 90))
@settings(max_examples=40, deadline=None)
def test_spreads_keep_their_mean_and_weight(mean: float, factor: float, nodes: int) -> None:
    spread = bb.RateFit(2.0, 2.0 / mean - 2.0, 9, 9).spread()
    thin = spread.thinned(nodes)
    assert thin.mean == pytest.approx(spread.mean, rel=1e-9)
    assert thin.weights.sum() == pytest.approx(1.0)
    assert thin.complement().mean == pytest.approx(1 - thin.mean)
    assert np.all(spread.scaled(factor).rates <= 1.0)
