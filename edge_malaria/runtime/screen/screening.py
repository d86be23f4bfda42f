"""One call that screens a source into a report directory; the command and the server use it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge_malaria.bundle.format import Bundle, sha256_hex
from edge_malaria.errors import EdgeMalariaError, OutputExists, UsageError
from edge_malaria.files import storage_errors
from edge_malaria.records import SlideReport
from edge_malaria.runtime.classify.classifier import Classifier
from edge_malaria.runtime.detect.opening import default_finder, finder_variant
from edge_malaria.runtime.report.write import ReportFacts, slide_report, write_report
from edge_malaria.runtime.screen.config import ScreenConfig
from edge_malaria.runtime.screen.slide_pipeline import FIELDS_FOLDER, ScreenOptions, SlidePipeline
from edge_malaria.runtime.slide.field_line import UNREADABLE
from edge_malaria.runtime.slide.journal import NAME as JOURNAL_NAME
from edge_malaria.runtime.slide.journal import Journal
from edge_malaria.runtime.slide.lines import HeaderLine
from edge_malaria.runtime.slide.statistics import FalsePositiveFit, SlideResult, SlideStatistics
from edge_malaria.runtime.slide.totals import SlideTotals
from edge_malaria.runtime.sources.base import Source

# Below this many healthy patients the fit says little about the next slide.
_FEW_PATIENTS = 20
_OURS = (JOURNAL_NAME, "report.json", "report.md", "report.html", "cells.csv", FIELDS_FOLDER)


@dataclass(frozen=True)
class Screened:
    """What a run left: the report, its HTML page, and whether it was interrupted."""

    report: SlideReport
    page: Path
    interrupted: bool


def prepare_directory(directory: Path, *, force: bool, resume: bool) -> None:
    """Makes room for a report.

    Raises:
        OutputExists: there is something already, and neither ``force`` nor ``resume``.
        UsageError: ``force`` on a folder that holds anything but a report.
        StorageError: not writable.
    """
    if resume:
        return
    if directory.exists() and not directory.is_dir():
        raise OutputExists(f"{directory} is a file. Choose another name for the report.")
    inside = list(directory.iterdir()) if directory.is_dir() else []
    if not inside:
        return
    if not force:
        raise OutputExists(
            f"{directory} exists. Choose another name, add --resume to go on, or --force."
        )
    strange = [p.name for p in inside if p.name not in _OURS and not p.name.startswith(".")]
    if strange:
        raise UsageError(
            f"{directory} holds other things than a report ({', '.join(sorted(strange)[:3])}): "
            "--force does not delete them."
        )
    with storage_errors(directory):
        for path in inside:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def bundle_fit(bundle: Bundle, operating_point: str) -> FalsePositiveFit:
    """The classifier's measured errors at ``operating_point``, as the bundle records them.

    Raises:
        UsageError: the bundle has none for that point; no verdict is possible.
    """
    decision = bundle.classifier.decision
    found: Any = decision.get("false_positives") or decision.get("false_positive")
    if isinstance(found, dict) and operating_point in found:
        found = found[operating_point]
    usable = isinstance(found, dict) and "alpha" in found
    if not usable or found.get("operating_point", operating_point) != operating_point:
        raise UsageError(
            f"{bundle.path} records no false-positive rate at {operating_point}: no verdict is "
            "possible. Use --operating-point screening, or a bundle exported with --data."
        )
    return FalsePositiveFit.from_json(found)


def _header(
    bundle: Bundle,
    classifier: Classifier,
    stage: tuple[str, str],
    spec: Sequence[str],
    config: ScreenConfig,
    options: ScreenOptions,
) -> HeaderLine:
    """What a resumed run must agree with; ``stage`` is the finder's name and variant."""
    settings = config.as_json()
    decides = {
        "model_sha256": _model_sha(bundle, classifier),
        "variant": classifier.variant,
        "engine": classifier.engine.name,
        "operating_point": classifier.operating_point,
        "finder": stage[0],
        "finder_variant": stage[1],
        "quality": {**settings["quality"], "gate": options.quality_gate},
        "motion": settings["motion"],
        "doubtful_from": config.verdict.doubtful_from,
        "likely_from": options.likely_from,
    }
    index = json.dumps(bundle.record, sort_keys=True).encode()
    started = datetime.now(UTC).isoformat(timespec="seconds")
    return HeaderLine(tuple(spec), sha256_hex(index), decides, started)


