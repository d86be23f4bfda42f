"""Slide statistics: the numerics against scipy, the verdict's rules, intervals that cover."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_malaria.runtime.slide import beta_binomial as bb
from edge_malaria.runtime.slide.statistics import (
    FalsePositiveFit,
    SlideCount,
    SlideStatistics,
    VerdictRules,
    choose_screening_threshold,
    fit_false_positives,
    rbc_per_ul,
)

stats = pytest.importorskip("scipy.stats")
special = pytest.importorskip("scipy.special")


def made_fit(seed: int = 0, patients: int = 46, cells: int = 300) -> FalsePositiveFit:
    """A fit to patients whose rates were drawn from Beta(1, 999): mean 0.1 %."""
    rng = np.random.default_rng(seed)
    healthy = [(int(rng.binomial(cells, rng.beta(1, 999))), cells) for _ in range(patients)]
    infected = [(int(rng.binomial(100, rng.beta(18, 2))), 100) for _ in range(100)]
    return fit_false_positives(healthy, infected)


@pytest.fixture(scope="module")
def slides() -> SlideStatistics:
    """Statistics under a fit like a good classifier's."""
    return SlideStatistics(made_fit())


def test_log_gamma_agrees_with_scipy() -> None:
    x = np.geomspace(1e-4, 1e8, 3000)
    expected = special.gammaln(x)
    assert np.max(np.abs(bb.log_gamma(x) - expected) / np.maximum(1, np.abs(expected))) < 1e-12


def test_beta_cdf_agrees_with_scipy() -> None:
    rng = np.random.default_rng(1)
    a, b = 10 ** rng.uniform(-3, 5, (2, 4000))
    x = np.clip(rng.beta(a, b), 1e-12, 1 - 1e-12)
    assert np.max(np.abs(bb.beta_cdf(a, b, x) - special.betainc(a, b, x))) < 1e-8


