"""An engine over a data set: rates, intervals, per patient. No TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.data.dataset import Dataset, Row
from edge_malaria.data.stains import SlideTables, as_it_is
from edge_malaria.metrics import (
    auc,
    bootstrap_auc,
    bootstrap_rates,
    clopper_pearson_interval,
    confusion,
)
from edge_malaria.prepare.contract import Target
from edge_malaria.prepare.isolate import isolate_central_cell
from edge_malaria.prepare.preprocess import network_input
from edge_malaria.records import Image, Mask, Prediction
from edge_malaria.runtime.classify.classifier import Classifier

_READ_AT_ONCE = 512
MASK_MODES = ("none", "auto")
BOOTSTRAP_SEED = 2026


@dataclass(frozen=True, eq=False)
class Evaluated:
    """A classifier's answers over a data set.

    Attributes:
        rows: the cells, in order.
        predictions: one each.
        warnings: what a reader must know.
    """

    rows: tuple[Row, ...]
    predictions: tuple[Prediction, ...]
    warnings: tuple[str, ...] = ()

    @property
    def truth(self) -> NDArray[np.bool_]:
        """bool [N], parasitized."""
        return np.array([row.label == 1 for row in self.rows])

    @property
    def positive(self) -> NDArray[np.bool_]:
        """bool [N], probability at or above the threshold, abstentions included."""
        return np.array([p.positive for p in self.predictions])

    @property
    def scores(self) -> NDArray[np.float64]:
        """float64 [N], probability of parasitized."""
        return np.array([p.p_parasitized for p in self.predictions])


def isolated(crop: Image, mask: str = "none") -> tuple[Image, Mask | None]:
    """A crop and its mask: the central cell where ``mask`` is auto, else as it is."""
    return isolate_central_cell(crop) if mask == "auto" else (crop, None)


def prepared(crop: Image, size_px: Target, mask: str = "none", table: Image | None = None) -> Image:
    """One crop -> network input uint8 [S, S, 3], isolated first where ``mask`` is auto.

    ``table``: the slide's colour scaling, uint8 [256, 3]; None for none.
    """
    crop, found = isolated(crop, mask)
    return network_input(crop, size_px, found, table)


def input_batches(
    dataset: Dataset, size_px: Target, mask: str = "none"
) -> Iterator[tuple[tuple[Row, ...], Image]]:
    """Yields (rows, uint8 [n, S, S, 3]) over the data set; memory stays flat.

    Where the model scales colours, each slide that the rows name is scaled by itself.
    """
    tables = slide_tables(dataset, size_px, mask)
    for start in range(0, len(dataset.rows), _READ_AT_ONCE):
        rows = dataset.rows[start : start + _READ_AT_ONCE]
        yield rows, np.stack([tables.input(row) for row in rows])


def slide_tables(dataset: Dataset, target: Target, mask: str = "none") -> SlideTables:
    """How the rows of ``dataset`` become inputs: isolated where ``mask`` is auto, then scaled."""
    return SlideTables(dataset, target, isolate_central_cell if mask == "auto" else as_it_is)


def run(
    classifier: Classifier,
    dataset: Dataset,
    mask: str = "none",
    step: Callable[[int], object] = lambda done: None,
) -> Evaluated:
    """Classifies every cell of ``dataset``.

    Args:
        classifier: of a bundle or a model's file.
        dataset: labelled cells.
        mask: ``none``, or ``auto`` to isolate the central cell of each crop first.
        step: called with the number of cells done since the last call.
    """
    predictions: list[Prediction] = []
    for rows, batch in input_batches(dataset, classifier.target, mask):
        predictions += classifier.predict_inputs(batch)
        step(len(rows))
    warnings = list(dataset.warnings)
    if unknown := slide_tables(dataset, classifier.target, mask).warning:
        warnings.append(unknown)
    if not dataset.has_patients:
        warnings.append("patients are unknown: intervals treat cells as independent, too narrow.")
    return Evaluated(dataset.rows, tuple(predictions), tuple(warnings))


def measures(evaluated: Evaluated) -> dict[str, Any]:
    """n, rates, AUC, their 95 % intervals and the confusion table; null where undefined.

    Intervals redraw whole patients (percentile bootstrap, 2,000 redraws); where patients are
    unknown they are Clopper-Pearson over cells, and null for F1, MCC and AUC.
    """
    truth, positive, scores = evaluated.truth, evaluated.positive, evaluated.scores
    table = confusion(truth, positive)
    groups = [row.patient_id for row in evaluated.rows]
    intervals: dict[str, tuple[float, float] | None]
    if all(groups) and len(set(groups)) > 1:
        intervals = {**bootstrap_rates(truth, positive, groups, seed=BOOTSTRAP_SEED)}
        intervals["auc"] = bootstrap_auc(truth, scores, groups, seed=BOOTSTRAP_SEED)
    else:
        intervals = {
            "accuracy": clopper_pearson_interval(table.tp + table.tn, table.n),
            "sensitivity": clopper_pearson_interval(table.tp, table.tp + table.fn),
            "specificity": clopper_pearson_interval(table.tn, table.tn + table.fp),
            "precision": clopper_pearson_interval(table.tp, table.tp + table.fp),
            "f1": None,
            "mcc": None,
            "auc": None,
        }
    return {
        "n": table.n,
        **table.rates(),
        "auc": auc(truth, scores),
        "ci95": {name: None if ci is None else list(ci) for name, ci in intervals.items()},
        "confusion": table.as_json(),
    }


def per_patient(evaluated: Evaluated) -> list[dict[str, Any]] | None:
    """Counts and rates of each patient, sorted; None where any patient is unknown."""
    ids = [row.patient_id for row in evaluated.rows]
    if not all(ids):
        return None
    names = np.array(ids, dtype=object)
    truth, positive = evaluated.truth, evaluated.positive
    report = []
    for name in sorted(set(map(str, ids))):
        mine = names == name
        table = confusion(truth[mine], positive[mine])
        report.append({"patient_id": name, "n": table.n, **table.as_json(), **table.rates()})
    return report


def report(evaluated: Evaluated, classifier: Classifier) -> dict[str, Any]:
    """The contract's ``evaluate --json`` document (without ``schema_version``).

    Beside the headline, which counts every cell, ``without_suspect_labels`` gives the same
    measures without cells on the list of suspect labels, where there are any.
    """
    document: dict[str, Any] = {
        **measures(evaluated),
        "threshold": classifier.threshold,
        "engine": classifier.engine.name,
        "variant": classifier.variant,
        "operating_point": classifier.operating_point,
        "abstained": sum(p.label == "unsure" for p in evaluated.predictions),
        "per_patient": per_patient(evaluated),
        "warnings": list(evaluated.warnings),
    }
    if any(row.suspect for row in evaluated.rows):
        document["without_suspect_labels"] = measures(without_suspect(evaluated))
    return document


def without_suspect(evaluated: Evaluated) -> Evaluated:
    """The same answers without the cells of suspect labels."""
    kept: Sequence[int] = [i for i, row in enumerate(evaluated.rows) if not row.suspect]
    return Evaluated(
        tuple(evaluated.rows[i] for i in kept),
        tuple(evaluated.predictions[i] for i in kept),
        evaluated.warnings,
    )
