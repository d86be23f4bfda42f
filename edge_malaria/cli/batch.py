"""``edge-malaria batch MANIFEST.csv -o OUT``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_malaria.cli.options import (
    BundleOption,
    ConfigOption,
    EngineOption,
    JsonOption,
    Variant,
    VariantOption,
    engine_for,
    open_named,
)
from edge_malaria.cli.output import log, print_json, print_table, progress, warn

if TYPE_CHECKING:
    from edge_malaria.batch.slide_task import Row

_HELP = """Screens every slide of a manifest, on this machine's cores or on a cluster.

MANIFEST has the columns slide,source[,site,reference]: a name, then a folder, glob, film, sim:...
or URL; site is a place, or a profile of site fit (.json); reference is positive or negative where
another method knows the result. A finished slide is not done again, a half one goes on; a slide
that fails is a row with its reason.
"""


def register(app: typer.Typer) -> None:
    """Adds ``batch`` to the app."""
    app.command("batch", help=_HELP)(batch)


def batch(
    manifest: Annotated[Path, typer.Argument(help="CSV: slide,source[,site,reference].")],
    out: Annotated[Path, typer.Option("-o", "--output", help="Where slides and tables go.")],
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a running dask scheduler.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Processes here. Default: one a core.")
    ] = None,
    no_quality_gate: Annotated[
        bool, typer.Option("--no-quality-gate", help="Count fields however they look.")
    ] = False,
    config: ConfigOption = None,
    bundle: BundleOption = None,
    variant: VariantOption = Variant.int8,
    engine: EngineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Screens slides side by side; can be repeated until all are done."""
    from edge_malaria.batch.cluster import open_client
    from edge_malaria.batch.manifest import read_manifest
    from edge_malaria.batch.scheduler import run_batch, same_settings
    from edge_malaria.batch.slide_task import Settings
    from edge_malaria.batch.tables import write_tables
    from edge_malaria.errors import UsageError
    from edge_malaria.runtime.screen.config import load_config
    from edge_malaria.runtime.slide.site_profile import read_site

    if scheduler is not None and workers is not None:
        raise UsageError("give --scheduler or --workers, not both.")
    slides = read_manifest(manifest)
    load_config(config)
    for profile in sorted({slide.profile for slide in slides} - {""}):
        read_site(Path(profile))
    read = open_named(bundle)
    settings = Settings(
        out=str(out.resolve()),
        bundle=str(read.path.resolve()),
        variant=variant.value,
        engine=engine_for(read, variant, engine),
        config=str(config.resolve()) if config else "",
        quality_gate=not no_quality_gate,
    )
    same_settings(settings)
    rows: dict[str, Row] = {}
    with progress("slides", len(slides)) as bar:

        def step(row: Row) -> None:
            rows[row.slide] = row
            if row.status == "failed":
                warn(f"{row.slide}: {row.reason}")
            bar.step()

        with open_client(scheduler, workers, log) as client:
            run_batch(slides, settings, client, step)
    found = write_tables(out, [rows[slide.name] for slide in slides])
    if as_json:
        print_json({**found, "table": "slides.csv"})
    else:
        _show(out, found)


def _show(out: Path, found: dict[str, Any]) -> None:
    from edge_malaria.records import RESEARCH_USE

    print_table(f"{found['slides']} slides", ("outcome", "slides"), list(found["verdicts"].items()))
    for name in ("sensitivity", "specificity"):
        rate = found[name]
        if rate is not None:
            low, high = rate["ci95"]
            print(
                f"{name} by slide: {rate['rate']:.3f} (95 % {low:.3f}-{high:.3f}), "
                f"{rate['right']} of {rate['slides']}, {rate['undecided']} undecided"
            )
    print(f"tables: {out / 'slides.csv'}, {out / 'slides.parquet'}")
    print(RESEARCH_USE)
