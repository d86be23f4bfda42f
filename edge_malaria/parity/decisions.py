"""Decisions: the deployed thresholds, and the calls on labelled cells."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edge_malaria.data.dataset import Dataset
from edge_malaria.data.stains import SlideTables
from edge_malaria.parity.findings import REFERENCE, Failure, Findings, signature_failure
from edge_malaria.parity.judges import compared_as_sure, near_failures
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
    subject: Subject,
    drawn: Drawn,
    cells: Cells | None,
    *,
    keras: Outputs | None = None,
    labelled_decide: bool = False,
) -> Findings:
    """Labelled cells at the deployed threshold; see ``judges`` for ``labelled_decide``.

    ``keras``: what Keras said of these cells, where it was asked already.
    """
    if cells is None:
        told = ["statistics on labelled cells: no data set was given (--data DATASET)"]
        if labelled_decide:
            told.append(
                "calls on drawn cells: they decide nothing about this network of somebody else; "
                "labelled cells did when it was exported"
            )
        return Findings(not_run=tuple(told))
    unknown = "intervals over patients: patients are unknown, so cells count as independent"
    found = Findings(
        cells={cells.evidence: len(cells.inputs)},
        not_run=(unknown,) if cells.patients is None else (),
    )
    outputs = {
        name: run_outputs(engine, cells.inputs, name, subject.decision, subject.second_of(name))
        for name, engine in subject.candidates.items()
        if name in drawn.outputs
    }
    reference = keras or reference_of(subject, cells.inputs, outputs)
    if reference is None:
        what, want = "a reference for the data set", "Keras, or a float32 file that runs here"
        cause = "give the model with --reference MODEL.keras"
        failure = Failure("statistics", "bundle.json", what, "none", want, "", cause)
        return found + Findings(failures=(failure,))
    if labelled_decide:
        found += Findings(failures=near_failures(subject, cells, reference, outputs))
        cells = compared_as_sure(subject, cells, reference)
        found += Findings(temperature=cells.temperature)
    return found + Findings(pairs=compare_all(subject, reference, outputs, cells))


def labelled_cells(subject: Subject, dataset: Dataset, split: str) -> Cells:
    """The cells of a split, read from their files and prepared."""
    chosen = dataset.select(split)
    tables = SlideTables(chosen, subject.spec.target)
    return Cells(
        split,
        np.stack([tables.input(row) for row in chosen.rows]),
        truth=np.array([row.label == 1 for row in chosen.rows]),
        patients=np.array([row.patient_id for row in chosen.rows]) if chosen.has_patients else None,
        names=[row.file for row in chosen.rows],
    )


def reference_of(
    subject: Subject, inputs: Image, found: Mapping[str, Outputs] | None = None
) -> Outputs | None:
    """Keras where the caller has it, else the float32 file, proven on the stored cells.

    Args:
        subject: the bundle.
        inputs: uint8 [N, S, S, 3].
        found: what files gave already; None runs the float32 file.
    """
    if subject.live is not None:
        second = subject.second_of(REFERENCE)
        return run_outputs(subject.live, inputs, REFERENCE, subject.decision, second)
    names = [name for name in subject.candidates if name.endswith(".float32")]
    if found is not None:
        return next((found[name] for name in names if name in found), None)
    first = next(iter(names), None)
    engine = None if first is None else subject.candidates[first]
    if first is None or engine is None:
        return None
    return run_outputs(engine, inputs, first, subject.decision, subject.second_of(first))
