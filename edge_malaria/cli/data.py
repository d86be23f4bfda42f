"""``edge-malaria data get|split|show|consensus|synth``; ``synth`` stands in ``synth.py``."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from edge_malaria.cli.dataset_options import (
    ClassesOption,
    Force,
    NoPatientsOption,
    OutDirectory,
    Seed,
    open_cells,
)
from edge_malaria.cli.options import new_output
from edge_malaria.cli.synth import drawing_commands

DataSetPath = Annotated[
    Path, typer.Argument(metavar="DATASET", help="Folder or zip in the NIH layout.")
]


class Source(StrEnum):
    """Published data sets that can be fetched."""

    nih = "nih"


def register(app: typer.Typer) -> None:
    """Adds the ``data`` group to the app."""
    from edge_malaria.cli.consensus import consensus

    group = typer.Typer(help="Fetch, split, draw and look at data sets.", no_args_is_help=True)
    group.command("get")(get)
    group.command("split")(split)
    group.command("show")(show)
    group.command("consensus")(consensus)
    group.add_typer(drawing_commands(), name="synth")
    app.add_typer(group, name="data")


def get(
    source: Annotated[Source, typer.Argument(help="nih: 27,558 red-cell crops, 337 MiB.")],
    out: OutDirectory,
    url: Annotated[
        list[str] | None, typer.Option(help="Another address of the same file; repeatable.")
    ] = None,
    sha256: Annotated[
        str | None, typer.Option(help="Digest to expect instead of the published one.")
    ] = None,
    retries: Annotated[int, typer.Option(min=1, help="Attempts without progress.")] = 5,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for data.")] = 30.0,
) -> None:
    """Fetch a published data set; an interrupted download goes on where it stopped.

    Courtesy of the U.S. National Library of Medicine. The file's size and SHA-256 are verified.
    """
    from edge_malaria.cli.output import log, progress
    from edge_malaria.data.download import NIH_CELLS, Archive, Patience, fetch

    archive = Archive(
        name=NIH_CELLS.name,
        urls=tuple(url) if url else NIH_CELLS.urls,
        sha256=sha256 or NIH_CELLS.sha256,
        size_bytes=None if sha256 else NIH_CELLS.size_bytes,
    )
    with progress("MiB", -(-archive.size_bytes // 2**20) if archive.size_bytes else None) as bar:
        path = fetch(
            archive,
            out,
            progress=_whole_mebibytes(bar.step),
            log=log,
            patience=Patience(retries=retries, timeout_s=timeout),
        )
    print(path)
    log(f"verified. Next: edge-malaria data split {path}")


def _whole_mebibytes(step: Callable[[int], None]) -> Callable[[int, int | None], None]:
    shown = 0

    def advance(done: int, total: int | None) -> None:
        nonlocal shown
        now = done // 2**20
        if now != shown:
            step(now - shown)
            shown = now

    return advance


def split(
    dataset: DataSetPath,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="CSV", help="Default: patients.csv beside it."),
    ] = None,
    seed: Seed = 0,
    mapping: Annotated[
        list[Path] | None,
        typer.Option(help="Official patientid_cellmapping_*.csv; repeatable."),
    ] = None,
    patients_from: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help="Patients from the paths: the group `patient`, else the first group.",
        ),
    ] = None,
    template: Annotated[
        bool,
        typer.Option(
            "--template", help="Write a table with blank patient ids to fill in, no split."
        ),
    ] = False,
    patients: Annotated[
        Path | None,
        typer.Option(help="A table that names every file's patient, such as a filled template."),
    ] = None,
    classes: ClassesOption = None,
    force: Force = False,
) -> None:
    """Split a data set by patient: train, val, test (70/10/20 of the cells) and five folds.

    Patients come from NIH file names, --patients-from, --mapping, or --patients. Otherwise write a
    template, fill in its patient_id column, and split with --patients.
    """
    from edge_malaria.cli.output import log, print_table, warn
    from edge_malaria.data import splits
    from edge_malaria.errors import UsageError

    if sum((bool(mapping), patients_from is not None, template, patients is not None)) > 1:
        raise UsageError("give one of --mapping, --patients-from, --template and --patients.")
    if out is None:
        folder = dataset if dataset.is_dir() else dataset.parent
        # Under another name, because a table with blank ids beside the cells is an error.
        out = folder / ("patients-template.csv" if template else "patients.csv")
    new_output(out, force)
    # Where patients are told in another way, a table that lies there has no say.
    afresh = template or patients_from is not None or bool(mapping)
    rows = open_cells(dataset, patients, afresh, classes).rows
    if template:
        splits.write_patients(out, rows)
        print(out)
        log(
            f"wrote {len(rows)} cells: fill in the column patient_id, then: "
            f"edge-malaria data split {dataset} --patients {out}"
        )
        return
    if mapping:
        rows = splits.apply_mapping(rows, splits.read_mapping(mapping))
    if patients_from is not None:
        rows, warnings = splits.patients_from(rows, patients_from)
        for warning in warnings:
            warn(warning)
    done = splits.split_by_patient(rows, seed)
    splits.write_patients(out, done)
    columns = ("split", "patients", "parasitized", "uninfected")
    print_table("", columns, splits.summary(done))
    log(f"wrote {out}: {len(done)} cells, no patient in two splits or folds")


def show(
    dataset: DataSetPath,
    out: Annotated[Path, typer.Option("-o", "--output", metavar="PNG", help="Picture to write.")],
    cells: Annotated[int, typer.Option(min=1, help="Cells of each class.")] = 32,
    columns: Annotated[int, typer.Option(min=1, max=64, help="Cells side by side.")] = 8,
    seed: Seed = 0,
    classes: ClassesOption = None,
    no_patients: NoPatientsOption = False,
    force: Force = False,
) -> None:
    """Draw a labelled panel of cells of both classes."""
    from edge_malaria.cli.output import log
    from edge_malaria.data.panel import cell_panel
    from edge_malaria.errors import UsageError
    from edge_malaria.files import write_image

    if out.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise UsageError(f"expected a picture's name such as panel.png, got {out}.")
    new_output(out, force)
    opened = open_cells(dataset, None, no_patients, classes)
    write_image(out, cell_panel(opened, cells, columns, seed))
    sick = sum(row.label for row in opened.rows)
    log(f"{dataset}: {sick} parasitized, {len(opened.rows) - sick} uninfected")
    print(out)
