"""Values: what every file gives on the stored cells, in other batches, and from encoded crops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edge_malaria.errors import BundleIntegrityError
from edge_malaria.parity import exact, goldens
from edge_malaria.parity.causes import output_cause
from edge_malaria.parity.findings import REFERENCE, Failure, Findings
from edge_malaria.parity.numeric import Cells, Outputs
from edge_malaria.parity.opened import Subject
from edge_malaria.parity.pairs import compare_all, run_outputs


@dataclass(frozen=True, eq=False)
class Drawn:
    """What the candidates gave on the golden cells.

    Attributes:
        outputs: of each candidate that ran.
        causes: why those outputs are not Keras's, where it can be told; else empty.
    """

    outputs: Mapping[str, Outputs]
    causes: Mapping[str, str]


def check_values(subject: Subject, *, decide: bool = True) -> tuple[Drawn, Findings]:
    """Stored outputs, then file against file, then from encoded pictures.

    ``decide``: whether calls and probabilities on drawn cells do; see ``judges``.
    """
    cells = subject.goldens.cells
    found = Findings(
        failures=tuple(
            goldens.check_cells(
                subject.goldens, subject.spec.size_px, subject.settings, decide=decide
            )
        ),
        cells={"drawn": len(cells.inputs)},
    )
    drawn, told = _against_stored(subject)
    found += told
    found += _against_each_other(subject, drawn, decide)
    found += _from_crops(subject, drawn, decide)
    return drawn, found


def _against_stored(subject: Subject) -> tuple[Drawn, Findings]:
    """Every file gives again what it gave where it was exported."""
    inputs, stored = subject.goldens.cells.inputs, subject.goldens
    outputs: dict[str, Outputs] = {}
    causes: dict[str, str] = {}
    failures: list[Failure] = []
    for name, engine in subject.candidates.items():
        try:
            second = subject.second_of(name)
            outputs[name] = run_outputs(engine, inputs, name, subject.decision, second)
        except (BundleIntegrityError, ValueError, RuntimeError) as error:
            got = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            failures.append(Failure("goldens", name, "running the golden cells", got, "an output"))
            continue
        causes[name] = output_cause(outputs[name], stored.keras)
        if name in subject.files:
            file = subject.files[name]
            failures += goldens.check_outputs(file, outputs[name], stored, subject.settings)
        failures += exact.stored_failures(outputs[name], subject.twins)
    failures += goldens.check_keras(stored, outputs, subject.settings)
    not_run = exact.not_compared(subject.twins, tuple(outputs))
    return Drawn(outputs, causes), Findings(failures=tuple(failures), not_run=tuple(not_run))


def _against_each_other(subject: Subject, drawn: Drawn, decide: bool) -> Findings:
    """On the same tensors: against Keras, engine against engine, other batches and threads."""
    golden, keras = subject.goldens.cells, subject.goldens.keras
    if len(keras.raw) != len(golden.inputs):
        return Findings()  # check_cells has said so
    failures: list[Failure] = []
    reference = _stored_keras(subject)
    if subject.live is None:
        failures += goldens.check_asked_again(subject.goldens, subject.decision)
    else:
        second = subject.second_of(REFERENCE)
        live = run_outputs(subject.live, golden.inputs, REFERENCE, subject.decision, second)
        failures += goldens.check_live(reference, live, subject.settings)
        reference = live
    cells = Cells("drawn", golden.inputs, near=golden.near, decide=decide)
    pairs = compare_all(subject, reference, drawn.outputs, cells)
    for name, outputs in drawn.outputs.items():
        if name in subject.files:
            failures += goldens.check_batches(
                subject.files[name], outputs, golden.inputs, subject.settings
            )
    return Findings(failures=tuple(failures), pairs=pairs)


def _stored_keras(subject: Subject) -> Outputs:
    """What Keras said of the golden cells, and of flagged ones where they are asked again."""
    keras, decision = subject.goldens.keras, subject.decision
    logits = keras.raw.astype(np.float32)
    again = keras.again
    # None, or those of other cells: ``goldens.check_asked_again`` refuses the bundle for it.
    if decision.asked_again_from is None or again is None or again.shape != logits.shape:
        return Outputs(REFERENCE, keras.raw, logits)
    settled = np.where(decision.asked_again(logits), again, logits)
    return Outputs(REFERENCE, keras.raw, logits, settled=settled)


def _from_crops(subject: Subject, drawn: Drawn, decide: bool) -> Findings:
    """From stored pictures, decoding and preprocessing included."""
    made, failures = goldens.check_inputs(subject.goldens, subject.spec.target)
    if made is None:
        return Findings(failures=tuple(failures))
    for name, engine in subject.candidates.items():
        if name in drawn.outputs and decide:
            failures += goldens.check_crop_outputs(
                run_outputs(engine, made, name),
                subject.goldens,
                subject.decision,
                subject.settings,
            )
    return Findings(failures=tuple(failures), cells={"crops": len(made)})
