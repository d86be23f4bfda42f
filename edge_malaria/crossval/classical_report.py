"""Figures of a classical method: pooled, by pass, raw labels first, and its ROC curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.crossval.report import BOOTSTRAP_SEED, pooled
from edge_malaria.crossval.results import FoldResult
from edge_malaria.metrics import auc, bootstrap_auc, bootstrap_rates, confusion
from edge_malaria.training.classifier.cells import CellSet

MEASURES = ("accuracy", "sensitivity", "specificity", "precision", "f1", "mcc", "auc")
ROC_POINTS = 400


def figures(
    cells: CellSet, chance: NDArray[np.float64], called: NDArray[np.bool_]
) -> dict[str, Any]:
    """n, ``MEASURES`` (null where undefined) and the confusion table of some cells."""
    table = confusion(cells.labels, called)
    return {
        "n": table.n,
        **table.rates(),
        "auc": auc(cells.labels, chance),
        "confusion": table.as_json(),
    }


def summarize(results: Sequence[FoldResult], cells: CellSet) -> dict[str, Any]:
    """All figures of a run as one JSON object.

    Args:
        results: the passes.
        cells: the whole data set.

    Returns:
        ``raw_labels`` (with patient-bootstrap intervals), ``without_suspect_labels``, ``per_fold``,
        and ``mean`` and ``sd`` over the folds (null for a single pass).
    """
    table = pooled(results, cells)
    seen = table["seen"]
    part = cells.take(seen)
    chance, called, fold = (table[name][seen] for name in ("chance", "called", "fold"))
    sound = ~part.suspect
    raw = figures(part, chance, called)
    intervals: dict[str, Any] = {
        **bootstrap_rates(part.labels, called, part.patients, seed=BOOTSTRAP_SEED),
        "auc": bootstrap_auc(part.labels, chance, part.patients, seed=BOOTSTRAP_SEED),
    }
    raw["ci95_by_patient"] = {k: None if v is None else list(v) for k, v in intervals.items()}
    per_fold = []
    for result in results:
        own = fold == result.fold
        per_fold.append({"fold": result.fold, **figures(part.take(own), chance[own], called[own])})
    return {
        "raw_labels": raw,
        "without_suspect_labels": figures(part.take(sound), chance[sound], called[sound]),
        "per_fold": per_fold if len(results) > 1 else [],
        "mean": _over_folds(per_fold, np.mean),
        "sd": _over_folds(per_fold, lambda values: np.std(values, ddof=1)),
    }


def _over_folds(per_fold: Sequence[dict[str, Any]], statistic: Any) -> dict[str, float] | None:
    if len(per_fold) < 2:
        return None
    found = {}
    for name in MEASURES:
        values = [entry[name] for entry in per_fold if entry[name] is not None]
        if len(values) > 1:
            found[name] = float(statistic(values))
    return found


def roc(results: Sequence[FoldResult], cells: CellSet) -> dict[str, list[float]]:
    """The pooled ROC curve, thinned to ``ROC_POINTS``: false and true positive rates, thresholds.

    From (0, 0) to (1, 1); a threshold t calls every cell of chance >= t.
    """
    table = pooled(results, cells)
    chance = table["chance"][table["seen"]]
    truth = cells.labels[table["seen"]] == 1
    order = np.argsort(-chance, kind="stable")
    last = np.append(np.flatnonzero(np.diff(chance[order])), len(order) - 1)
    hits, alarms = np.cumsum(truth[order])[last], np.cumsum(~truth[order])[last]
    if len(last) > ROC_POINTS:
        kept = np.unique(np.linspace(0, len(last) - 1, ROC_POINTS).astype(np.int64))
        last, hits, alarms = last[kept], hits[kept], alarms[kept]
    return {
        "false_positive_rate": [0.0, *(alarms / max(1, int((~truth).sum()))).tolist()],
        "sensitivity": [0.0, *(hits / max(1, int(truth.sum()))).tolist()],
        "threshold": [1.0, *chance[order][last].tolist()],
    }