@given(
    n=st.integers(1, 200_000), share=st.floats(0, 1), rate=st.floats(1e-9, 1 - 1e-9)
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_binomial_tails_agree_with_scipy(n: int, share: float, rate: float) -> None:
    k = round(share * n)
    assert float(bb.binomial_cdf(k, n, rate)) == pytest.approx(
        stats.binom.cdf(k, n, rate), abs=1e-7
    )
    assert float(bb.binomial_sf(k, n, rate)) == pytest.approx(
        stats.binom.sf(k - 1, n, rate), abs=1e-7
    )


def test_beta_binomial_agrees_with_scipy() -> None:
    k = np.arange(201)
    ours = bb.beta_binomial_log_pmf(k, 200, 0.7, 90.0)
    assert np.allclose(ours, stats.betabinom.logpmf(k, 200, 0.7, 90.0), atol=1e-9)
    assert math.isclose(float(np.exp(ours).sum()), 1.0)


def test_fit_finds_the_mean_and_the_spread_of_many_patients() -> None:
    rng = np.random.default_rng(2)
    counts = [(int(rng.binomial(2000, rng.beta(2, 198))), 2000) for _ in range(400)]
    fit = bb.fit_rates(counts)
    assert fit.mean == pytest.approx(0.01, rel=0.15)
    assert fit.alpha == pytest.approx(2.0, rel=0.3)
    spread = fit.spread()
    assert spread.quantile(0.95) == pytest.approx(stats.beta.ppf(0.95, 2, 198), rel=0.15)


def test_few_patients_make_a_wider_prediction_than_many() -> None:
    few = made_fit(3, patients=6).false_positives.spread()
    many = made_fit(3, patients=200).false_positives.spread()
    assert few.quantile(0.99) > 1.3 * many.quantile(0.99)


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


@given(n=st.integers(0, 30_000), share=st.floats(0, 1))
@settings(max_examples=12, deadline=None)
def test_any_count_gives_a_sound_result(slides: SlideStatistics, n: int, share: float) -> None:
    count = SlideCount(n, round(share * n))
    result = slides.result(count)
    if n == 0:
        assert (result.verdict, result.parasitemia, result.ci95) == ("indeterminate", None, None)
        assert result.limit_of_detection is None
        return
    assert result.ci95 is not None and result.parasitemia is not None
    low, high = result.ci95
    assert 0 <= low <= high <= 1
    if result.verdict == "parasites-detected":
        assert result.p_value_inflated <= slides.rules.level
        assert low > 0
    if result.verdict == "not-detected":
        assert n >= slides.rules.min_cells


def test_zero_of_many_is_not_detected_and_never_better_than_the_rule_of_three(
    slides: SlideStatistics,
) -> None:
    for n in (1000, 10_000, 100_000):
        result = slides.result(SlideCount(n, 0))
        assert result.verdict == "not-detected"
        assert result.parasitemia == 0.0
        assert result.ci95 is not None and result.ci95[0] == 0.0
        assert result.ci95[1] >= 3.0 / n


def test_verdict_moves_from_not_detected_over_grey_to_detected(slides: SlideStatistics) -> None:
    verdicts = [slides.verdict(SlideCount(2000, k))[0] for k in range(200)]
    order = {"not-detected": 0, "indeterminate": 1, "parasites-detected": 2}
    steps = [order[v] for v in verdicts]
    assert steps == sorted(steps)
    assert set(steps) == {0, 1, 2}
    assert verdicts[slides.count_needed(2000) or 0] == "parasites-detected"


def test_few_cells_are_indeterminate_and_say_how_many_more(slides: SlideStatistics) -> None:
    result = slides.result(SlideCount(120, 0))
    assert result.verdict == "indeterminate"
    assert result.more_cells == slides.rules.min_cells - 120
    assert slides.verdict(SlideCount(120 + result.more_cells, 0))[0] == "not-detected"


def test_more_cells_settle_it_where_they_are_said_to(slides: SlideStatistics) -> None:
    found = 0
    for k in range(4, 14):
        count = SlideCount(800, k)
        more = slides.more_cells(count)
        if slides.verdict(count)[0] == "indeterminate" and more:
            total = 800 + more
            settled = slides.verdict(SlideCount(total, round(k / 800 * total)))[0]
            assert settled != "indeterminate"
            found += 1
    assert found or all(slides.more_cells(SlideCount(800, k)) in (0, None) for k in range(4, 14))


def test_a_blurred_domain_is_never_called(slides: SlideStatistics) -> None:
    clear = SlideCount(2000, 100, doubtful=60)
    smeared = SlideCount(2000, 100, doubtful=800)
    assert slides.verdict(clear)[0] == "parasites-detected"
    assert slides.verdict(smeared)[0] == "indeterminate"
    assert slides.more_cells(smeared) is None


def test_limit_of_detection_is_what_it_says(slides: SlideStatistics) -> None:
    rng = np.random.default_rng(5)
    cells = 3000
    limit = slides.limit_of_detection(cells)
    assert limit is not None
    needed = slides.count_needed(cells)
    eps = rng.choice(slides.screening.eps.rates, 4000, p=slides.screening.eps.weights)
    sens = rng.choice(
        slides.screening.sensitivity.rates, 4000, p=slides.screening.sensitivity.weights
    )
    found = rng.binomial(cells, eps * (1 - limit) + sens * limit)
    assert np.mean(found >= needed) == pytest.approx(0.95, abs=0.015)
    assert slides.limit_of_detection(0) is None


@pytest.mark.parametrize("parasitemia", [0.0, 0.002, 0.05])
def test_intervals_cover(slides: SlideStatistics, parasitemia: float) -> None:
    rng = np.random.default_rng(6)
    covered = 0
    intervals: dict[int, tuple[float, float]] = {}
    for _ in range(120):
        rate = rng.beta(1, 999) * (1 - parasitemia) + rng.beta(18, 2) * parasitemia
        k = int(rng.binomial(1500, rate))
        if k not in intervals:
            intervals[k] = slides.interval(SlideCount(1500, k)) or (1.0, 0.0)
        low, high = intervals[k]
        covered += low <= parasitemia <= high
    # 93 % of 120 less three standard errors.
    assert covered >= 103


def test_false_alarms_stay_below_the_level_at_twice_the_fitted_rate(
    slides: SlideStatistics,
) -> None:
    rng = np.random.default_rng(7)
    n = 2000
    needed = slides.count_needed(n)
    assert needed is not None
    positives = rng.binomial(n, np.minimum(2 * rng.beta(1, 999, 20_000), 1))
    assert np.mean(positives >= needed) <= 0.02


def test_red_cells_come_from_the_count_the_haematocrit_or_the_usual_number() -> None:
    assert rbc_per_ul(None, None) == 5e6
    assert rbc_per_ul(4.2e6, None) == 4.2e6
    # Infected per 1,000 x haematocrit x 125.6: 20 per 1,000 at 40 % are 100,480 per microlitre.
    assert 20 / 1000 * rbc_per_ul(None, 40) == pytest.approx(20 * 40 * 125.6)


def test_screening_threshold_weighs_patients_alike() -> None:
    rng = np.random.default_rng(8)
    calm = rng.uniform(0, 0.6, 20_000)
    wild = rng.uniform(0.5, 1.0, 50)
    scores = np.concatenate([calm, wild])
    patients = ["a"] * 10_000 + ["b"] * 10_000 + ["c"] * 50
    threshold = choose_screening_threshold(scores, patients, share=0.02)
    above = [np.mean(scores[np.array(patients) == p] >= threshold) for p in "abc"]
    assert np.mean(above) <= 0.02
    # Pooled over cells a lower threshold would do; patient c decides here.
    assert np.mean(scores >= threshold) < 0.001


def test_rules_refuse_nonsense() -> None:
    with pytest.raises(ValueError, match="level"):
        VerdictRules(level=0.5, grey_level=0.1)
    with pytest.raises(ValueError, match="inflation"):
        VerdictRules(inflation=float("nan"))


def test_the_balanced_point_measures_how_much_once_parasites_are_detected() -> None:
    rng = np.random.default_rng(9)
    healthy = [(int(rng.binomial(300, rng.beta(1, 99))), 300) for _ in range(40)]
    infected = [(int(rng.binomial(100, rng.beta(190, 10))), 100) for _ in range(60)]
    verdict_fit = made_fit(1)
    # The screening point finds between a tenth and nine tenths of the parasites.
    uneven = [(int(rng.binomial(100, rng.beta(1.5, 1.5))), 100) for _ in range(60)]
    fit = FalsePositiveFit(
        verdict_fit.false_positives,
        fit_false_positives(healthy, uneven).misses,
        fit_false_positives(healthy, infected),
        0.6,
    )
    slides = SlideStatistics(FalsePositiveFit.from_json(fit.as_json()))
    result = slides.result(SlideCount(2000, 100, doubtful=90, likely=210))
    assert result.measured_at == "balanced"
    assert result.parasitemia == pytest.approx(0.10, abs=0.015)
    assert result.ci95 is not None
    low, high = slides.screening.interval(100, 2000)
    assert result.ci95[1] - result.ci95[0] < (high - low) / 4
    assert not result.points_disagree
    few = slides.result(SlideCount(2000, 2, likely=30))
    assert (few.measured_at, few.parasitemia) == ("screening", pytest.approx(0.0, abs=0.003))


def test_points_that_contradict_each_other_give_one_interval_over_both() -> None:
    rng = np.random.default_rng(10)
    infected = [(int(rng.binomial(300, rng.beta(90, 10))), 300) for _ in range(60)]
    calm = [(int(rng.binomial(3000, 0.0005)), 3000) for _ in range(60)]
    wild = [(int(rng.binomial(3000, rng.beta(20, 980))), 3000) for _ in range(60)]
    fit = replace(
        fit_false_positives(calm, infected),
        quantity=fit_false_positives(wild, infected),
        quantity_threshold=0.5,
    )
    slides = SlideStatistics(fit)
    agree = slides.measured(SlideCount(5000, 460, likely=550))
    # Of 12 % parasitized cells the screening point finds hardly any: another stain.
    apart = slides.measured(SlideCount(5000, 40, likely=640))
    assert agree is not None and not agree.disagree
    assert apart is not None and apart.disagree and apart.at == "balanced"
    assert apart.parasitemia == pytest.approx(0.12, abs=0.02)
    assert apart.ci95[0] < 40 / 5000 / 0.8 and apart.ci95[1] > 0.12
    assert apart.ci95[1] - apart.ci95[0] > 3 * (agree.ci95[1] - agree.ci95[0])


@given(cells=st.integers(5, 400), hits=st.integers(0, 5), patients=st.integers(3, 60))
@settings(max_examples=15, deadline=None)
def test_the_next_slide_is_at_least_as_wild_as_chance_makes_the_patients(
    cells: int, hits: int, patients: int
) -> None:
    counts = [(min(hits, cells), cells)] + [(0, cells)] * patients
    fit = bb.fit_rates(counts)
    seen, spread = fit.seen_spread(), fit.spread()
    assert seen.mean == pytest.approx(spread.mean, rel=0.05)
    variance = [float(s.weights @ (s.rates - s.mean) ** 2) for s in (seen, spread)]
    assert variance[0] > variance[1]
    both = fit.next_slide()
    assert float(both.weights.sum()) == pytest.approx(1.0)
    assert np.all(np.diff(both.rates) >= 0)


def test_chances_read_off_a_line_are_those_of_the_incomplete_beta(slides: SlideStatistics) -> None:
    point = slides.screening
    shares = np.geomspace(1e-4, 1.0, 12)
    for k, n in ((0, 500), (3, 1000), (900, 1000), (13_000, 13_000)):
        rate = point.eps.rates[:, None] * (1 - shares[:, None, None])
        rate = rate + point.sensitivity.rates[None, :] * shares[:, None, None]
        mid = stats.binom.cdf(k, n, rate) - stats.binom.pmf(k, n, rate) / 2
        exact = np.einsum("pes,e,s->p", mid, point.eps.weights, point.sensitivity.weights)
        assert np.abs(point._mid_p(k, n, shares) - exact).max() < 1e-4
