"""Probabilities and operating points, chosen on validation and cross-fitted patients only.

Temperature and bias: Platt scaling (Platt 1999) of the int8-ready network's logits on the
validation patients. Balanced point: where Matthews' coefficient is best there. Screening point: the
probability that leaves the target share of false positives among healthy patients' cells, from
networks that had not seen the patient.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.errors import DatasetError
from edge_malaria.runtime.classify.classifier import probability
from edge_malaria.runtime.classify.flagged_views import VIEWS
from edge_malaria.runtime.slide.statistics import fit_false_positives
from edge_malaria.training.classifier.asked_again import Answers
from edge_malaria.training.classifier.cross_fitted import (
    SCREENING_FALSE_POSITIVES,
    CrossFitted,
    best_threshold,
    counts_at,
    cross_fitted_counts,
    same_sensitivity,
    screening_threshold,
    settled,
)

Logits = NDArray[np.float32]
Labels = NDArray[np.int64]


def fit_platt(logits: Logits, labels: Labels, steps: int = 50) -> tuple[float, float]:
    """(temperature, bias) so that sigmoid((logit + bias) / temperature) is calibrated.

    Newton's method on the log-likelihood with Platt's smoothed targets, which keep a separable set
    finite.

    Args:
        logits: float32 [N] of patients the network was not fitted to.
        labels: int64 [N].
        steps: of Newton's method, at most.

    Raises:
        DatasetError: one class is missing, or the scores do not rise with the label.
    """
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if positives == 0 or negatives == 0:
        raise DatasetError("calibration needs validation cells of both classes.")
    targets = np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    design = np.column_stack([logits.astype(np.float64), np.ones(len(logits))])
    # From slope 0 the full Newton step is halved until it helps: it never runs into saturation.
    theta = np.zeros(2)
    for _ in range(steps):
        chance = probability((design @ theta).astype(np.float32))
        gradient = design.T @ (chance - targets)
        weights = chance * (1.0 - chance)
        hessian = design.T @ (design * weights[:, None]) + 1e-9 * np.eye(2)
        change = np.linalg.solve(hessian, gradient)
        before = _log_loss(design @ theta, targets)
        while (
            _log_loss(design @ (theta - change), targets) > before and np.abs(change).max() > 1e-9
        ):
            change = change / 2.0
        theta = theta - change
        if np.abs(change).max() < 1e-8:
            break
    if not (theta[0] > 1e-3):
        raise DatasetError("calibration failed: logits do not rise with the label.")
    return float(1.0 / theta[0]), float(theta[1] / theta[0])


def bake(model: Any, temperature: float, bias: float) -> None:
    """Moves a calibration into the last dense layer: the logits become (logit + bias) / T.

    Args:
        model: a network that ends in one dense logit; changed in place.
        temperature: from ``fit_platt``.
        bias: from ``fit_platt``.
    """
    kernel, offset = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel / temperature, (offset + bias) / temperature])


def _log_loss(z: NDArray[np.float64], targets: NDArray[np.float64]) -> float:
    return float(np.sum(np.logaddexp(0.0, z) - targets * z))


def decision(
    val: tuple[Logits, Labels, NDArray[np.str_]],
    calibration: tuple[float, float],
    crossed: CrossFitted,
    abstention: dict[str, Any],
    how: str,
    again: Logits | None = None,
    asked_from: float | None = None,
) -> dict[str, Any]:
    """The decision block of a bundle: calibration, operating points, false positives.

    Args:
        val: logits, labels and patients of validation cells, from the network that ships.
        calibration: (temperature, bias) of that network.
        crossed: cells of train and val patients with networks that had not seen them.
        abstention: see ``runtime.classify.Decision``.
        how: where ``crossed`` comes from, for the record.
        again: of the validation cells, where flagged ones are to be asked again: the mean logits of
            eight views, or the second network's on the scale of the first; ``crossed`` then has
            its own.
        asked_from: probability from which on the second network is asked; None for eight views.

    Raises:
        DatasetError: no uninfected cell among ``crossed``.
        ValueError: ``again`` without those of ``crossed``.
    """
    logits, labels, patients = val
    if not crossed.healthy.any():
        raise DatasetError("the screening threshold needs uninfected cells.")
    if not crossed.has_healthy_patients:
        how += "; without healthy patients, uninfected cells of infected ones stand in"
    own = Answers.of_logits(logits, again, calibration, asked_from)
    balanced, mcc = best_threshold(own.lowest, labels)
    infected = (crossed.labels == 1) & np.isin(crossed.patients, patients)
    chances = own.settled(balanced)
    crossed, crossed_balanced = settled(crossed, own, labels, patients)
    crossed_infected, own_infected = crossed.chances[infected], chances[labels == 1]
    crossed_screening = screening_threshold(crossed, crossed.healthy)
    screening = same_sensitivity(crossed_screening, crossed_infected, own_infected)
    screening = float(round(max(screening, balanced), 5))
    counts = cross_fitted_counts(crossed)
    return {
        "temperature": round(calibration[0], 6),
        "bias": round(calibration[1], 6),
        **_asking(again is not None, asked_from),
        "operating_points": {
            "balanced": {
                "threshold": balanced,
                "chosen": f"best Matthews coefficient on validation patients ({mcc:.4f})",
                "val": _rates(chances, labels, balanced),
            },
            "screening": {
                "threshold": screening,
                "chosen": (
                    f"at most {SCREENING_FALSE_POSITIVES:.2%} of a healthy patient's cells "
                    "positive on average in the cross-fitted networks, carried over at equal "
                    "sensitivity on validation patients; never below balanced"
                ),
                "val": _rates(chances, labels, screening),
            },
        },
        **_false_positives(counts, how, (balanced, counts_at(crossed, crossed_balanced))),
        "abstention": abstention,
    }


def _asking(asks: bool, asked_from: float | None) -> dict[str, Any]:
    if not asks:
        return {}
    return {"flagged_views": VIEWS} if asked_from is None else {"second": {"from": asked_from}}


def _rates(chances: NDArray[np.float64], labels: Labels, threshold: float) -> dict[str, float]:
    called = chances >= threshold
    return {
        "sensitivity": round(float(called[labels == 1].mean()), 5),
        "specificity": round(float((~called[labels == 0]).mean()), 5),
    }


def _false_positives(
    counts: dict[str, list[tuple[str, int, int]]],
    how: str,
    balanced: tuple[float, dict[str, list[tuple[str, int, int]]]],
) -> dict[str, Any]:
    """The ``false_positives`` entry; none where a spread between patients cannot be fitted.

    ``quantity`` inside it holds the same at the balanced point, (threshold, counts).
    """
    healthy, infected = counts["false_positives"], counts["sensitivity"]
    if len(healthy) < 2:
        return {}
    fit = fit_false_positives(
        [(positives, cells) for _, positives, cells in healthy],
        [(positives, cells) for _, positives, cells in infected],
    )
    threshold, likely = balanced
    quantity = fit_false_positives(
        [(positives, cells) for _, positives, cells in likely["false_positives"]],
        [(positives, cells) for _, positives, cells in likely["sensitivity"]],
    )
    return {
        "false_positives": {
            **fit.as_json(),
            "quantity": {"threshold": threshold, **quantity.as_json()},
            "operating_point": "screening",
            "positives": sum(row[1] for row in healthy),
            "per_patient": [list(row) for row in healthy],
            "how": how,
        }
    }
