"""The export: Keras -> every variant and format -> goldens -> gate -> bundle.

This is the one place that knows training files, converters and the parity gate together. Steps,
in order, each with a line of progress:

    load model   one logit, S x S x 3, ranges for int8 in the file or calibration cells
    goldens      drawn cells and Keras's answers, before anything is converted
    convert      float32, float16, dynamic, int8 as asked; TFLite, then ONNX
    gate         parity on the very files that ship; where int8 fails, the fallback recipes
    bundle       written to a temporary directory, renamed when everything passed
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from converters import recipes, to_tflite
from converters.calibration import Calibration, choose_calibration
from converters.freed_memory import give_back
from edge_malaria import parity
from edge_malaria.bundle import golden, golden_draw, golden_write
from edge_malaria.bundle.contents import SECOND, expect_replaceable
from edge_malaria.bundle.format import read_bundle
from edge_malaria.data.dataset import Dataset
from edge_malaria.errors import GateFailed, UsageError
from edge_malaria.export import margin, sanity
from edge_malaria.export.chance import Calls
from edge_malaria.export.convert import Log, Options, Work, add_files, took
from edge_malaria.export.effort import Effort, effort_of
from edge_malaria.export.exported import Exported
from edge_malaria.export.finder_files import add_finder
from edge_malaria.export.index_record import write_record
from edge_malaria.export.load import load_source
from edge_malaria.export.refusal import refusal
from edge_malaria.export.sanity import OwnModel
from edge_malaria.export.source import Source
from edge_malaria.files import new_directory
from edge_malaria.runtime.classify.classifier import Classifier
from edge_malaria.runtime.engines.base import ENGINES
from edge_malaria.runtime.engines.opening import installed_engines

GOLDEN_SEED = golden_draw.DEFAULT_SEED


def export_bundle(
    model: str,
    out: Path,
    options: Options,
    dataset: Dataset | None = None,
    log: Log = lambda line: None,
    own: OwnModel | None = None,
) -> Exported:
    """Exports ``model`` (a file, a SavedModel folder or a shipped model's name) to ``out``.

    ``own`` says what is known of a model of somebody else.

    Raises:
        GateFailed: the gate refused; nothing is left at ``out``.
        OutputExists, ModelShapeError, UsageError, ModelFileError, DatasetError, MissingExtra,
        StorageError: see ``errors``.
    """
    known = own or OwnModel()
    expect_replaceable(out)
    labels = dataset if dataset is not None and dataset.has_splits else None
    source = load_source(model, known.declared, known.loading, labels)
    give_back()
    return _export(source, out, options, dataset, log, known)


def _export(
    source: Source,
    out: Path,
    options: Options,
    dataset: Dataset | None,
    log: Log,
    known: OwnModel | None = None,
) -> Exported:
    """``export_bundle`` of a model that is loaded."""
    started, known = time.monotonic(), known or OwnModel()
    log(f"model     {source.name}: {source.weights} weights, {source.size_px} px, {source.ranges}")
    sanity.show_contract(source, log)
    if known.expect is not None:
        sanity.check_expectation(source, known.expect, dataset, log)
    effort = effort_of(source.plain, options.delta)
    judging = _judging(dataset, effort)
    calls = None
    if judging is not None:
        calls = sanity.check_on_labels(source, judging, effort.looked_at, log)
        _say_judging(judging, dataset, log)
    calibration = _calibration(source, options, dataset, effort, log)
    delta = margin.widened(options.delta, judging, log)
    if not sanity.labelled_will_decide(source, judging, effort, delta, log):
        effort = replace(effort, golden=golden_draw.CELLS)
    with new_directory(out, force=options.force) as directory:
        work = Work(directory, source, options, log, effort, calibration, delta=delta)
        work.patients_unknown = dataset is not None and dataset.unknown_patients
        cells = _write_goldens(work, calls)
        for variant in options.variants:
            _add_variant(work, cells, variant)
        if options.finder:
            add_finder(work)
        second = None if source.second is None else _add_second(work, source.second, dataset)
        report = _gate(work, cells, dataset, judging)
        evaluation = _evaluate(directory, judging, options, log)
        write_record(work, evaluation, report)
        read_bundle(directory)
    files = tuple((variant, spec) for variant, specs in work.files.items() for spec in specs)
    return Exported(
        out,
        report,
        files,
        evaluation,
        time.monotonic() - started,
        options.delta,
        work.recipe,
        second,
    )


def _calibration(
    source: Source, options: Options, dataset: Dataset | None, effort: Effort, log: Log
) -> Calibration | None:
    if "int8" not in options.variants or source.has_ranges:
        return None
    if dataset is None:
        raise UsageError(
            f"{source.name} carries no int8 ranges: give real cells with --data DATASET (its train "
            "split calibrates), or leave out --int8."
        )
    chosen = choose_calibration(dataset, source.target, effort.calibration)
    log(f"calibrate {len(chosen.files)} cells of train patients")
    return chosen


def _write_goldens(work: Work, calls: Calls | None) -> golden.GoldenCells:
    source, started = work.source, time.monotonic()
    cells = golden_draw.draw_golden_cells(
        source.logits,
        source.threshold_logit,
        source.target,
        work.effort.golden,
        seed=GOLDEN_SEED,
        halvings=work.effort.halvings if work.effort.golden == golden_draw.CELLS else 0,
    )
    if source.contract is not None and not (calls is not None and calls.better_than_chance):
        sanity.check_on_drawn(source, cells, calls, work.log)
    golden_write.write_goldens(
        work.directory,
        cells,
        source.logits,
        flagged_views=source.flagged_views > 1,
        second=None if source.second is None else source.second_logits,
    )
    near = f"{int(cells.near.sum())} close to the threshold"
    work.log(f"goldens   {len(cells.inputs)} drawn cells, {near}, {took(started)}")
    return cells


def _add_second(work: Work, second: Source, dataset: Dataset | None) -> Exported:
    """The bundle of the second network in its folder, through a gate of its own."""
    options = replace(work.options, finder=False, force=False)

    def log(line: str) -> None:
        work.log(f"second    {line}")

    return _export(second, work.directory / SECOND, options, dataset, log)


def _add_variant(work: Work, cells: golden.GoldenCells, variant: str) -> None:
    started = time.monotonic()
    if variant == "int8":
        recipe = recipes.first_recipe(work.source.has_ranges)
        calibration = None if work.calibration is None else work.calibration.inputs
        data = recipes.convert(work.source.quantized, recipe, calibration)
        work.recipe = recipe.name
    else:
        data = to_tflite.convert(work.source.plain, variant)
    add_files(work, cells, variant, data, started, work.first_formats(variant))


def _gate(
    work: Work, cells: golden.GoldenCells, dataset: Dataset | None, judging: Dataset | None
) -> parity.ParityReport:
    started = time.monotonic()

    def run() -> parity.ParityReport:
        return _run_gate(work, judging)

    report = run()
    if report.passed and work.waiting:
        add_files(work, cells, "int8", work.tflite["int8"], time.monotonic(), work.waiting)
        report = run()
    if not report.passed and "int8" in work.files and _only_int8_failed(report):
        from edge_malaria.export.fallback import try_fallbacks

        report = try_fallbacks(work, cells, dataset, report, run)
    if not report.passed:
        raise GateFailed(refusal(work.source.name, report.all_failures()))
    if work.finder is not None:
        work.log(_finder_line(report))
    cells_seen = " and ".join(f"{n} {name}" for name, n in report.cells.items())
    work.log(f"gate      passed on {cells_seen} cells, {took(started)}")
    return report


def _finder_line(report: parity.ParityReport) -> str:
    against_keras = report.finder_against_keras()
    if not against_keras:
        raise GateFailed("the parity gate compared no file of the finder; no bundle was written.")
    cells = min(pair.cells for pair in against_keras)
    agreement = min(pair.agreement for pair in against_keras)
    return f"finder    gate passed: {cells} drawn cells, agreement {agreement:.4f}"


def _judging(dataset: Dataset | None, effort: Effort) -> Dataset | None:
    """The cells that decide: all of val, or for a large network as many as its time allows."""
    if dataset is None or not dataset.has_splits:
        return None
    return dataset.select("val").thinned(effort.judging)


def _say_judging(judging: Dataset, dataset: Dataset | None, log: Log) -> None:
    val = 0 if dataset is None else len(dataset.select("val").rows)
    if len(judging.rows) < val:
        log(f"val       {len(judging.rows)} of {val} cells judge this large network")


def _run_gate(work: Work, dataset: Dataset | None) -> parity.ParityReport:
    write_record(work, None)
    second = work.source.second
    report = parity.gate(
        read_bundle(work.directory, proven=False),  # this is what proves it
        dataset=dataset,
        split="val",
        reference=work.source.reference,
        settings=parity.Settings(delta=work.delta),
        memory=work.memory,
        second=parity.Beside(second.reference, prove=False) if second is not None else None,
    )
    # One picture holds all cells of its gate, and the next recipe has its own.
    return report.without_pictures()


def _only_int8_failed(report: parity.ParityReport) -> bool:
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

    bundle = read_bundle(directory, proven=False)
    chosen = dataset.select("val")
    variants = bundle.classifier.variants
    variant = next((name for name in ("int8", "int8-mixed") if name in variants), "float32")
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
