"""metrics.py against scikit-learn and scipy, and its behaviour where a rate is undefined."""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np
import pytest
import scipy
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_malaria import metrics

calls = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=80)
# A coarse grid, so that ties are common.
scored = st.lists(
    st.tuples(st.booleans(), st.integers(-6, 6).map(lambda k: k / 4)), min_size=2, max_size=60
)


@pytest.fixture(scope="module")
def reference() -> Any:
    """scikit-learn's metrics: loaded where they are used, not in each process of the tests."""
    return importlib.import_module("sklearn.metrics")


@given(calls)
def test_rates_are_those_of_scikit_learn(reference: Any, pairs: list[tuple[bool, bool]]) -> None:
    truth, called = (np.array(side) for side in zip(*pairs, strict=True))
    table = metrics.confusion(truth, called)
    tn, fp, fn, tp = reference.confusion_matrix(truth, called, labels=[False, True]).ravel()
    assert (table.tp, table.fp, table.tn, table.fn) == (tp, fp, tn, fn)
    assert table.n == len(pairs)
    assert table.accuracy == pytest.approx(reference.accuracy_score(truth, called))
    if truth.any():
        assert table.sensitivity == pytest.approx(reference.recall_score(truth, called))
    else:
        assert table.sensitivity is None
    if not truth.all():
        assert table.specificity == pytest.approx(
            reference.recall_score(truth, called, pos_label=False)
        )
    else:
        assert table.specificity is None
    if called.any():
        assert table.precision == pytest.approx(reference.precision_score(truth, called))
    else:
        assert table.precision is None
    if truth.any() or called.any():
        assert table.f1 == pytest.approx(reference.f1_score(truth, called))
    else:
        assert table.f1 is None
    if 0 < truth.sum() < truth.size and 0 < called.sum() < called.size:
        assert table.mcc == pytest.approx(reference.matthews_corrcoef(truth, called))
    else:
        assert table.mcc is None


@given(scored)
def test_auc_counts_ties_one_half(reference: Any, pairs: list[tuple[bool, float]]) -> None:
    truth, score = (np.array(side) for side in zip(*pairs, strict=True))
    got = metrics.auc(truth, score)
    if truth.all() or not truth.any():
        assert got is None
    else:
        assert got == pytest.approx(reference.roc_auc_score(truth, score))
        # Reversing the score reverses the order.
        assert metrics.auc(truth, -score) == pytest.approx(1 - got)


@given(scored, st.sampled_from([0.0, 0.5, 0.9, 0.95, 1.0]))
def test_sensitivity_at_specificity_is_the_best_allowed(
    pairs: list[tuple[bool, float]], wanted: float
) -> None:
    truth, score = (np.array(side) for side in zip(*pairs, strict=True))
    got = metrics.sensitivity_at_specificity(truth, score, wanted)
    if truth.all() or not truth.any():
        assert got is None
        return
    assert got is not None
    best = max(
        float(np.mean(score[truth] >= t))
        for t in [*np.unique(score), math.inf]
        if np.mean(score[~truth] < t) >= wanted
    )
    assert got[0] == pytest.approx(best)
    assert np.mean(score[~truth] < got[1]) >= wanted


@given(calls)
def test_kappa_is_that_of_scikit_learn(reference: Any, pairs: list[tuple[bool, bool]]) -> None:
    first, second = (np.array(side) for side in zip(*pairs, strict=True))
    got = metrics.cohen_kappa(first, second)
    if len(set(first.tolist()) | set(second.tolist())) == 1:
        assert got is None
    else:
        assert got == pytest.approx(reference.cohen_kappa_score(first, second))


@settings(max_examples=60)
@given(st.integers(0, 3000), st.integers(1, 3000), st.sampled_from([0.9, 0.95, 0.99]))
def test_intervals_are_those_of_scipy(hits: int, n: int, level: float) -> None:
    hits = min(hits, n)
    test = scipy.stats.binomtest(hits, n)
    wilson = test.proportion_ci(level, method="wilson")
    exact = test.proportion_ci(level, method="exact")
    assert metrics.wilson_interval(hits, n, level) == pytest.approx(
        (wilson.low, wilson.high), abs=1e-12
    )
    assert metrics.clopper_pearson_interval(hits, n, level) == pytest.approx(
        (exact.low, exact.high), abs=1e-9
    )


