"""``edge-malaria screen SOURCE -o DIR``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_malaria.cli.options import (
    BundleOption,
    EngineOption,
    JsonOption,
    OperatingPoint,
    PointOption,
    ThreadsOption,
    Variant,
    VariantOption,
    engine_for,
    open_named,
)

if TYPE_CHECKING:
    from edge_malaria.runtime.screen.screening import Screened


def register(app: typer.Typer) -> None:
    """Adds ``screen``."""
    app.command("screen")(screen)


def screen(
    source: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Files, a folder, a glob, a video, camera:0, picamera, or "
            "sim:parasitemia=0.01,fields=50,seed=3,motion=1",
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--output", help="Report directory to make.")],
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier report.")] = False,
    no_quality_gate: Annotated[
        bool, typer.Option("--no-quality-gate", help="Count fields however they look.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted report.")
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
    config: Annotated[
        Path | None, typer.Option("--config", help="TOML with limits that differ.")
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
    from edge_malaria.runtime.screen.screening import ScreenCall, prepare_directory
    from edge_malaria.runtime.screen.screening import screen as run_screen
    from edge_malaria.runtime.screen.slide_pipeline import ScreenOptions
    from edge_malaria.runtime.sources.opening import open_source

    rbc = _red_cells(rbc_per_ul, haematocrit)
    if resume and force:
        raise typer.BadParameter("--resume goes on with a report, --force replaces it.")
    settings = load_config(config)
    opened = open_source(source, follow=follow, settings=settings.source)
    read = open_named(bundle)
    classifier = Classifier(
        read, variant.value, engine_for(read, variant, engine), operating_point.value, threads
    )
    prepare_directory(out, force=force, resume=resume)
    call = ScreenCall(out, tuple(source), rbc, resume, threads)
    options = ScreenOptions(not no_quality_gate, fields, cells)
    with progress("fields", opened.total) as bar:
        done = run_screen(opened, read, classifier, call, settings, options, bar.step)
    for text in done.report.warnings:
        warn(text)
    if as_json:
        print_json(done.report.as_json())
    else:
        _print(done)
    if done.interrupted:
        log(f"interrupted: go on with the same call and --resume (report so far: {done.page})")
        raise typer.Exit(130)


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


def _print(done: Screened) -> None:
    from edge_malaria.cli.output import print_table
    from edge_malaria.records import RESEARCH_USE
    from edge_malaria.runtime.report.html import headline_numbers
    from edge_malaria.runtime.report.write import next_step, verdict_title

    report = done.report
    print_table(verdict_title(report), ("", "", ""), headline_numbers(report))
    print(report.details["statistics"]["why"])
    print(next_step(report))
    for reason, n in report.fields_rejected.items():
        print(f"refused: {n} x {reason}")
    print(f"report: {done.page}")
    print(RESEARCH_USE)
