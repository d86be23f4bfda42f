"""What a pair of outputs is worth: ratios, bits, calls, and limits that fail closed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_malaria.bundle.decision import DecisionRecord
from edge_malaria.bundle.spec import ModelSpec
from edge_malaria.parity import LIMITS, Settings
from edge_malaria.parity.numeric import (
    Cells,
    Outputs,
    bit_identical,
    compare_outputs,
    lsb_histogram,
    sqnr_db,
)
from edge_malaria.runtime.classify.classifier import Decision

RNG = np.random.default_rng(4)
LOGITS = RNG.normal(0.0, 4.0, 2000).astype(np.float32)
LABELS = ("uninfected", "parasitized")
DECISION = Decision(ModelSpec("classify-cell", LABELS, 48, {}, DecisionRecord(), {}), 0.5)
floats = st.floats(-50, 50, width=32)


def outputs(name: str, logits: Any) -> Outputs:
    values = np.asarray(logits, np.float32)
    return Outputs(name, values, values)


def cells(n: int, **more: Any) -> Cells:
    return Cells("drawn", np.zeros((n, 4, 4, 3), np.uint8), **more)


def labelled(n: int, patients: int = 20) -> Cells:
    """Labels that the reference gets right; patients in turn."""
    truth = LOGITS[:n] > 0
    return Cells(
        "val", np.zeros((n, 4, 4, 3), np.uint8), truth=truth, patients=np.arange(n) % patients
    )


def test_sqnr_of_known_noise() -> None:
    noise = RNG.normal(0.0, 0.04, LOGITS.size)
    expected = 20 * math.log10(4.0 / 0.04)
    assert sqnr_db(LOGITS, LOGITS + noise) == pytest.approx(expected, abs=0.5)
    assert sqnr_db(LOGITS, LOGITS) == math.inf
    assert sqnr_db(np.ones(5), np.zeros(5)) == -math.inf


@given(st.lists(floats, min_size=2, max_size=30), st.floats(0.01, 100))
def test_sqnr_does_not_depend_on_the_unit(values: list[float], unit: float) -> None:
    one = np.array(values, np.float64)
    other = one + np.linspace(-1, 1, one.size)
    if np.var(one) > 1e-6:
        assert sqnr_db(unit * one, unit * other) == pytest.approx(sqnr_db(one, other), abs=1e-6)


@given(st.lists(st.integers(-128, 127), min_size=1, max_size=50), st.integers(-3, 3))
def test_histogram_counts_every_cell(values: list[int], shift: int) -> None:
    one = np.array(values, np.int8)
    other = np.clip(one.astype(int) + shift, -128, 127).astype(np.int8)
    found = lsb_histogram(one, other)
    assert found is not None
    assert sum(found.values()) == len(values)
    assert bit_identical(one, other) == (set(found) == {0})
    assert lsb_histogram(one.astype(np.float32), other) is None


def test_bits_of_another_type_are_not_identical() -> None:
    assert not bit_identical(np.zeros(3, np.int8), np.zeros(3, np.uint8))
    assert not bit_identical(np.array([0.0], np.float32), np.array([-0.0], np.float32))


def test_equal_outputs_pass() -> None:
    pair = compare_outputs(
        outputs("keras", LOGITS), outputs("a.int8", LOGITS), labelled(2000), DECISION, Settings()
    )
    assert pair.passed
    assert (pair.flips, pair.max_abs_diff, pair.bit_identical) == (0, 0.0, True)
    assert pair.delta_sensitivity_ci95 == (0.0, 0.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["candidate", "reference"])
def test_one_bad_number_fails(bad: float, where: str) -> None:
    broken = LOGITS.copy()
    broken[17] = bad
    sides = {"reference": LOGITS, "candidate": LOGITS, where: broken}
    pair = compare_outputs(
        outputs("keras", sides["reference"]),
        outputs("a.int8", sides["candidate"]),
        labelled(2000),
        DECISION,
        Settings(),
    )
    assert any("NaN or infinite" in failure.message for failure in pair.failures)


def test_a_float_file_may_differ_by_the_steps_of_its_largest_logit_and_no_more() -> None:
    def passes(scale: float, change: float) -> bool:
        logits = LOGITS * np.float32(scale)
        logits[0], other = np.float32(0.0), logits.copy()
        other[0] = change
        truth = replace(labelled(2000), truth=logits > -1)
        return compare_outputs(
            outputs("keras", logits), outputs("a.float32", other), truth, DECISION, Settings()
        ).passed

    # A step of numbers from 8,192 on is 0.001: probabilities near one half change by 0.0002.
    assert passes(1000.0, 1e-3) and not passes(1000.0, 4e-3)
    assert passes(1.0, 3e-4) and not passes(1.0, 1e-3)


def test_nothing_to_compare_fails() -> None:
    pair = compare_outputs(
        outputs("keras", []), outputs("a.int8", []), cells(0), DECISION, Settings()
    )
    assert [failure.what for failure in pair.failures] == ["cells compared"]


def test_few_cells_fail_however_good_they_are() -> None:
    few = LOGITS[:200]
    pair = compare_outputs(
        outputs("keras", few), outputs("a.int8", few), labelled(200), DECISION, Settings()
    )
    assert {failure.got for failure in pair.failures} == {
        str(int((few > 0).sum())),
        str(int((few <= 0).sum())),
    }
    assert all("too few cells" in failure.message for failure in pair.failures)
    wide = Settings(delta=0.05)
    assert compare_outputs(
        outputs("keras", few), outputs("a.int8", few), labelled(200), DECISION, wide
    ).passed


def test_the_least_number_of_cells_is_the_rule_of_three() -> None:
    assert Settings(delta=0.01).min_cells == 300
    assert Settings(delta=0.05).min_cells == 60


def test_lost_sensitivity_is_refused_on_the_interval_not_the_mean() -> None:
    """Lost cells of one patient: the mean change is small, but another draw could be worse."""
    data = labelled(2000)
    assert data.truth is not None
    assert data.patients is not None
    ill = np.flatnonzero(data.truth & (data.patients == 3))
    worse = LOGITS.copy()
    # Just below the threshold, so that no numeric limit notices.
    close = LOGITS.copy()
    close[ill[:9]], worse[ill[:9]] = 0.05, -0.05
    truth = data.truth
    pair = compare_outputs(
        outputs("keras", close), outputs("a.int8", worse), data, DECISION, Settings()
    )
    assert pair.delta_sensitivity == pytest.approx(-9 / truth.sum())
    assert pair.delta_sensitivity > -0.01
    assert pair.delta_sensitivity_ci95 is not None
    assert pair.delta_sensitivity_ci95[0] < -0.01
    assert [failure.what for failure in pair.failures] == [
        "lower 95 % bound of the change of sensitivity (val cells)"
    ]
    assert pair.mcnemar_p == pytest.approx(2 * 0.5**9)


def test_cells_near_the_threshold_have_a_limit_of_their_own() -> None:
    near = np.zeros(2000, bool)
    near[:200] = True
    base = LOGITS.copy()
    base[:200] = RNG.uniform(-1, 1, 200)
    shifted = base.copy()
    shifted[:200] += 0.9
    pair = compare_outputs(
        outputs("keras", base),
        outputs("a.int8", shifted),
        cells(2000, near=near),
        DECISION,
        Settings(),
    )
    assert any("near the threshold" in failure.message for failure in pair.failures)


def test_an_unknown_variant_gets_the_strictest_limits() -> None:
    assert Settings().limits_of("int4") is LIMITS["float32"]