def test_rule_of_three() -> None:
    interval = metrics.clopper_pearson_interval(0, 1000)
    assert interval is not None
    # Two-sided 95 %: 1 - 0.025 ** (1 / n).
    assert interval == pytest.approx((0.0, 1 - 0.025 ** (1 / 1000)), abs=1e-12)


@given(st.floats(0.5, 2000), st.floats(0.5, 2000), st.floats(0, 1))
def test_incomplete_beta_is_that_of_scipy(a: float, b: float, x: float) -> None:
    assert metrics.incomplete_beta(a, b, x) == pytest.approx(
        scipy.special.betainc(a, b, x), abs=1e-10
    )


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_the_exact_binomial_test(b: int, c: int) -> None:
    expected = scipy.stats.binomtest(b, b + c).pvalue if b + c else 1.0
    assert metrics.mcnemar_exact(b, c) == pytest.approx(expected, abs=1e-10)
    assert metrics.mcnemar_exact(b, c) == metrics.mcnemar_exact(c, b)


def test_mcnemar_of_many_discordant_cells_is_finite() -> None:
    assert 0 <= metrics.mcnemar_exact(20_000, 10_000) < 1e-100
    assert metrics.mcnemar_exact(50_000, 50_001) == pytest.approx(1.0, abs=0.01)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
def test_fisher_is_the_exact_hypergeometric_test(a: int, b: int, c: int, d: int) -> None:
    expected = scipy.stats.fisher_exact([[a, b], [c, d]], alternative="greater").pvalue
    assert metrics.fisher_exact(a, a + b, c, c + d) == pytest.approx(expected, abs=1e-9)


def test_calibration_error_of_known_gaps() -> None:
    truth = np.array([1, 0, 1, 0])
    assert metrics.expected_calibration_error(truth, np.full(4, 0.5)) == pytest.approx(0.0)
    assert metrics.expected_calibration_error(truth, np.full(4, 0.9)) == pytest.approx(0.4)
    assert metrics.expected_calibration_error(truth, truth.astype(float)) == pytest.approx(0.0)
    assert metrics.expected_calibration_error(truth, 1.0 - truth) == pytest.approx(1.0)
    assert metrics.expected_calibration_error([], []) is None


def _cells(rng: np.random.Generator, patients: int, each: int) -> tuple[np.ndarray, ...]:
    skill = rng.uniform(0.7, 1.0, patients)
    group = np.repeat(np.arange(patients), each)
    truth = rng.integers(0, 2, patients * each).astype(bool)
    called = np.where(rng.uniform(size=truth.size) < skill[group], truth, ~truth)
    return truth, called, group


def test_bootstrap_of_one_cell_a_patient_is_the_plain_bootstrap() -> None:
    rng = np.random.default_rng(3)
    truth, called, _ = _cells(rng, 400, 1)
    hit = truth == called
    low, high = metrics.bootstrap_ratio(hit, np.ones(400), np.arange(400), resamples=4000) or (0, 0)
    wilson = metrics.wilson_interval(int(hit.sum()), 400)
    assert (low, high) == pytest.approx(wilson, abs=0.012)


def test_clustering_widens_the_interval() -> None:
    truth, called, group = _cells(np.random.default_rng(1), 12, 200)
    hit = (truth == called).astype(float)
    by_patient = metrics.bootstrap_ratio(hit, np.ones(hit.size), group)
    by_cell = metrics.bootstrap_ratio(hit, np.ones(hit.size), np.arange(hit.size))
    assert by_patient is not None
    assert by_cell is not None
    assert by_patient[1] - by_patient[0] > 2 * (by_cell[1] - by_cell[0])


def test_bootstrap_is_that_of_a_loop_over_patients() -> None:
    truth, called, group = _cells(np.random.default_rng(7), 9, 30)
    got = metrics.bootstrap_rates(truth, called, group, resamples=300, seed=11)
    rng = np.random.default_rng(11)
    draws = rng.multinomial(9, np.full(9, 1 / 9), size=300)
    values: dict[str, list[float]] = {name: [] for name in metrics.RATE_NAMES}
    for draw in draws:
        rows = np.concatenate(
            [np.flatnonzero(group == g) for g in range(9) for _ in range(draw[g])]
        )
        for name, value in metrics.confusion(truth[rows], called[rows]).rates().items():
            assert value is not None
            values[name].append(value)
    for name in metrics.RATE_NAMES:
        assert got[name] == pytest.approx(tuple(np.quantile(values[name], (0.025, 0.975))))


