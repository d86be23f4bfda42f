"""Slide statistics: the verdict's rules, intervals that cover."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_malaria.runtime.slide.error_record import ErrorRecord
from edge_malaria.runtime.slide.expected_errors import PointErrors, SlideErrors
from edge_malaria.runtime.slide.hierarchy import HierarchicalFit, LaboratoryCounts
from edge_malaria.runtime.slide.statistics import (
    FalsePositiveFit,
    SlideCount,
    SlideStatistics,
    VerdictRules,
    choose_screening_threshold,
    fit_false_positives,
    rbc_per_ul,
)

scipy = pytest.importorskip("scipy")


def made_fit(seed: int = 0, patients: int = 46, cells: int = 300) -> FalsePositiveFit:
    """A fit to patients whose rates were drawn from Beta(1, 999): mean 0.1 %."""
    rng = np.random.default_rng(seed)
    healthy = [(int(rng.binomial(cells, rng.beta(1, 999))), cells) for _ in range(patients)]
    infected = [(int(rng.binomial(100, rng.beta(18, 2))), 100) for _ in range(100)]
    return fit_false_positives(healthy, infected)


def known_place(
    false_rate: float, sensitivity: tuple[float, float], slides: int = 40, cells: int = 2000
) -> PointErrors:
    """The errors at a place known by many slides, their rates drawn around ``false_rate``."""
    rng = np.random.default_rng(0)
    calm = [(int(rng.binomial(cells, rng.beta(4, 4 / false_rate))), cells) for _ in range(slides)]
    missed = [(int(rng.binomial(200, 1 - rng.beta(*sensitivity))), 200) for _ in range(100)]
    false_calls = HierarchicalFit([LaboratoryCounts("here", tuple(calm))]).of("here")
    misses = HierarchicalFit([LaboratoryCounts("here", tuple(missed))]).of("here")
    return PointErrors.of(false_calls, misses)


def errors(screening: PointErrors, balanced: PointErrors | None) -> SlideErrors:
    """What a slide of that place is judged by."""
    return SlideErrors(screening, balanced, 1, 40, 80_000, 20_000, site="here")


@pytest.fixture(scope="module")
def slides() -> SlideStatistics:
    """Statistics at a place whose false calls are known: 0.02 %, a quarter missed at most."""
    screening, balanced = known_place(0.0002, (18, 2)), known_place(0.004, (36, 2))
    return SlideStatistics(errors(screening, balanced))


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
        rate = rng.beta(4, 4 / 0.0002) * (1 - parasitemia) + rng.beta(18, 2) * parasitemia
        k = int(rng.binomial(1500, rate))
        if k not in intervals:
            intervals[k] = slides.screening.interval(k, 1500)
        low, high = intervals[k]
        covered += low <= parasitemia <= high
    # 93 % of 120 less three standard errors.
    assert covered >= 103


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


def test_chances_read_off_a_line_are_those_of_the_incomplete_beta(slides: SlideStatistics) -> None:
    point = slides.screening
    shares = np.geomspace(1e-4, 1.0, 12)
    for k, n in ((0, 500), (3, 1000), (900, 1000), (13_000, 13_000)):
        rate = point.eps.rates[:, None] * (1 - shares[:, None, None])
        rate = rate + point.sensitivity.rates[None, :] * shares[:, None, None]
        mid = scipy.stats.binom.cdf(k, n, rate) - scipy.stats.binom.pmf(k, n, rate) / 2
        exact = np.einsum("pes,e,s->p", mid, point.eps.weights, point.sensitivity.weights)
        assert np.abs(point._mid_p(k, n, shares) - exact).max() < 1e-4


def test_zero_of_many_is_not_detected_and_never_better_than_the_rule_of_three(
    slides: SlideStatistics,
) -> None:
    for n in (5000, 20_000, 100_000):
        result = slides.result(SlideCount(n, 0, likely=n // 250))
        assert (result.verdict, result.cause) == ("not-detected", "within-errors")
        assert result.limit_of_detection is not None
        assert result.limit_of_detection <= slides.rules.max_lod
        assert result.parasitemia == 0.0
        assert result.ci95 is not None and result.ci95[0] == 0.0
        assert result.ci95[1] >= 3.0 / n


@pytest.mark.slow
def test_not_detected_is_never_said_where_the_limit_lies_above_the_rule(
    slides: SlideStatistics,
) -> None:
    for n in np.geomspace(500, 60_000, 12).astype(int).tolist():
        for k in (0, 1, 2):
            result = slides.result(SlideCount(n, k, likely=max(k, n // 250)))
            limit = result.limit_of_detection
            if result.verdict == "not-detected":
                assert limit is not None and limit <= slides.rules.max_lod
    strict = SlideStatistics(slides.errors, VerdictRules(max_lod=1e-6))
    result = strict.result(SlideCount(9083, 0, likely=30))
    assert (result.verdict, result.cause) == ("indeterminate", "blind")
    assert (result.parasitemia, result.ci95, result.parasites_per_ul) == (None, None, None)
    assert "cannot see less than" in result.why


def test_verdict_moves_from_not_detected_over_grey_to_detected(slides: SlideStatistics) -> None:
    verdicts = [slides.verdict(SlideCount(5000, k)).verdict for k in range(100)]
    order = {"not-detected": 0, "indeterminate": 1, "parasites-detected": 2}
    steps = [order[v] for v in verdicts]
    assert steps == sorted(steps)
    assert set(steps) == {0, 1, 2}
    assert verdicts[slides.count_needed(5000) or 0] == "parasites-detected"


def test_few_cells_are_indeterminate_and_say_how_many_more(slides: SlideStatistics) -> None:
    result = slides.result(SlideCount(120, 0))
    assert (result.verdict, result.cause) == ("indeterminate", "few-cells")
    assert result.more_cells is not None and result.more_cells >= slides.rules.min_cells - 120
    more = SlideCount(120 + result.more_cells, 0)
    assert slides.result(more).verdict == "not-detected"


def test_a_blurred_domain_is_never_called_and_has_no_number(slides: SlideStatistics) -> None:
    clear = slides.result(SlideCount(2000, 100, borderline=60, likely=110))
    smeared = slides.result(SlideCount(2000, 100, borderline=800, likely=110))
    assert clear.verdict == "parasites-detected"
    assert clear.parasitemia is not None
    assert (smeared.verdict, smeared.cause) == ("indeterminate", "unfamiliar")
    assert (smeared.parasitemia, smeared.ci95, smeared.parasites_per_ul_ci95) == (None, None, None)
    assert smeared.more_cells is None


@given(n=st.integers(0, 30_000), share=st.floats(0, 1), likely=st.floats(0, 1))
@settings(max_examples=20, deadline=None)
def test_any_count_gives_a_sound_result(
    slides: SlideStatistics, n: int, share: float, likely: float
) -> None:
    k = round(share * n)
    result = slides.result(SlideCount(n, k, likely=k + round(likely * (n - k))))
    if n == 0:
        assert (result.verdict, result.parasitemia, result.ci95) == ("indeterminate", None, None)
        assert result.limit_of_detection is None
        return
    if result.parasitemia is not None:
        assert result.ci95 is not None
        assert 0 <= result.ci95[0] <= result.parasitemia <= result.ci95[1] <= 1
    if result.verdict == "parasites-detected":
        assert result.p_value <= slides.rules.level
    if result.verdict == "indeterminate" and result.more_cells is None:
        assert result.parasitemia is None
    if result.verdict == "not-detected":
        assert n >= slides.rules.min_cells


def test_false_alarms_stay_below_the_level(slides: SlideStatistics) -> None:
    rng = np.random.default_rng(7)
    n = 2000
    needed = slides.count_needed(n)
    assert needed is not None
    positives = rng.binomial(n, rng.beta(4, 4 / 0.0002, 20_000))
    assert np.mean(positives >= needed) <= 0.02


def test_a_place_of_which_nothing_is_known_needs_many_more_positives(
    slides: SlideStatistics,
) -> None:
    record = ErrorRecord.of_fit(made_fit(), 0.99)
    unknown = SlideStatistics(record.errors(0.99, None))
    known, wide = slides.count_needed(5000), unknown.count_needed(5000)
    assert known is not None
    assert wide is None or wide > 10 * known
    # So many cells without a positive one say nothing there, and no number is given.
    result = unknown.result(SlideCount(5000, 0))
    assert (result.verdict, result.cause) == ("indeterminate", "blind")
    assert result.parasitemia is None
    few = unknown.result(SlideCount(5000, 40))
    assert few.parasitemia is None


def test_rules_refuse_nonsense() -> None:
    with pytest.raises(ValueError, match="level"):
        VerdictRules(level=0.5, grey_level=0.1)
    with pytest.raises(ValueError, match="max_lod"):
        VerdictRules(max_lod=float("nan"))
    with pytest.raises(ValueError, match="confirm_cells"):
        VerdictRules(confirm_cells=0)


def test_the_balanced_point_measures_how_much_once_parasites_are_detected() -> None:
    # The screening point finds between a tenth and nine tenths of the parasites.
    uneven, even = known_place(0.0005, (1.5, 1.5)), known_place(0.008, (190, 10))
    slides = SlideStatistics(errors(uneven, even))
    result = slides.result(SlideCount(2000, 100, borderline=90, likely=210))
    assert result.measured_at == "balanced"
    assert result.parasitemia == pytest.approx(0.10, abs=0.015)
    assert result.ci95 is not None
    low, high = slides.screening.interval(100, 2000)
    assert result.ci95[1] - result.ci95[0] < (high - low) / 4
    assert not result.points_disagree


def test_points_that_contradict_each_other_give_no_number() -> None:
    sharp = known_place(0.0005, (90, 10))
    slides = SlideStatistics(errors(sharp, known_place(0.02, (90, 10))))
    agree = slides.result(SlideCount(5000, 460, likely=550))
    # Of 12 % parasitized cells the screening point finds hardly any: another stain.
    apart = slides.result(SlideCount(5000, 40, likely=640))
    assert not agree.points_disagree and agree.parasitemia is not None
    assert apart.points_disagree
    assert (apart.parasitemia, apart.ci95, apart.parasites_per_ul) == (None, None, None)
