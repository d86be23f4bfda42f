"""Decisions: the deployed thresholds, and the calls on labelled cells."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edge_malaria.data.dataset import Dataset
from edge_malaria.data.stains import SlideTables
from edge_malaria.parity.findings import REFERENCE, Failure, Findings, signature_failure
from edge_malaria.parity.numeric import Cells, Outputs
from edge_malaria.parity.opened import Subject
from edge_malaria.parity.pairs import compare_all, run_outputs
from edge_malaria.parity.values import Drawn
from edge_malaria.records import Image


def check_thresholds(subject: Subject) -> list[Failure]:
    """The balanced threshold of bundle.json is the one that the golden cells lie around."""
    at_stored = np.array([subject.goldens.cells.threshold_logit], np.float32)
    wanted = float(subject.decision.probabilities(at_stored)[0])
    got = subject.spec.threshold("balanced")
    if abs(got - wanted) <= 1e-3:
        return []
    return [
        signature_failure(
            "bundle.json",
            "threshold of balanced, as a probability",
            f"{got:.4f}",
            f"{wanted:.4f}, which the goldens were drawn for",
            "the threshold of another variant or model",
        )
    ]


def check_decisions(
    subject: Subject, drawn: Drawn, dataset: Dataset | None, split: str
) -> Findings:
    """Labelled cells, read from their files, at the deployed threshold."""
    if dataset is None:
        told = "statistics on labelled cells: no data set was given (--data DATASET)"
        return Findings(not_run=(told,))
    cells = _labelled(subject, dataset, split)
    unknown = "intervals over patients: patients are unknown, so cells count as independent"
    found = Findings(
        cells={split: len(cells.inputs)}, not_run=(unknown,) if cells.patients is None else ()
    )
    outputs = {
        name: run_outputs(engine, cells.inputs, name, subject.decision)
        for name, engine in subject.candidates.items()
        if name in drawn.outputs
    }
    reference = _reference(subject, cells.inputs, outputs)
    if reference is None:
        what, want = "a reference for the data set", "Keras, or a float32 file that runs here"
        cause = "give the model with --reference MODEL.keras"
        failure = Failure("statistics", "bundle.json", what, "none", want, "", cause)
        return found + Findings(failures=(failure,))
    return found + Findings(pairs=compare_all(subject, reference, outputs, cells))


def _labelled(subject: Subject, dataset: Dataset, split: str) -> Cells:
    chosen = dataset.select(split)
    tables = SlideTables(chosen, subject.spec.target)
    return Cells(
        split,
        np.stack([tables.input(row) for row in chosen.rows]),
        truth=np.array([row.label == 1 for row in chosen.rows]),
        patients=np.array([row.patient_id for row in chosen.rows]) if chosen.has_patients else None,
        names=[row.file for row in chosen.rows],
    )


def _reference(subject: Subject, inputs: Image, found: Mapping[str, Outputs]) -> Outputs | None:
    """Keras where the caller has it, else the float32 file, proven on the stored cells."""
    if subject.live is not None:
        return run_outputs(subject.live, inputs, REFERENCE, subject.decision)
    return next((found[name] for name in found if name.endswith(".float32")), None)