def test_bootstrap_of_the_auc_is_that_of_a_loop_over_patients(reference: Any) -> None:
    rng = np.random.default_rng(5)
    truth, _, group = _cells(rng, 8, 25)
    score = np.round(truth + rng.normal(0, 1, truth.size), 1)
    got = metrics.bootstrap_auc(truth, score, group, resamples=200, seed=2)
    draws = np.random.default_rng(2).multinomial(8, np.full(8, 1 / 8), size=200)
    values = []
    for draw in draws:
        rows = np.concatenate(
            [np.flatnonzero(group == g) for g in range(8) for _ in range(draw[g])]
        )
        values.append(reference.roc_auc_score(truth[rows], score[rows]))
    assert got == pytest.approx(tuple(np.quantile(values, (0.025, 0.975))))


def test_no_change_has_an_interval_of_zero_width() -> None:
    truth, _, group = _cells(np.random.default_rng(2), 6, 10)
    assert metrics.bootstrap_ratio(np.zeros(60), truth, group) == (0.0, 0.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_scores_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="expected finite scores"):
        metrics.auc([0, 1], [0.2, bad])
    with pytest.raises(ValueError, match="expected finite scores"):
        metrics.expected_calibration_error([0, 1], [0.2, bad])


def test_labels_other_than_zero_and_one_are_refused() -> None:
    with pytest.raises(ValueError, match="expected truth of 0 and 1"):
        metrics.confusion([0, 2], [0, 1])
    with pytest.raises(ValueError, match="expected predicted of shape"):
        metrics.confusion([0, 1], [0, 1, 1])


def test_nothing_at_all_is_undefined_not_zero() -> None:
    table = metrics.confusion([], [])
    assert table.n == 0
    assert set(table.rates().values()) == {None}
    assert metrics.auc([], []) is None
    assert metrics.cohen_kappa([], []) is None
    assert metrics.wilson_interval(0, 0) is None
    assert metrics.clopper_pearson_interval(0, 0) is None
    assert metrics.bootstrap_ratio([], [], []) is None
    assert metrics.bootstrap_auc([], [], []) is None
    assert set(metrics.bootstrap_rates([], [], []).values()) == {None}
    # Groups without a single parasitized cell have no sensitivity to redraw.
    assert metrics.bootstrap_ratio([0, 0], [0, 0], ["a", "b"]) is None


@given(scored)
def test_roc_points_are_those_of_scikit_learn(
    reference: Any, pairs: list[tuple[bool, float]]
) -> None:
    truth, score = (np.array(side) for side in zip(*pairs, strict=True))
    points = metrics.roc_curve(truth, score)
    if truth.all() or not truth.any():
        assert points is None
        return
    assert points is not None
    false, hits, _ = reference.roc_curve(truth, score, drop_intermediate=False)
    np.testing.assert_allclose(points[0], false)
    np.testing.assert_allclose(points[1], hits)
    assert np.trapezoid(points[1], points[0]) == pytest.approx(metrics.auc(truth, score))


def test_fleiss_kappa_by_hand() -> None:
    # Three raters, four cells: 3-0, 2-1, 0-3, 3-0; ones 8 of 12.
    ratings = [[1, 1, 1], [1, 0, 1], [0, 0, 0], [1, 1, 1]]
    observed = (1 + 1 / 3 + 1 + 1) / 4
    by_chance = (8 / 12) ** 2 + (4 / 12) ** 2
    expected = (observed - by_chance) / (1 - by_chance)
    assert metrics.fleiss_kappa(ratings) == pytest.approx(expected)
    assert metrics.fleiss_kappa([[1, 1], [0, 0]]) == pytest.approx(1.0)
    assert metrics.fleiss_kappa([[1, 1], [1, 1]]) is None
    assert metrics.fleiss_kappa(np.zeros((0, 3))) is None


@given(calls)
def test_fleiss_kappa_of_two_raters_is_scotts_pi(pairs: list[tuple[bool, bool]]) -> None:
    first, second = (np.array(side, float) for side in zip(*pairs, strict=True))
    share = (first.mean() + second.mean()) / 2
    got = metrics.fleiss_kappa(np.array(pairs))
    if share in (0.0, 1.0):
        assert got is None
        return
    chance = share**2 + (1 - share) ** 2
    assert got == pytest.approx(((first == second).mean() - chance) / (1 - chance), abs=1e-9)
