"""Probabilities and operating points, chosen on validation and cross-fitted patients only.

Temperature and bias: Platt scaling (Platt 1999) of the int8-ready network's logits on the
validation patients. Balanced point: where Matthews' coefficient is best there. Screening point: the
probability that leaves the target share of false positives among healthy patients' cells, from
logits of networks that had not seen the patient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.errors import DatasetError
from edge_malaria.metrics import confusion
from edge_malaria.runtime.classify import probability

Logits = NDArray[np.float32]
Labels = NDArray[np.int64]

# Half of the 0.2 % that a healthy patient's slide may show at the screening point.
SCREENING_FALSE_POSITIVES = 0.001


def fit_platt(logits: Logits, labels: Labels, steps: int = 50) -> tuple[float, float]:
    """(temperature, bias) so that sigmoid((logit + bias) / temperature) is calibrated.

    Newton's method on the log-likelihood with Platt's smoothed targets, which keep a separable set
    finite.

    Args:
        logits: float32 [N] of patients the network was not fitted to.
        labels: int64 [N].

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


def _log_loss(z: NDArray[np.float64], targets: NDArray[np.float64]) -> float:
    return float(np.sum(np.logaddexp(0.0, z) - targets * z))


def best_threshold(chances: NDArray[np.float64], labels: Labels) -> tuple[float, float]:
    """(threshold, MCC) with the best Matthews coefficient.

    Thresholds within 0.001 of the best are as good as it is; their middle is the one that the next
    patients are least likely to contradict.
    """
    grid = np.linspace(0.02, 0.98, 193)
    scores = np.array([confusion(labels, chances >= t).mcc or -1.0 for t in grid])
    good = grid[scores >= scores.max() - 1e-3]
    return float(round(float(np.median(good)), 4)), float(scores.max())


def threshold_for_false_positives(chances: NDArray[np.float64], share: float) -> float:
    """The lowest threshold that leaves at most ``share`` of these (all healthy) cells positive.

    Interpolated half-way to the next healthy cell below; never above 0.999.
    """
    ordered = np.sort(chances)[::-1]
    allowed = int(np.floor(share * len(ordered)))
    if allowed >= len(ordered):
        return 0.001
    limit = ordered[allowed]
    above = ordered[allowed - 1] if allowed else 1.0
    return float(np.clip((limit + above) / 2.0, 0.001, 0.999))


def cross_fitted_false_positives(
    chances: NDArray[np.float64],
    patients: NDArray[np.str_],
    share: float = SCREENING_FALSE_POSITIVES,
    parts: int = 5,
) -> list[tuple[str, int, int]]:
    """[(patient, positives, cells)], each counted at a threshold chosen without that patient.

    Args:
        chances: float64 [N], healthy patients' cells, from networks that never saw the patient.
        patients: their ids, [N].
    """
    names = sorted(set(patients.tolist()))
    counted = []
    for index, name in enumerate(names):
        part = [other for place, other in enumerate(names) if place % parts == index % parts]
        held_out = np.isin(patients, part)
        threshold = threshold_for_false_positives(chances[~held_out], share)
        own = chances[patients == name]
        counted.append((name, int((own >= threshold).sum()), len(own)))
    return counted


def decision(
    val: tuple[Logits, Labels],
    healthy: tuple[Logits, NDArray[np.str_]],
    abstention: dict[str, Any],
) -> dict[str, Any]:
    """The decision block of a bundle: calibration, operating points, false positives.

    Args:
        val: logits and labels of validation patients, from the network that ships.
        healthy: logits and patients of healthy patients' cells that the network behind each logit
            had not seen (cross-fitted networks; at the least the validation patients).
        abstention: see ``runtime.classify.Decision``.
    """
    logits, labels = val
    temperature, bias = fit_platt(logits, labels)
    chances = probability(logits, temperature, bias)
    balanced, mcc = best_threshold(chances, labels)
    healthy_chances = probability(healthy[0], temperature, bias)
    screening = threshold_for_false_positives(healthy_chances, SCREENING_FALSE_POSITIVES)
    screening = float(round(max(screening, balanced), 5))
    counted = cross_fitted_false_positives(healthy_chances, healthy[1])
    return {
        "temperature": round(temperature, 6),
        "bias": round(bias, 6),
        "operating_points": {
            "balanced": {
                "threshold": balanced,
                "chosen": f"best Matthews coefficient on validation patients ({mcc:.4f})",
                "val": _rates(chances, labels, balanced),
            },
            "screening": {
                "threshold": screening,
                "chosen": (
                    f"at most {SCREENING_FALSE_POSITIVES:.1%} of healthy patients' cells positive, "
                    "never below balanced"
                ),
                "val": _rates(chances, labels, screening),
            },
        },
        "false_positives": _false_positives(counted),
        "abstention": abstention,
    }


def _rates(chances: NDArray[np.float64], labels: Labels, threshold: float) -> dict[str, float]:
    called = chances >= threshold
    return {
        "sensitivity": round(float(called[labels == 1].mean()), 5),
        "specificity": round(float((~called[labels == 0]).mean()), 5),
    }


def _false_positives(counted: Sequence[tuple[str, int, int]]) -> dict[str, Any]:
    positives = sum(row[1] for row in counted)
    cells = sum(row[2] for row in counted)
    return {
        "operating_point": "screening",
        "positives": positives,
        "cells": cells,
        "rate": round(positives / cells, 6) if cells else None,
        "per_patient": [list(row) for row in counted],
        "how": "healthy patients; each at a threshold chosen without that patient",
    }
