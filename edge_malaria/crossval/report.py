"""Figures of a cross-validation: pooled over the folds, each fold, mean and spread over the folds.

Raw labels come first; figures without suspect labels stand beside them.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.crossval.results import FoldResult
from edge_malaria.metrics import (
    auc,
    bootstrap_auc,
    bootstrap_rates,
    clopper_pearson_interval,
    confusion,
    expected_calibration_error,
    sensitivity_at_specificity,
)
from edge_malaria.runtime.classify.classifier import probability
from edge_malaria.training.classifier.cells import CellSet
from edge_malaria.training.classifier.cross_fitted import (
    CrossFitted,
    best_threshold,
    cross_fitted_counts,
)

BOOTSTRAP_SEED = 2026
MEASURES = ("accuracy", "sensitivity", "specificity", "precision", "f1", "mcc", "auc")


def pooled(results: Sequence[FoldResult], cells: CellSet) -> dict[str, NDArray[Any]]:
    """Row by row over the data set: calibrated ``chance``, ``called`` and the ``fold``.

    ``called`` uses the threshold that the fold's inner patients chose.
    """
    chance = np.full(len(cells), np.nan)
    called = np.zeros(len(cells), np.bool_)
    fold = np.full(len(cells), -1)
    for result in results:
        chances = probability(result.logits, result.temperature, result.bias)
        inner = probability(result.inner_logits, result.temperature, result.bias)
        threshold, _ = best_threshold(inner, result.inner_labels)
        chance[result.held_out] = chances
        called[result.held_out] = chances >= threshold
        fold[result.held_out] = result.fold
    return {"chance": chance, "called": called, "fold": fold, "seen": np.isfinite(chance)}


def _rates(
    cells: CellSet, chance: NDArray[np.float64], called: NDArray[np.bool_]
) -> dict[str, Any]:
    counts = confusion(cells.labels, called)
    found = sensitivity_at_specificity(cells.labels, chance, 0.995)
    return {
        "n": counts.n,
        "accuracy": counts.accuracy,
        "auc": auc(cells.labels, chance),
        "sensitivity": counts.sensitivity,
        "specificity": counts.specificity,
        "precision": counts.precision,
        "f1": counts.f1,
        "mcc": counts.mcc,
        "sensitivity_at_specificity_0.995": found[0] if found else None,
        "accuracy_at_p_0.5": float(np.mean((chance >= 0.5) == (cells.labels == 1))),
        "expected_calibration_error": expected_calibration_error(cells.labels, chance),
    }


def mean_sd(entries: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float | None]]:
    """Mean and sample standard deviation over folds of every one of ``MEASURES``.

    A fold where a measure is undefined does not count for it; None: no fold, or (sd) only one.
    """
    found: dict[str, dict[str, float | None]] = {}
    for name in MEASURES:
        values = [float(entry[name]) for entry in entries if entry[name] is not None]
        found[name] = {
            "mean": statistics.mean(values) if values else None,
            "sd": statistics.stdev(values) if len(values) > 1 else None,
        }
    return found


def leak(by_patient: Mapping[str, Any], by_cell: Mapping[str, Any]) -> dict[str, float | None]:
    """What folds made of cells promise too much: mean by cell minus mean by patient."""
    found: dict[str, float | None] = {}
    for name in MEASURES:
        cell, patient = (part["mean_sd"][name]["mean"] for part in (by_cell, by_patient))
        found[name] = None if cell is None or patient is None else cell - patient
    return found


def summarize(
    results: Sequence[FoldResult], cells: CellSet, *, exclude_suspect: bool = False
) -> dict[str, Any]:
    """All figures of a cross-validation as one JSON object.

    Args:
        results: the folds that were run.
        cells: the whole data set, full rendering.
        exclude_suspect: each fold, and mean and spread, without suspect labels too.
    """
    table = pooled(results, cells)
    seen = table["seen"]
    part = cells.take(seen)
    chance, called = table["chance"][seen], table["called"][seen]
    sound = ~part.suspect
    summary: dict[str, Any] = {
        "folds": sorted(result.fold for result in results),
        "raw_labels": _rates(part, chance, called),
        "without_suspect_labels": _rates(part.take(sound), chance[sound], called[sound]),
        "per_fold": [],
    }
    if all(row.patient_id for row in part.rows):
        rates = bootstrap_rates(part.labels, called, part.patients, seed=BOOTSTRAP_SEED)
        summary["raw_labels"]["ci95_by_patient"] = {
            **{name: list(value) for name, value in rates.items() if value is not None},
            "auc": bootstrap_auc(part.labels, chance, part.patients, seed=BOOTSTRAP_SEED),
        }
    for result in results:
        own = table["fold"][seen] == result.fold
        fold_rates = _rates(part.take(own), chance[own], called[own])
        agree = (result.logits >= 0) == (result.keras_logits >= 0)
        fold_rates["int8_and_float_same_sign"] = float(agree.mean())
        if exclude_suspect:
            clean = own & sound
            fold_rates["without_suspect_labels"] = _rates(
                part.take(clean), chance[clean], called[clean]
            )
        summary["per_fold"].append({"fold": result.fold, **fold_rates})
    summary["mean_sd"] = mean_sd(summary["per_fold"])
    if exclude_suspect:
        summary["mean_sd_without_suspect_labels"] = mean_sd(
            [entry["without_suspect_labels"] for entry in summary["per_fold"]]
        )
    summary["float_network"] = _float_rates(results, cells)
    summary["errors"] = _errors(part, chance, called)
    summary["healthy_patients_at_screening"] = _healthy(part, chance)
    return summary


def _float_rates(results: Sequence[FoldResult], cells: CellSet) -> dict[str, Any]:
    held_out = np.concatenate([result.held_out for result in results])
    chance = np.concatenate([probability(r.keras_logits, r.temperature, r.bias) for r in results])
    labels = cells.labels[held_out]
    return {
        "auc": auc(labels, chance),
        "accuracy_at_p_0.5": float(np.mean((chance >= 0.5) == (labels == 1))),
    }


def _errors(
    cells: CellSet, chance: NDArray[np.float64], called: NDArray[np.bool_]
) -> dict[str, Any]:
    """What the errors are: how many are suspect labels, how many are confident contradictions."""
    wrong = called != (cells.labels == 1)
    sure = wrong & ((chance > 0.95) | (chance < 0.05))
    count = max(1, int(wrong.sum()))
    return {
        "n": int(wrong.sum()),
        "share_with_suspect_label": float((wrong & cells.suspect).sum() / count),
        "share_contradicted_with_p_above_0.95": float(sure.sum() / count),
        "accuracy_if_suspect_errors_were_label_errors": float(
            1.0 - (wrong & ~cells.suspect).mean()
        ),
    }


def _healthy(cells: CellSet, chance: NDArray[np.float64]) -> dict[str, Any]:
    crossed = CrossFitted(chance, cells.labels, cells.patients)
    if not crossed.healthy.any():
        return {"cells": 0}
    counts = cross_fitted_counts(crossed)
    counted, found = counts["false_positives"], counts["sensitivity"]
    positives, total = sum(row[1] for row in counted), sum(row[2] for row in counted)
    rates = [row[1] / row[2] for row in counted]
    interval = clopper_pearson_interval(positives, total)
    return {
        "patients": len(counted),
        "cells": total,
        "false_positives": positives,
        "rate": positives / total,
        "ci95": list(interval) if interval else None,
        "sensitivity_there": sum(row[1] for row in found) / max(1, sum(row[2] for row in found)),
        "patients_with_any": sum(rate > 0 for rate in rates),
        "highest_patient_rate": max(rates),
        "standard_deviation_between_patients": float(np.std(rates)),
        "per_patient": [list(row) for row in counted],
    }
