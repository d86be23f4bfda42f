"""The suite: names, shapes, types, weights, values, decisions, in this order.

Each is a module of its own whose functions return what they found. In a report a failure names its
stage: ``signature`` (names to weights: what stands in the files), ``goldens`` (stored outputs),
``tensors`` (the engines against each other on the same tensors, with batches of one, odd and large,
one and two threads), ``files`` (from encoded pictures, decoding and preprocessing included),
``statistics`` (calls at the deployed threshold on labelled cells).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge_malaria.bundle.contents import SECOND
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.golden import read_goldens
from edge_malaria.bundle.spec import Bundle, ModelSpec
from edge_malaria.data.dataset import Dataset
from edge_malaria.parity import judges
from edge_malaria.parity.decisions import (
    check_decisions,
    check_thresholds,
    labelled_cells,
    reference_of,
)
from edge_malaria.parity.dtypes import check_dtypes
from edge_malaria.parity.exact import Twins
from edge_malaria.parity.finder_stage import check_finder
from edge_malaria.parity.findings import REFERENCE, Failure, Findings, Pair, Settings
from edge_malaria.parity.memory import Memory
from edge_malaria.parity.names import check_names
from edge_malaria.parity.numeric import Cells, Outputs
from edge_malaria.parity.opened import Subject, chosen_engines, open_files
from edge_malaria.parity.report import ParityReport
from edge_malaria.parity.shapes import check_shapes
from edge_malaria.parity.values import check_values
from edge_malaria.parity.weights import check_weights
from edge_malaria.runtime.engines.base import Engine
from edge_malaria.runtime.engines.opening import open_engine


@dataclass(frozen=True, eq=False)
class Beside:
    """What a caller has of a bundle's second network.

    Attributes:
        reference: a live Keras engine.
        extra: further candidates, under the names of the first network's.
        twins: of these.
        left_out: what the caller could not run, and why.
        prove: whether it passes its gate now; False where it just did.
    """

    reference: Engine | None = None
    extra: Mapping[str, Engine] = field(default_factory=dict)
    twins: Twins = field(default_factory=dict)
    left_out: Sequence[str] = ()
    prove: bool = True


def gate(
    bundle: Path | Bundle,
    *,
    dataset: Dataset | None = None,
    split: str = "val",
    reference: Engine | None = None,
    engines: Sequence[str] | None = None,
    extra: Mapping[str, Engine] | None = None,
    settings: Settings | None = None,
    finder: bool = True,
    twins: Twins | None = None,
    left_out: Sequence[str] = (),
    memory: Memory | None = None,
    second: Beside | None = None,
) -> ParityReport:
    """Proves, or refuses, that the files of a bundle are the model they were made from.

    Args:
        bundle: directory or zip, read and verified here; the very files that ship.
        dataset: labelled cells; None compares on the stored drawn cells alone.
        split: of the data set: train, val, test or all.
        reference: a live Keras engine; None takes Keras's outputs stored in the bundle, and for
            a data set the bundle's float32 file, itself proven against them.
        engines: names of engines that must run, and the only ones the report speaks of; None
            takes what is installed and lists the rest under ``not_run``.
        extra: further candidates, ``name.variant`` -> engine: a C runtime, for example.
        settings: limits, margin, operating point.
        finder: compare the bundle's cell finder too, where it has one.
        twins: of the extra candidates: whose bits each must give.
        left_out: what the caller could not run, and why; listed under ``not_run``.
        memory: of a gate that runs again in one process: files that stayed the same, by their
            SHA-256, are not asked again, and labelled cells are not read again.
        second: what the caller has of the bundle's second network; None where nothing. The
            network passes a gate of its own, whose findings bear the name ``second/``.

    Raises:
        MissingExtra: a named engine is not installed.
        UsageError: a named engine is unknown, or no such operating point.
        BundleError: the bundle or its goldens cannot be read.
        DatasetError, ImageError: the data set cannot be read.
    """
    started = time.monotonic()
    opened = bundle if isinstance(bundle, Bundle) else read_bundle(bundle)
    stored = read_goldens(opened.contents)
    chosen, name_all = chosen_engines(engines), engines is None
    files, told = open_files(opened, opened.classifier, chosen, name_all=name_all, memory=memory)
    decides, beside = settings or Settings(), second or Beside()
    subject = Subject(opened, stored, decides, files, extra or {}, twins or {}, reference)
    if opened.second is not None:
        subject = replace(subject, second=_seconds(opened.second, subject, beside))

    found = Findings(not_run=tuple(left_out)) + told
    found += check_names(subject)
    found += check_shapes(subject)
    found += check_dtypes(subject)
    found += check_weights(subject)
    found += check_thresholds(subject)
    cells = None if dataset is None else _labelled(subject, dataset, split, memory)
    answers: Outputs | None = None
    if cells is not None and judges.is_foreign(subject):
        answers = reference_of(subject, cells.inputs)
    labelled = judges.labelled_decide(subject, cells, answers)
    drawn, of_values = check_values(subject, decide=not labelled)
    found += of_values
    if finder:
        found += check_finder(opened, chosen, name_all=name_all)
    if opened.second is not None and beside.prove:
        of_second = gate(
            opened.second,
            dataset=dataset,
            split=split,
            reference=beside.reference,
            engines=engines,
            extra=beside.extra,
            settings=settings,
            twins=beside.twins,
            left_out=beside.left_out,
            memory=memory,
        )
        found += of_second.findings_as(SECOND)
    # A large network takes minutes to answer; a file is asked again, because only one that passed
    # until here may be the reference.
    keras = answers if subject.live is not None else None
    found += check_decisions(subject, drawn, cells, keras=keras, labelled_decide=labelled)
    return ParityReport(
        bundle=opened.name,
        evidence=split if dataset is not None else "drawn",
        cells=found.cells,
        not_run=found.not_run,
        pairs=tuple(_explained(pair, drawn.causes) for pair in found.pairs),
        failures=_because(found.failures, drawn.causes),
        size_bytes=_sizes(opened.classifier),
        settings=decides,
        elapsed_s=time.monotonic() - started,
        finder=found.finder,
        drawn_decide=not labelled,
        temperature=found.temperature,
    )


def _seconds(second: Bundle, subject: Subject, beside: Beside) -> dict[str, Engine]:
    """The second network beside each candidate, and beside Keras."""
    found: dict[str, Engine] = dict(beside.extra)
    for name, file in subject.files.items():
        spec = subject.bundle.second_file(file.variant, file.spec.engine)
        if spec is not None:
            found[name] = open_engine(second.read(spec.file), spec.engine)
    if beside.reference is not None:
        found[REFERENCE] = beside.reference
    return found


def _labelled(subject: Subject, dataset: Dataset, split: str, memory: Memory | None) -> Cells:
    known = {} if memory is None else memory.cells
    if split not in known:
        known[split] = labelled_cells(subject, dataset, split)
    return known[split]


def _because(failures: Sequence[Failure], causes: Mapping[str, str]) -> tuple[Failure, ...]:
    return tuple(failure.because(causes.get(failure.subject, "")) for failure in failures)


def _explained(pair: Pair, causes: Mapping[str, str]) -> Pair:
    """The pair, its failures explained by what its candidate did wrong on the golden cells."""
    cause = causes.get(pair.candidate, "")
    return replace(pair, failures=tuple(failure.because(cause) for failure in pair.failures))


def _sizes(model: ModelSpec) -> dict[str, int]:
    """Variant -> bytes of its TFLite file, else of its ONNX file."""
    return {
        variant: (by_engine.get("litert") or next(iter(by_engine.values()))).bytes
        for variant, by_engine in model.variants.items()
    }
