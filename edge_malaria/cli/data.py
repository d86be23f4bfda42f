"""``edge-malaria data get|split|show|consensus|synth``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from edge_malaria.cli.dataset_options import ClassesOption, NoPatientsOption, open_cells

OutDirectory = Annotated[
    Path, typer.Option("-o", "--output", metavar="DIR", help="Directory to write.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same output.")]
DataSetPath = Annotated[
    Path, typer.Argument(metavar="DATASET", help="Folder or zip in the NIH layout.")
]
Parasitemia = Annotated[
    float, typer.Option(min=0, max=1, help="Chance that a red cell is infected, 0-1.")
]
Density = Annotated[
    float, typer.Option(min=0, max=0.8, help="Share of the area that red cells cover.")
]
Overlap = Annotated[
    float, typer.Option(min=0, max=1, help="Share of red cells that touch or overlap another.")
]
Diameter = Annotated[float, typer.Option(min=8, help="Diameter of a red cell, px.")]
Side = Annotated[int, typer.Option(min=32, help="Side of the picture, px.")]
StainName = Annotated[
    str | None, typer.Option(help="orange, pink, violet, slate, tan or magenta; default: any.")
]
BackgroundName = Annotated[
    str | None, typer.Option(help="white, grey, mint, brown or lilac; default: any.")
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
    synth = typer.Typer(help="Draw cells and smears with known truth.", no_args_is_help=True)
    synth.command("cells")(synth_cells)
    synth.command("field")(synth_field)
    synth.command("slide")(synth_slide)
    group.add_typer(synth, name="synth")
    app.add_typer(group, name="data")


@contextmanager
def _usage_errors() -> Iterator[None]:
    """A setting that the drawing refuses is the caller's mistake, not a crash."""
    from edge_malaria.errors import UsageError

    try:
        yield
    except ValueError as error:
        raise UsageError(f"{error}.") from error


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
    from edge_malaria.errors import OutputExists, UsageError

    if sum((bool(mapping), patients_from is not None, template, patients is not None)) > 1:
        raise UsageError("give one of --mapping, --patients-from, --template and --patients.")
    if out is None:
        folder = dataset if dataset.is_dir() else dataset.parent
        # Under another name, because a table with blank ids beside the cells is an error.
        out = folder / ("patients-template.csv" if template else "patients.csv")
    if out.exists() and not force:
        raise OutputExists(f"{out} exists. Choose another name or add --force.")
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
    from edge_malaria.errors import OutputExists, UsageError
    from edge_malaria.files import write_image

    if out.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise UsageError(f"expected a picture's name such as panel.png, got {out}.")
    if out.exists() and not force:
        raise OutputExists(f"{out} exists. Choose another name or add --force.")
    opened = open_cells(dataset, None, no_patients, classes)
    write_image(out, cell_panel(opened, cells, columns, seed))
    sick = sum(row.label for row in opened.rows)
    log(f"{dataset}: {sick} parasitized, {len(opened.rows) - sick} uninfected")
    print(out)


def synth_cells(
    out: OutDirectory,
    cells: Annotated[int, typer.Option(min=10, help="How many, half parasitized.")] = 1000,
    patients: Annotated[int, typer.Option(min=5, help="Drawn patients.")] = 20,
    size: Annotated[int, typer.Option(min=16, help="Typical diameter, px.")] = 130,
    seed: Seed = 0,
    force: Force = False,
) -> None:
    """Draw a DATASET of single cells in the NIH layout, with patients.csv."""
    from edge_malaria.cli.output import progress
    from edge_malaria.synthetic.write import write_cells

    with _usage_errors(), progress("cells", cells) as bar:
        write_cells(out, cells, seed, patients=patients, size_px=size, force=force, step=bar.step)
    print(out)


def synth_field(
    out: OutDirectory,
    fields: Annotated[int, typer.Option(min=1, help="How many.")] = 10,
    parasitemia: Parasitemia = 0.02,
    density: Density = 0.35,
    overlap: Overlap = 0.15,
    cell_diameter: Diameter = 70.0,
    width: Side = 1280,
    height: Side = 960,
    stain: StainName = None,
    background: BackgroundName = None,
    defocus: Annotated[float, typer.Option(min=0, help="Sigma of extra blur, px.")] = 0.0,
    seed: Seed = 0,
    force: Force = False,
) -> None:
    """Draw thin-smear fields, each of its own smear, with boxes in annotations.csv."""
    from edge_malaria.cli.output import progress
    from edge_malaria.synthetic.write import write_fields

    with _usage_errors(), progress("fields", fields) as bar:
        write_fields(
            out,
            fields,
            seed,
            force=force,
            step=bar.step,
            parasitemia=parasitemia,
            density=density,
            overlap=overlap,
            cell_diameter_px=cell_diameter,
            width_px=width,
            height_px=height,
            stain=stain,
            background=background,
            defocus_px=defocus,
        )
    print(out)


def synth_slide(
    out: OutDirectory,
    fields: Annotated[int, typer.Option(min=1, help="Stops of the stage.")] = 20,
    parasitemia: Parasitemia = 0.02,
    motion: Annotated[
        float, typer.Option(min=0, max=1, help="0: side by side; 1: travel, drift and overlap.")
    ] = 0.0,
    density: Density = 0.35,
    overlap: Overlap = 0.15,
    cell_diameter: Diameter = 70.0,
    width: Side = 1280,
    height: Side = 960,
    stain: StainName = None,
    background: BackgroundName = None,
    seed: Seed = 0,
    force: Force = False,
) -> None:
    """Draw the frames of a stage that moves over one slide, with boxes in annotations.csv."""
    from edge_malaria.cli.output import progress
    from edge_malaria.synthetic.write import write_slide

    with _usage_errors(), progress("frames", None) as bar:
        write_slide(
            out,
            fields,
            seed,
            force=force,
            step=bar.step,
            parasitemia=parasitemia,
            motion=motion,
            density=density,
            overlap=overlap,
            cell_diameter_px=cell_diameter,
            view_px=(width, height),
            stain=stain,
            background=background,
        )
    print(out)
