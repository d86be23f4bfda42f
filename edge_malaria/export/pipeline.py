"""The export: Keras -> every variant and format -> goldens -> gate -> bundle.

This is the one place that knows training files, converters and the parity gate together. Steps,
in order, each with a line of progress:

    load model   one logit, S x S x 3, ranges for int8 in the file or calibration cells
    goldens      drawn cells and Keras's answers, before anything is converted
    convert      float32, float16, dynamic, int8 as asked; TFLite, then ONNX
    gate         parity on the very files that ship; int8 climbs the ladder where it fails
    bundle       written to a temporary directory, renamed when everything passed
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from converters import metadata, to_onnx, to_tflite
from converters.calibration import Calibration, choose_calibration
from converters.keras_engine import KerasEngine
from edge_malaria import __version__, golden, parity
from edge_malaria.bundle import ENGINE_FORMATS, FileSpec, read_bundle, sha256_hex, write_index
from edge_malaria.dataset import Dataset
from edge_malaria.errors import GateFailed, UsageError
from edge_malaria.export.source import Source, load_source
from edge_malaria.files import new_directory, write_bytes, write_json, write_text
from edge_malaria.export.card import bundle_readme
from edge_malaria.preprocess import contract
from edge_malaria.runtime.classify import Classifier
from edge_malaria.runtime.engines import ENGINES, installed_engines, open_engine

Log = Callable[[str], None]
GOLDEN_SEED = golden.DEFAULT_SEED


@dataclass(frozen=True)
class Options:
    """What to export.

    Attributes:
        variants: of ``float32 float16 dynamic int8``.
        formats: of ``tflite onnx``.
        force: replace an existing bundle.
        finder: include the cell finder where the model ships with one.
    """

    variants: tuple[str, ...] = ("float32", "int8")
    formats: tuple[str, ...] = ("tflite", "onnx")
    force: bool = False
    finder: bool = True

    def __post_init__(self) -> None:
        unknown = set(self.formats) - set(ENGINE_FORMATS.values())
        if unknown or not self.formats:
            raise UsageError(
                f"unknown format {', '.join(sorted(unknown)) or '(none)'}: expected tflite, onnx."
            )


@dataclass(frozen=True, eq=False)
class Exported:
    """What came out.

    Attributes:
        path: the bundle.
        report: the gate's report.
        files: every model file of the classifier, with its variant.
        evaluation: measures on the val split where data was given, else None.
        elapsed_s: wall time.
    """

    path: Path
    report: Any
    files: tuple[tuple[str, FileSpec], ...]
    evaluation: Mapping[str, Any] | None
    elapsed_s: float


@dataclass(eq=False)
class _Work:
    """A bundle in the making."""

    directory: Path
    source: Source
    options: Options
    log: Log
    calibration: Calibration | None
    files: dict[str, list[FileSpec]] = field(default_factory=dict)
    rung: str = ""


def export_bundle(
    model: str,
    out: Path,
    options: Options,
    dataset: Dataset | None = None,
    log: Log = lambda line: None,
) -> Exported:
    """Exports ``model`` (a .keras file or a shipped model's name) to the bundle ``out``.

    Raises:
        GateFailed: the gate refused; nothing is left at ``out``.
        OutputExists, ModelShapeError, UsageError, ModelFileError, DatasetError, MissingExtra,
        StorageError: see ``errors``.
    """
    started = time.monotonic()
    source = load_source(model)
    log(f"model     {source.name}: {source.weights} weights, {source.size_px} px, {source.ranges}")
    calibration = _calibration(source, options, dataset, log)
    with new_directory(out, force=options.force) as directory:
        work = _Work(directory, source, options, log, calibration)
        cells = _write_goldens(work)
        for variant in options.variants:
            _add_variant(work, cells, variant)
        if options.finder:
            _add_finder(work)
        evaluation = None
        _write_record(work, evaluation, dataset)
        report = _gate(work, cells, dataset)
        evaluation = _evaluate(directory, dataset, options, log)
        _write_record(work, evaluation, dataset, report)
        read_bundle(directory)
    files = tuple((variant, spec) for variant, specs in work.files.items() for spec in specs)
    return Exported(out, report, files, evaluation, time.monotonic() - started)


def _calibration(
    source: Source, options: Options, dataset: Dataset | None, log: Log
) -> Calibration | None:
    if "int8" not in options.variants or source.has_ranges:
        return None
    if dataset is None:
        raise UsageError(
            f"{source.name} carries no int8 ranges: give real cells with --data DATASET (its train "
            "split calibrates), or leave out --int8."
        )
    chosen = choose_calibration(dataset, source.size_px)
    log(f"calibrate {len(chosen.files)} cells of train patients")
    return chosen


def _write_goldens(work: _Work) -> golden.GoldenCells:
    source, started = work.source, time.monotonic()
    cells = golden.draw_golden_cells(
        source.logits, source.threshold_logit, source.size_px, seed=GOLDEN_SEED
    )
    golden.write_goldens(work.directory, cells, source.logits)
    work.log(f"goldens   {len(cells.inputs)} drawn cells, {_took(started)}")
    return cells


def _add_variant(work: _Work, cells: golden.GoldenCells, variant: str) -> None:
    model = work.source.quantized if variant == "int8" else work.source.plain
    started = time.monotonic()
    data = to_tflite.convert(
        model, variant, None if work.calibration is None else work.calibration.inputs
    )
    if variant == "int8":
        work.rung = "ranges in the model" if work.source.has_ranges else "per-channel post-training"
    add_files(work, cells, variant, data, started)


def add_files(
    work: _Work, cells: golden.GoldenCells, variant: str, data: bytes, started: float
) -> None:
    """Writes the files of one variant, from its TFLite bytes, and their golden outputs."""
    quantization = to_tflite.quantization_of(data)
    facts = _facts(work.source, variant, quantization)
    specs = []
    if "tflite" in work.options.formats:
        specs.append(_write(work, variant, "litert", metadata.into_tflite(data, facts)))
    if "onnx" in work.options.formats and variant in ("float32", "int8", "int8-mixed"):
        tensors = None
        if variant == "float32":
            made = to_onnx.from_keras(work.source.plain)
        else:
            made = to_onnx.from_tflite(data)
            opened = open_engine(data, "litert")
            tensors = {"input": opened.input, "output": opened.output}
        specs.append(_write(work, variant, "onnx", metadata.into_onnx(made, facts, tensors)))
    work.files[variant] = specs
    for spec in specs:
        if spec.engine in installed_engines():
            engine = open_engine(work.directory / spec.file, spec.engine)
            golden.write_engine_goldens(work.directory, cells, engine, variant, spec.sha256)
    sizes = ", ".join(f"{spec.file} {spec.bytes / 1000:.1f} kB" for spec in specs)
    work.log(f"convert   {variant}: {sizes}, {_took(started)}")


def _write(work: _Work, variant: str, engine: str, data: bytes) -> FileSpec:
    name = f"model.{variant}.{ENGINE_FORMATS[engine]}"
    write_bytes(work.directory / name, data)
    opened = open_engine(data, engine)
    quantization = to_tflite.quantization_of(data) if engine == "litert" else variant
    return FileSpec(
        engine, name, len(data), sha256_hex(data), quantization, opened.input, opened.output
    )


def _facts(source: Source, variant: str, quantization: str) -> dict[str, Any]:
    return {
        "name": source.name,
        "edge_malaria_version": __version__,
        "variant": variant,
        "quantization": quantization,
        "labels": ["uninfected", "parasitized"],
        "preprocessing": contract(source.size_px),
        "decision": {
            key: source.decision[key]
            for key in ("temperature", "bias", "operating_points")
            if key in source.decision
        },
        "notice": "For research use only. Not for use in diagnostic procedures.",
    }


def _add_finder(work: _Work) -> None:
    from edge_malaria.export.finder import add_finder

    if work.source.finder is not None:
        add_finder(work.directory, work.source.finder, work.options.formats, work.log)


def _gate(work: _Work, cells: golden.GoldenCells, dataset: Dataset | None) -> Any:
    started = time.monotonic()
    report = _run_gate(work, dataset)
    if not report.passed and "int8" in work.files and _only_int8_failed(report):
        from edge_malaria.export.ladder import climb

        report = climb(work, cells, dataset, report, lambda: _run_gate(work, dataset))
    if not report.passed:
        failures = report.all_failures()
        lines = "\n".join(f"  {failure.message}" for failure in failures[:12])
        raise GateFailed(
            f"the parity gate refused {work.source.name}; no bundle was written.\n{lines}"
            if failures
            else "the parity gate compared nothing; no bundle was written."
        )
    cells_seen = " and ".join(f"{n} {name}" for name, n in report.cells.items())
    work.log(f"gate      passed on {cells_seen} cells, {_took(started)}")
    return report


def _run_gate(work: _Work, dataset: Dataset | None) -> Any:
    has_val = dataset is not None and dataset.has_splits
    return parity.gate(
        work.directory,
        dataset=dataset if has_val else None,
        split="val",
        reference=KerasEngine(work.source.plain),
    )


def _only_int8_failed(report: Any) -> bool:
    subjects = {failure.subject for failure in report.all_failures()}
    return bool(subjects) and all(
        subject.endswith((".int8", ".int8-mixed")) for subject in subjects
    )


def _evaluate(
    directory: Path, dataset: Dataset | None, options: Options, log: Log
) -> dict[str, Any] | None:
    """Measures each variant on the val split; test is never read by an export."""
    if dataset is None or not dataset.has_splits:
        return None
    from edge_malaria import evaluation

    bundle = read_bundle(directory)
    chosen = dataset.select("val")
    variant = "int8" if "int8" in bundle.classifier.variants else "float32"
    engine = next((e for e in ENGINES if e in bundle.classifier.variants.get(variant, {})), None)
    if engine is None or engine not in installed_engines():
        return None
    classifier = Classifier(bundle, variant, engine)
    result = evaluation.report(evaluation.run(classifier, chosen), classifier)
    log(
        f"evaluate  {variant}, {result['n']} cells of val patients: "
        f"accuracy {result['accuracy']:.4f}"
    )
    return {**result, "split": "val"}


def _write_record(
    work: _Work,
    evaluation: Mapping[str, Any] | None,
    dataset: Dataset | None,
    report: Any = None,
) -> None:
    source = work.source
    sizes = {f"{v}/{s.engine}": s.bytes for v, specs in work.files.items() for s in specs}
    classifier = {
        "task": "classify-cell",
        "labels": ["uninfected", "parasitized"],
        "preprocessing": contract(source.size_px),
        "gate": None if report is None else _gate_record(report),
        "variants": {v: [spec.as_json() for spec in specs] for v, specs in work.files.items()},
        "decision": dict(source.decision),
        "int8": {
            "ranges": work.rung,
            "calibration_cells": [] if work.calibration is None else list(work.calibration.files),
        },
    }
    models: dict[str, Any] = {"classifier": classifier}
    finder = work.directory / "finder.json"
    if finder.is_file():
        import json

        models["finder"] = json.loads(finder.read_text(encoding="utf-8"))
    record = {
        "name": source.name,
        "version": str(source.provenance.get("version", __version__)),
        "models": models,
        "provenance": dict(source.provenance),
        "evidence": "drawn" if report is None else report.evidence,
        "exported_with": {"edge_malaria": __version__, **_versions()},
    }
    write_json(
        work.directory / "evaluation.json",
        {"bundle": source.name, "val": evaluation, "shipped": source.measured, "bytes": sizes},
    )
    write_text(work.directory / "README.md", bundle_readme(record, sizes, evaluation))
    write_index(work.directory, record)


def _gate_record(report: Any) -> dict[str, Any]:
    return {
        "passed": report.passed,
        "evidence": report.evidence,
        "cells": dict(report.cells),
        "delta": report.settings.delta,
        "not_run": list(report.not_run),
    }


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    names: Sequence[str] = (
        *("numpy", "tensorflow-cpu", "tensorflow", "keras", "tf2onnx", "onnx"),
        *("onnxruntime", "ai-edge-litert"),
    )
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def keras_classifier(path: Path, operating_point: str) -> Classifier:
    """A classifier that runs a .keras file itself: ``evaluate model.keras DATASET``."""
    from edge_malaria.bundle import Bundle, ModelSpec

    source = load_source(str(path))
    spec = ModelSpec(
        "classify-cell",
        ("uninfected", "parasitized"),
        source.size_px,
        {},
        source.decision,
        {},
    )
    bundle = Bundle(path, source.name, "", {"classifier": spec}, {}, {})
    engine = KerasEngine(source.plain)
    return Classifier(bundle, "float32", None, operating_point, with_engine=engine)


def _took(started: float) -> str:
    return f"{time.monotonic() - started:.1f} s"


def size_table(exported: Exported) -> list[tuple[str, str, str, str, str]]:
    """Rows (variant, file, bytes, parity, accuracy on val) for the terminal."""
    accuracy = ""
    if exported.evaluation is not None:
        accuracy = f"{float(np.round(exported.evaluation['accuracy'], 4)):.4f}"
    measured = str(exported.evaluation["variant"]) if exported.evaluation else ""
    return [
        (v, spec.file, f"{spec.bytes:,}", "passed", accuracy if v == measured else "")
        for v, spec in exported.files
    ]
