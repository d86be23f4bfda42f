"""The suite: runs every stage over a bundle and collects what did not hold.

Stages, in order: ``signature`` (names, shapes, dtypes, scale, zero point, weights), ``goldens``
(stored outputs), ``tensors`` (the engines against each other on the same tensors, with batches of
one, odd and large, one and two threads), ``files`` (from encoded pictures, decoding and
preprocessing included), ``statistics`` (calls at the deployed threshold on labelled cells).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edge_malaria.bundle.format import Bundle, read_bundle
from edge_malaria.bundle.golden import Goldens, read_goldens
from edge_malaria.data.dataset import Dataset
from edge_malaria.data.stains import SlideTables
from edge_malaria.errors import BundleIntegrityError
from edge_malaria.parity import exact, signature, stored
from edge_malaria.parity.candidates import chosen_engines, run_outputs
from edge_malaria.parity.causes import output_cause
from edge_malaria.parity.essentials import essentials_failures, read_essentials
from edge_malaria.parity.exact import Twins
from edge_malaria.parity.finder_stage import FinderFindings, check_finder
from edge_malaria.parity.findings import REFERENCE, Failure, Pair, ParityReport, Settings
from edge_malaria.parity.numeric import Cells, Outputs, compare_outputs
from edge_malaria.parity.points import other_points, with_points
from edge_malaria.parity.signature import OpenedFile
from edge_malaria.records import Image
from edge_malaria.runtime.classify.classifier import Decision
from edge_malaria.runtime.engines.base import Engine
from edge_malaria.runtime.engines.opening import open_engine


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

    Raises:
        MissingExtra: a named engine is not installed.
        UsageError: a named engine is unknown, or no such operating point.
        BundleError: the bundle or its goldens cannot be read.
        DatasetError, ImageError: the data set cannot be read.
    """
    started = time.monotonic()
    opened = bundle if isinstance(bundle, Bundle) else read_bundle(bundle)
    run = _Run(opened, reference, settings or Settings())
    run.not_run += left_out
    chosen = chosen_engines(engines)
    run.speak_of_all = engines is None
    run.open_files(chosen, extra or {}, twins or {})
    run.check_signatures()
    run.check_goldens()
    run.compare_drawn()
    run.check_encoded()
    if finder:
        run.check_finder(chosen)
    if dataset is None:
        run.not_run.append("statistics on labelled cells: no data set was given (--data DATASET)")
    else:
        run.compare_dataset(dataset, split)
    return run.report(split if dataset is not None else "drawn", time.monotonic() - started)


