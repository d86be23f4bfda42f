"""One call that screens a source into a report directory; the command and the server use it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from edge_malaria.bundle.spec import Bundle, sha256_hex
from edge_malaria.disk_sync import storage_notes
from edge_malaria.errors import EdgeMalariaError, StorageError
from edge_malaria.records import SlideReport
from edge_malaria.runtime.classify.classifier import Classifier
from edge_malaria.runtime.detect.opening import default_finder, finder_variant
from edge_malaria.runtime.report.basis import ReportBasis, ReportFacts, keep_basis
from edge_malaria.runtime.report.write import report_of
from edge_malaria.runtime.screen import remarks
from edge_malaria.runtime.screen.config import ScreenConfig
from edge_malaria.runtime.screen.directory import check_directory, clear_directory
from edge_malaria.runtime.screen.keeping_current import KeptCurrent
from edge_malaria.runtime.screen.opened_source import OpenedSource
from edge_malaria.runtime.screen.slide_errors import check_site, errors_and_flagging
from edge_malaria.runtime.screen.slide_pipeline import ScreenOptions, SlidePipeline
from edge_malaria.runtime.slide.journal import NAME as JOURNAL_NAME
from edge_malaria.runtime.slide.journal import Journal
from edge_malaria.runtime.slide.journal_file import read_header
from edge_malaria.runtime.slide.lines import HeaderLine
from edge_malaria.runtime.slide.site_profile import SiteProfile
from edge_malaria.runtime.sources.base import Source
from edge_malaria.runtime.sources.cameras import CAMERA_FACT


@dataclass(frozen=True)
class Screened:
    """What a run left.

    Attributes:
        report: the slide's record; page: its HTML page.
        interrupted: whether it ended before its source did.
        error: what ended it, where that was an error; what was counted before stands.
        notes: what the log should say.
    """

    report: SlideReport
    page: Path
    interrupted: bool
    error: Exception | None = None
    notes: tuple[str, ...] = ()

    def complete(self) -> Screened:
        """This slide, where it was looked at to its end: for work that needs whole slides.

        Raises:
            Exception: what ended it early.
            KeyboardInterrupt: it was interrupted.
        """
        if self.error is not None:
            raise self.error
        if self.interrupted:
            raise KeyboardInterrupt
        return self


def _header(
    bundle: Bundle,
    classifier: Classifier,
    stage: tuple[str, str],
    call: ScreenCall,
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
    if call.site is not None:
        decides["site"] = call.site.name
        decides["threshold"] = call.site.screening
    started = datetime.now(UTC).isoformat(timespec="seconds")
    return HeaderLine(tuple(call.spec), bundle_sha256(bundle), decides, started)


def bundle_sha256(bundle: Bundle) -> str:
    """What names a bundle in a journal: the SHA-256 of its index."""
    return sha256_hex(json.dumps(bundle.record, sort_keys=True).encode())


def _model_sha(bundle: Bundle, classifier: Classifier) -> str:
    return bundle.deciding_sha256(classifier.variant, classifier.engine.name)


@dataclass(frozen=True)
class ScreenCall:
    """What the user asked for.

    Attributes:
        directory: of the report.
        spec: the source as named.
        rbc_per_ul: red cells per microlitre.
        resume: go on with the directory's journal.
        threads: of the finder's engine.
        site: the site's own errors and thresholds; None for a laboratory of which nothing is known.
        force: replace an earlier report, once the source has given its first field.
        report_only: with ``resume``: write the report from the journal, open no source.
        keep_current: write the report now and then while fields come.
    """

    directory: Path
    spec: tuple[str, ...]
    rbc_per_ul: float
    resume: bool = False
    threads: int = 1
    force: bool = False
    report_only: bool = False
    site: SiteProfile | None = None
    keep_current: bool = False


def screen(
    source: Source | None,
    bundle: Bundle,
    classifier: Classifier,
    call: ScreenCall,
    config: ScreenConfig,
    options: ScreenOptions,
    step: Callable[[], None] = lambda: None,
    tell: Callable[[str], None] = lambda text: None,
) -> Screened:
    """Screens ``source`` and writes the report.

    Ctrl-C ends the slide: the report is written for what was counted so far. Of a live source
    that is the usual end; else ``Screened.interrupted`` says so. An error on the way, such as a
    camera that goes away, leaves a report too where anything was counted: ``Screened.error``.
    Nothing in the directory is deleted before the source has given its first field.

    Args:
        source: None with ``call.report_only``.
        bundle: verified.
        classifier: of that bundle.
        call: where the report goes, and how.
        config: limits of quality, motion and verdict.
        options: of the pipeline.
        step: called after each field; see ``SlidePipeline.run``.
        tell: takes what somebody at the microscope should know now.

    Raises:
        UsageError, StorageError, ImageError, HardwareError: see the stages; nothing was counted.
    """
    engine = classifier.engine.name
    variant = finder_variant(bundle, classifier.variant, engine)
    finder = default_finder(bundle, variant, engine, call.threads)
    errors, flagged = errors_and_flagging(bundle, classifier, call.site)
    options = replace(options, likely_from=flagged)
    if call.report_only and not call.spec:
        call = replace(call, spec=read_header(call.directory / JOURNAL_NAME).source)
    header = _header(bundle, classifier, (finder.name, variant), call, config, options)
    if call.site is not None:
        check_site(call.site, header)
    if not call.resume:
        check_directory(call.directory, force=call.force)
        source = None if source is None else OpenedSource(source)
        if call.force:
            clear_directory(call.directory)
    journal = Journal(call.directory, header, resume=call.resume)
    try:
        if source is not None:
            journal.expect_unsigned()
        pipeline = SlidePipeline(call.directory, journal, finder, classifier, config, options)
        if call.resume:
            pipeline.resume()
            if source is not None:
                # A resumed camera is set as it was.
                known = journal.facts()
                source.facts.update({k: known[k] for k in (CAMERA_FACT,) if k in known})
        lines = journal.line_count

        def basis(cut: bool, error: Exception | None) -> ReportBasis:
            texts = (
                *remarks.of_the_end(cut, error),
                *(source.warnings if source is not None else ()),
                *pipeline.warnings,
                *remarks.of_the_gate(options.quality_gate),
                *remarks.of_the_files(pipeline.totals),
                *remarks.of_the_finder(variant, classifier.variant),
                *remarks.of_the_journal(journal),
            )
            facts = _facts(bundle, classifier, call, finder.name, options.likely_from, texts)
            return ReportBasis(facts, errors, config.verdict, call.rbc_per_ul, config.as_json())

        def write_now() -> None:
            here = call.directory, journal, pipeline.totals, basis(False, None)
            report_of(*here, running=True)

        current = KeptCurrent(write_now)

        def stepped() -> None:
            step()
            if call.keep_current:
                current.step()

        ended = None if source is None else _run(pipeline, source, stepped, tell)
        live = source is not None and source.live
        cut = isinstance(ended, KeyboardInterrupt) and not live
        error = ended if isinstance(ended, Exception) else None
        rests_on = basis(cut, error)
        try:
            keep_basis(journal, rests_on, grown=journal.line_count != lines)
            report, page = report_of(call.directory, journal, pipeline.totals, rests_on)
        except StorageError as second:
            raise (error or second) from second
    except EdgeMalariaError:
        _leave_nothing_empty(call, journal)
        raise
    finally:
        journal.close()
    return Screened(report, page, cut, error, (*journal.notes, *storage_notes()))


def _facts(
    bundle: Bundle,
    classifier: Classifier,
    call: ScreenCall,
    finder: str,
    flagged_from: float,
    warnings: tuple[str, ...],
) -> ReportFacts:
    """What the report says of the run."""
    return ReportFacts(
        source=" ".join(call.spec),
        model=bundle.name,
        version=bundle.version,
        variant=classifier.variant,
        engine=classifier.engine.name,
        finder=finder,
        model_sha256=_model_sha(bundle, classifier),
        threshold=classifier.threshold,
        flagged_from=flagged_from,
        warnings=warnings,
    )


def _run(
    pipeline: SlidePipeline,
    source: Source,
    step: Callable[[], None],
    tell: Callable[[str], None],
) -> KeyboardInterrupt | Exception | None:
    """Runs the slide; what ended it early, where there is something to report.

    Raises:
        Exception: an error before anything was counted.
    """
    try:
        pipeline.run(source, step, tell)
    except KeyboardInterrupt as error:
        pipeline.recount()
        return error
    except Exception as error:
        pipeline.recount()
        if pipeline.totals.accepted == 0:
            raise
        return error
    return None


def _leave_nothing_empty(call: ScreenCall, journal: Journal) -> None:
    """Takes away a directory in which no field was recorded, so that the next try finds none."""
    if call.resume or next(journal.lines(), None) is not None:
        return
    journal.path.unlink(missing_ok=True)
    if not any(call.directory.iterdir()):
        call.directory.rmdir()
