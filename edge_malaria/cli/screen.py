"""``edge-malaria screen SOURCE -o DIR``"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_malaria.cli.options import (
    BundleOption,
    ConfigOption,
    EngineOption,
    JsonOption,
    LanguageOption,
    OperatingPoint,
    PointOption,
    ThreadsOption,
    Variant,
    VariantOption,
    open_named,
)

if TYPE_CHECKING:
    from edge_malaria.records import SlideReport
    from edge_malaria.runtime.slide.site_profile import SiteProfile


def register(app: typer.Typer) -> None:
    """Adds ``screen``."""
    app.command("screen")(screen)


def screen(
    out: Annotated[Path, typer.Option("-o", "--output", help="Report directory to make.")],
    source: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE...",
            help="Files, a folder, a glob, a video, camera:0, picamera, or "
            "sim:parasitemia=0.01,fields=50,seed=3,motion=1",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier report.")] = False,
    no_quality_gate: Annotated[
        bool, typer.Option("--no-quality-gate", help="Count fields however they look.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted report.")
    ] = False,
    report_only: Annotated[
        bool,
        typer.Option("--report-only", help="With --resume: write the report, open no source."),
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Watch the folder for fields as they are written.")
    ] = False,
    fields: Annotated[
        int | None, typer.Option("--fields", min=1, help="Stop after so many counted fields.")
    ] = None,
    cells: Annotated[
        int | None, typer.Option("--cells", min=1, help="Stop after so many counted cells.")
    ] = None,
    rbc_per_ul: Annotated[
        float | None,
        typer.Option("--rbc-per-ul", help="Measured red cells per microlitre. [5,000,000]"),
    ] = None,
    haematocrit: Annotated[
        float | None, typer.Option("--haematocrit", help="Measured haematocrit in per cent.")
    ] = None,
    config: ConfigOption = None,
    language: LanguageOption = None,
    site: Annotated[
        Path | None, typer.Option("--site", help="This site's own errors: see site fit.")
    ] = None,
    bundle: BundleOption = None,
    variant: VariantOption = Variant.int8,
    engine: EngineOption = None,
    operating_point: PointOption = OperatingPoint.screening,
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Screen a thin blood smear: what share of its red cells is parasitized.

    For research use only. Not for use in diagnostic procedures.
    """
    from edge_malaria.cli.output import log, print_json, progress, warn
    from edge_malaria.runtime.classify.classifier import Classifier
    from edge_malaria.runtime.screen.config import load_config
    from edge_malaria.runtime.screen.directory import check_directory
    from edge_malaria.runtime.screen.screening import ScreenCall
    from edge_malaria.runtime.screen.screening import screen as run_screen
    from edge_malaria.runtime.screen.slide_pipeline import ScreenOptions
    from edge_malaria.runtime.sources.opening import open_source

    rbc = _red_cells(rbc_per_ul, haematocrit)
    _check_how(source, resume=resume, force=force, report_only=report_only)
    settings = load_config(config)
    if language is not None:
        settings = replace(settings, report=replace(settings.report, language=language.value))
    opened = None
    if not report_only:
        opened = open_source(
            source or [], follow=follow, settings=settings.source, camera=settings.camera
        )
    read = open_named(bundle)
    if not resume:
        check_directory(out, force=force)
    profile = _site(site, operating_point)
    classifier = Classifier(
        read,
        variant.value,
        engine and engine.value,
        operating_point.value,
        threads,
        threshold=None if profile is None else profile.screening,
    )
    live = opened is not None and opened.live
    call = ScreenCall(
        out, tuple(source or ()), rbc, resume, threads, force, report_only, profile, live
    )
    options = ScreenOptions(not no_quality_gate, fields, cells)
    end_where_told = end_like_ctrl_c()
    with progress("fields", opened.total if opened else 0) as bar:

        def step() -> None:
            end_where_told()
            bar.step()

        done = run_screen(opened, read, classifier, call, settings, options, step, warn)
    for text in (*done.report.warnings, *done.notes):
        warn(text)
    if as_json:
        print_json(done.report.as_json())
    else:
        print_report(done.report, done.page)
    if done.error is not None:
        log(f"report of what was counted: {done.page}")
        raise done.error
    if done.interrupted:
        log(f"interrupted: go on with the same call and --resume (report so far: {done.page})")
        raise typer.Exit(130)


def _site(path: Path | None, point: OperatingPoint) -> SiteProfile | None:
    """The site's profile; it brings its own thresholds, so no other point may be asked for."""
    from edge_malaria.runtime.slide.site_profile import read_site

    if path is None:
        return None
    if point != OperatingPoint.screening:
        raise typer.BadParameter("--site brings its own thresholds: leave --operating-point out.")
    return read_site(path)


def _check_how(source: list[str] | None, *, resume: bool, force: bool, report_only: bool) -> None:
    from edge_malaria.errors import UsageError

    if resume and force:
        raise UsageError("--resume goes on with a report, --force replaces it.")
    if report_only and not resume:
        raise UsageError("--report-only needs --resume: it reads an earlier journal.")
    if not source and not report_only:
        raise UsageError("SOURCE is missing: files, a folder, a video, camera:0 or sim:")


def end_like_ctrl_c() -> Callable[[], None]:
    """Lets SIGTERM and a closed terminal end the slide as Ctrl-C does: with a report.

    Only the first one: a closing terminal may send several while the report is written. What was
    told to ignore them (nohup) stays so.

    Returns:
        To be called now and then: ends the slide where a signal came and was lost. Compiled code
        may drop what is raised inside it, as numpy's ``Generator.choice`` does.
    """
    told: list[int] = []

    def end(number: int, frame: object) -> None:
        if not told:
            told.append(number)
            raise KeyboardInterrupt

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, end)

    def end_where_told() -> None:
        if told:
            raise KeyboardInterrupt

    return end_where_told


def _red_cells(rbc_per_ul: float | None, haematocrit: float | None) -> float:
    from edge_malaria.errors import UsageError
    from edge_malaria.runtime.slide.statistics import rbc_per_ul as red_cells

    if rbc_per_ul is not None and haematocrit is not None:
        raise UsageError("give --rbc-per-ul or --haematocrit, not both.")
    if rbc_per_ul is not None and not (1e5 <= rbc_per_ul <= 1e7):
        raise UsageError(
            "--rbc-per-ul: expected red cells per microlitre, 100,000-10,000,000, "
            f"got {rbc_per_ul:g}."
        )
    if haematocrit is not None and not (5 <= haematocrit <= 75):
        raise UsageError(f"--haematocrit: expected per cent, 5-75, got {haematocrit:g}.")
    return red_cells(rbc_per_ul, haematocrit)


def print_report(report: SlideReport, page: Path) -> None:
    """The slide's verdict and numbers on the terminal."""
    from edge_malaria.cli.output import print_table
    from edge_malaria.records import RESEARCH_USE
    from edge_malaria.runtime.report.numbers import headline_numbers
    from edge_malaria.runtime.report.sayings import basis, next_step, verdict_title
    from edge_malaria.runtime.words.language import words_for

    words = words_for("en")
    rows = [
        tuple(text.replace("\u00a0", " ") for text in row)
        for row in headline_numbers(words, report)
    ]
    print_table(verdict_title(words, report), ("", "", ""), rows)
    print(basis(words, report))
    print(report.details["statistics"]["why"])
    print(next_step(report, str(page.parent)).replace("\u00a0", " "))
    for reason, n in report.fields_rejected.items():
        print(f"refused: {n} x {reason}")
    print(f"report: {page}")
    print(RESEARCH_USE)