def _model_sha(bundle: Bundle, classifier: Classifier) -> str:
    return str(bundle.classifier.file(classifier.variant, classifier.engine.name).sha256)


@dataclass(frozen=True)
class ScreenCall:
    """What the user asked for.

    Attributes:
        directory: of the report.
        spec: the source as named.
        rbc_per_ul: red cells per microlitre.
        resume: go on with the directory's journal.
        threads: of the finder's engine.
    """

    directory: Path
    spec: tuple[str, ...]
    rbc_per_ul: float
    resume: bool = False
    threads: int = 1


def screen(
    source: Source,
    bundle: Bundle,
    classifier: Classifier,
    call: ScreenCall,
    config: ScreenConfig,
    options: ScreenOptions,
    step: Callable[[], None] = lambda: None,
) -> Screened:
    """Screens ``source`` and writes the report.

    Ctrl-C ends the slide: the report is written for what was counted so far. Of a live source
    that is the usual end; else ``Screened.interrupted`` says so.

    Raises:
        UsageError, StorageError, ImageError, HardwareError: see the stages.
    """
    engine = classifier.engine.name
    variant = finder_variant(bundle, classifier.variant, engine)
    finder = default_finder(bundle, variant, engine, call.threads)
    statistics = SlideStatistics(bundle_fit(bundle, classifier.operating_point), config.verdict)
    options = replace(options, likely_from=statistics.fit.quantity_threshold or 2.0)
    stage = (finder.name, variant)
    header = _header(bundle, classifier, stage, call.spec, config, options)
    journal = Journal(call.directory, header, resume=call.resume)
    try:
        pipeline = SlidePipeline(call.directory, journal, finder, classifier, config, options)
        if call.resume:
            pipeline.resume()
        interrupted = False
        try:
            pipeline.run(source, step)
        except KeyboardInterrupt:
            interrupted = True
            pipeline.recount()
        totals = pipeline.totals
        result = statistics.result(totals.count, call.rbc_per_ul)
        fit = statistics.fit.false_positives
        facts = ReportFacts(
            source=" ".join(call.spec),
            model=bundle.name,
            version=bundle.version,
            variant=classifier.variant,
            engine=classifier.engine.name,
            finder=finder.name,
            model_sha256=_model_sha(bundle, classifier),
            threshold=classifier.threshold,
            healthy_patients=fit.patients,
            healthy_cells=fit.cells,
            warnings=(*source.warnings, *_warnings(fit.patients, options, totals, result)),
        )
        if variant not in ("", classifier.variant):
            text = f"The cell finder has no {classifier.variant} file: its {variant} file ran."
            facts = replace(facts, warnings=(*facts.warnings, text))
        if interrupted and not source.live:
            text = "Interrupted before the end of the source: go on with --resume."
            facts = replace(facts, warnings=(text, *facts.warnings))
        report = slide_report(totals, result, facts, config.as_json())
        page = write_report(call.directory, journal, totals, report, facts)
    except EdgeMalariaError:
        _leave_nothing_empty(call, journal)
        raise
    finally:
        journal.close()
    return Screened(report, page, interrupted and not source.live)


def _leave_nothing_empty(call: ScreenCall, journal: Journal) -> None:
    """Takes away a directory in which no field was recorded, so that the next try finds none."""
    if call.resume or next(journal.lines(), None) is not None:
        return
    journal.path.unlink(missing_ok=True)
    if not any(call.directory.iterdir()):
        call.directory.rmdir()


def _warnings(
    patients: int, options: ScreenOptions, totals: SlideTotals, result: SlideResult
) -> list[str]:
    texts = []
    if result.points_disagree:
        texts.append(
            "The counts at the screening and at the balanced threshold contradict each other: "
            "this slide's stain or camera is unlike those that the errors were measured on. "
            "The interval spans both."
        )
    if not options.quality_gate:
        texts.append("The quality gate was off: fields were counted however they looked.")
    if patients < _FEW_PATIENTS:
        texts.append(
            f"The false-positive rate rests on {patients} healthy patients only: wide limits."
        )
    unreadable = totals.rejected[UNREADABLE]
    if unreadable:
        texts.append(f"{unreadable} files could not be read; see the journal.")
    return texts
