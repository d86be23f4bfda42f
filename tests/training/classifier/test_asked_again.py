"""Operating points of a bundle that asks flagged cells again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge_malaria.metrics import confusion
from edge_malaria.runtime.classify.classifier import probability
from edge_malaria.training.classifier.asked_again import Answers
from edge_malaria.training.classifier.calibrate import decision, fit_platt
from edge_malaria.training.classifier.cross_fitted import CrossFitted

RNG = np.random.default_rng(5)
LABELS = np.repeat([0, 1], 1500)
PATIENTS = np.array([f"H{i % 20}" if i < 1000 else f"P{i % 30}" for i in range(3000)])
# A first answer with noise of its own; eight views have less.
TRUTH = np.where(LABELS == 1, 2.0, -2.0)
FIRST = (TRUTH + RNG.normal(0, 1.5, 3000)).astype(np.float32)
AVERAGED = (TRUTH + RNG.normal(0, 1.0, 3000)).astype(np.float32)


def crossed(averaged: bool) -> CrossFitted:
    views = probability(AVERAGED) if averaged else None
    return CrossFitted(probability(FIRST), LABELS, PATIENTS, views)


def decided(averaged: bool) -> dict[str, Any]:
    calibration = fit_platt(FIRST, LABELS)
    return decision(
        (FIRST, LABELS, PATIENTS),
        calibration,
        crossed(averaged),
        {},
        "test",
        AVERAGED if averaged else None,
    )


def test_the_rates_are_those_of_cells_that_are_asked_again() -> None:
    made = decided(averaged=True)
    assert made["flagged_views"] == 8
    p, q = (probability(x, made["temperature"], made["bias"]) for x in (FIRST, AVERAGED))
    points = made["operating_points"]
    balanced = points["balanced"]["threshold"]
    for name in ("balanced", "screening"):
        threshold = points[name]["threshold"]
        # What the device does: the first answer decides below the balanced point, the mean above.
        called = np.where(p >= balanced, q, p) >= threshold
        told = points[name]["val"]
        assert told["sensitivity"] == pytest.approx(called[LABELS == 1].mean(), abs=2e-3)
        assert told["specificity"] == pytest.approx((~called[LABELS == 0]).mean(), abs=2e-3)


def test_eight_views_gain_at_the_screening_point_and_not_less_elsewhere() -> None:
    once, again = decided(averaged=False), decided(averaged=True)
    assert "flagged_views" not in once
    gained = [made["operating_points"]["screening"]["val"]["sensitivity"] for made in (once, again)]
    assert gained[1] > gained[0] + 0.05
    p, q = (probability(x, again["temperature"], again["bias"]) for x in (FIRST, AVERAGED))
    best = max(
        confusion(LABELS, (p >= t) & (q >= t)).mcc or -1 for t in np.linspace(0.02, 0.98, 193)
    )
    balanced = again["operating_points"]["balanced"]["threshold"]
    assert (confusion(LABELS, (p >= balanced) & (q >= balanced)).mcc or -1) >= best - 0.004


def test_the_cross_fitted_networks_are_asked_again_too() -> None:
    with pytest.raises(ValueError, match="cross-fitted cells asked again too"):
        decision(
            (FIRST, LABELS, PATIENTS),
            fit_platt(FIRST, LABELS),
            crossed(averaged=False),
            {},
            "test",
            AVERAGED,
        )


def test_without_eight_views_the_first_answer_is_all() -> None:
    answers = Answers(np.array([0.2, 0.9]))
    assert answers.lowest is answers.first
    assert answers.settled(0.5) is answers.first


def by_second(asked_from: float) -> dict[str, Any]:
    """``AVERAGED`` as the answers of a second network."""
    calibration = fit_platt(FIRST, LABELS)
    told = CrossFitted(probability(FIRST), LABELS, PATIENTS, probability(AVERAGED))
    scored = FIRST, LABELS, PATIENTS
    return decision(scored, calibration, told, {}, "test", AVERAGED, asked_from)


@pytest.mark.parametrize("asked_from", [0.02, 0.1])
def test_the_rates_are_those_of_first_and_second_network(asked_from: float) -> None:
    made = by_second(asked_from)
    assert made["second"] == {"from": asked_from} and "flagged_views" not in made
    p, q = (probability(x, made["temperature"], made["bias"]) for x in (FIRST, AVERAGED))
    for name in ("balanced", "screening"):
        point = made["operating_points"][name]
        assert point["threshold"] >= asked_from
        called = np.where(p >= asked_from, q, p) >= point["threshold"]
        told = point["val"]
        assert told["sensitivity"] == pytest.approx(called[LABELS == 1].mean(), abs=2e-3)
        assert told["specificity"] == pytest.approx((~called[LABELS == 0]).mean(), abs=2e-3)


def test_a_second_network_that_is_asked_early_gives_back_what_the_first_one_missed() -> None:
    early, late = (by_second(start)["operating_points"]["balanced"]["val"] for start in (0.02, 0.4))
    assert early["sensitivity"] > late["sensitivity"]