class _Run:
    """One pass over one bundle."""

    def __init__(self, bundle: Bundle, reference: Engine | None, settings: Settings) -> None:
        self.bundle, self.live, self.settings = bundle, reference, settings
        self.spec = bundle.classifier
        threshold = self.spec.threshold(settings.operating_point)
        self.decision = Decision(self.spec, threshold)
        self.points = other_points(self.spec, self.settings)
        self.goldens: Goldens = read_goldens(bundle.contents)
        self.files: dict[str, OpenedFile] = {}
        self.extra: Mapping[str, Engine] = {}
        self.twins: Twins = {}
        self.drawn: dict[str, Outputs] = {}
        self.causes: dict[str, str] = {}
        self.pairs: list[Pair] = []
        self.failures: list[Failure] = []
        self.not_run: list[str] = []
        self.cells: dict[str, int] = {}
        self.finder = FinderFindings()
        self.speak_of_all = True

    def open_files(self, engines: Sequence[str], extra: Mapping[str, Engine], twins: Twins) -> None:
        """Opens every file that one of ``engines`` runs.

        The rest is named as not run, unless the caller has chosen the engines.
        """
        self.extra, self.twins = extra, twins
        for variant, by_engine in self.spec.variants.items():
            for engine, spec in by_engine.items():
                name = f"{engine}.{variant}"
                if engine not in engines:
                    if self.speak_of_all:
                        self.not_run.append(f"{name}: the engine {engine} is not installed")
                    continue
                try:
                    data = self.bundle.read(spec.file)
                    tensors, kind = signature.read_file(data, engine, spec.file)
                    told = read_essentials(data, engine, spec.file)
                    runner = open_engine(data, engine)
                except BundleIntegrityError as error:
                    self.failures.append(signature.damaged(name, error))
                    continue
                self.files[name] = OpenedFile(name, variant, spec, runner, tensors, kind)
                self.failures += essentials_failures(name, variant, told, self.spec)

    def check_finder(self, engines: Sequence[str]) -> None:
        """The finder's files, against Keras's boxes and each other."""
        self.finder = check_finder(self.bundle, engines, speak_of_all=self.speak_of_all)
        self.failures += self.finder.failures
        self.not_run += self.finder.not_run

    def check_signatures(self) -> None:
        """Stage one."""
        for file in self.files.values():
            self.failures += signature.recorded_failures(file)
            self.failures += signature.check_contract(file, self.spec.size_px)
            self.failures += signature.check_weights(file)
        self.failures += signature.check_weight_counts(self.files)
        self.failures += signature.check_same_scales(self.files)
        outputs = {name: engine.output for name, engine in self._candidates().items()}
        self.failures += exact.scale_failures(outputs, self.twins)
        self.failures += signature.check_decision(self.bundle, self.goldens, self.settings)
        self.failures += stored.check_cells(self.goldens, self.spec.size_px, self.settings)

    def _can_run(self, name: str, engine: Engine) -> bool:
        size = self.goldens.cells.inputs.shape[1:]
        return engine.input.shape == size or name in self.extra

    def check_goldens(self) -> None:
        """Stage two: every file gives again what it gave where it was exported."""
        inputs = self.goldens.cells.inputs
        for name, engine in self._candidates().items():
            try:
                self.drawn[name] = run_outputs(engine, inputs, name)
            except (BundleIntegrityError, ValueError, RuntimeError) as error:
                got = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
                failure = Failure("goldens", name, "running the golden cells", got, "an output")
                self.failures.append(failure)
                continue
            self.causes[name] = output_cause(self.drawn[name], self.goldens.keras)
            if name in self.files:
                self.failures += stored.check_outputs(
                    self.files[name], self.drawn[name], self.goldens, self.settings
                )
            self.failures += exact.stored_failures(self.drawn[name], self.twins)
        self.failures += stored.check_keras(self.goldens, self.drawn, self.settings)
        self.not_run += exact.not_compared(self.twins, tuple(self.drawn))

    def _candidates(self) -> dict[str, Engine]:
        files = {name: file.engine for name, file in self.files.items()}
        return {name: e for name, e in {**files, **self.extra}.items() if self._can_run(name, e)}

    def compare_drawn(self) -> None:
        """Stage three: on the same tensors, and with other batches and threads."""
        golden = self.goldens.cells
        cells = Cells("drawn", golden.inputs, near=golden.near)
        self.cells["drawn"] = len(golden.inputs)
        keras = self.goldens.keras
        if len(keras.raw) != len(golden.inputs):
            return  # check_keras has said so
        reference = Outputs(REFERENCE, keras.raw, keras.raw.astype(np.float32))
        if self.live is not None:
            live = run_outputs(self.live, golden.inputs, REFERENCE)
            self.failures += stored.check_live(reference, live, self.settings)
            reference = live
        self._compare(reference, self.drawn, cells)
        for name in self.drawn:
            if name in self.files:
                self.failures += stored.check_batches(
                    self.files[name], self.bundle, self.drawn[name], golden.inputs, self.settings
                )

    def _compare(self, reference: Outputs, found: Mapping[str, Outputs], cells: Cells) -> None:
        """The reference against every candidate, and the same variant between engines."""
        for name, outputs in found.items():
            if name == reference.name:
                continue
            self.pairs.append(self._explained(self._pair(reference, outputs, cells)))
        names = [name for name in found if name != reference.name]
        for index, first in enumerate(names):
            for second in names[index + 1 :]:
                if found[first].variant == found[second].variant:
                    pair = self._pair(found[first], found[second], cells)
                    pair = exact.with_bits(pair, found[first], found[second], self.twins)
                    self.pairs.append(self._explained(pair))

    def _pair(self, reference: Outputs, candidate: Outputs, cells: Cells) -> Pair:
        """The comparison at the chosen operating point, and the calls at the others."""
        pair = compare_outputs(reference, candidate, cells, self.decision, self.settings)
        return with_points(pair, reference, candidate, cells, self.points, self.settings)

    def _explained(self, pair: Pair) -> Pair:
        cause = self.causes.get(pair.candidate, "")
        return replace(pair, failures=tuple(failure.because(cause) for failure in pair.failures))

    def check_encoded(self) -> None:
        """Stage four: from stored pictures, decoding and preprocessing included."""
        made, failures = stored.check_inputs(self.goldens, self.spec.target)
        self.failures += failures
        if made is None:
            return
        self.cells["crops"] = len(made)
        for name, engine in self._candidates().items():
            if name in self.drawn:
                outputs = run_outputs(engine, made, name)
                self.failures += stored.check_crop_outputs(
                    outputs, self.goldens, self.decision, self.settings
                )

    def compare_dataset(self, dataset: Dataset, split: str) -> None:
        """Stage five: labelled cells, read from their files, at the deployed threshold."""
        chosen = dataset.select(split)
        tables = SlideTables(chosen, self.spec.target)
        inputs = np.stack([tables.input(row) for row in chosen.rows])
        known = chosen.has_patients
        if not known:
            self.not_run.append(
                "intervals over patients: patients are unknown, so cells count as independent"
            )
        cells = Cells(
            split,
            inputs,
            truth=np.array([row.label == 1 for row in chosen.rows]),
            patients=np.array([row.patient_id for row in chosen.rows]) if known else None,
            names=[row.file for row in chosen.rows],
        )
        self.cells[split] = len(inputs)
        found = {
            name: run_outputs(engine, inputs, name)
            for name, engine in self._candidates().items()
            if name in self.drawn
        }
        reference = self._dataset_reference(inputs, found)
        if reference is None:
            what = "a reference for the data set"
            cause = "give the model with --reference MODEL.keras"
            want = "Keras, or a float32 file that runs here"
            failure = Failure("statistics", "bundle.json", what, "none", want, "", cause)
            self.failures.append(failure)
            return
        self._compare(reference, found, cells)

    def _dataset_reference(self, inputs: Image, found: Mapping[str, Outputs]) -> Outputs | None:
        if self.live is not None:
            return run_outputs(self.live, inputs, REFERENCE)
        return next((found[name] for name in found if name.endswith(".float32")), None)

    def report(self, evidence: str, elapsed_s: float) -> ParityReport:
        """What was found."""
        sizes: dict[str, Any] = {}
        for variant, by_engine in self.spec.variants.items():
            spec = by_engine.get("litert") or next(iter(by_engine.values()))
            sizes[variant] = spec.bytes
        return ParityReport(
            bundle=self.bundle.name,
            evidence=evidence,
            cells=self.cells,
            not_run=tuple(self.not_run),
            pairs=tuple(self.pairs),
            failures=tuple(f.because(self.causes.get(f.subject, "")) for f in self.failures),
            size_bytes=sizes,
            settings=self.settings,
            elapsed_s=elapsed_s,
            finder=tuple(self.finder.pairs),
        )
