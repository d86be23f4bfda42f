"""``edge-malaria data synth cells|field|slide``: drawn cells and smears with known truth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from edge_malaria.cli.dataset_options import Force, OutDirectory, Seed

Parasitemia = Annotated[
    float, typer.Option(min=0, max=1, help="Chance that a red cell is infected, 0-1.")
]
Density = Annotated[
    float, typer.Option(min=0, max=0.8, help="Share of the area that red cells cover.")
]
Overlap = Annotated[
    float, typer.Option(min=0, max=1, help="Share of red cells that touch or overlap another.")
]
Diameter = Annotated[float, typer.Option(min=8, max=2000, help="Diameter of a red cell, px.")]
Side = Annotated[int, typer.Option(min=32, max=20_000, help="Side of the picture, px.")]
StainName = Annotated[
    str | None, typer.Option(help="orange, pink, violet, slate, tan or magenta; default: any.")
]
BackgroundName = Annotated[
    str | None, typer.Option(help="white, grey, mint, brown or lilac; default: any.")
]


def drawing_commands() -> typer.Typer:
    """The group ``synth``."""
    synth = typer.Typer(help="Draw cells and smears with known truth.", no_args_is_help=True)
    synth.command("cells")(synth_cells)
    synth.command("field")(synth_field)
    synth.command("slide")(synth_slide)
    return synth


@contextmanager
def _usage_errors() -> Iterator[None]:
    """A setting that the drawing refuses is the caller's mistake, not a crash."""
    from edge_malaria.errors import UsageError

    try:
        yield
    except ValueError as error:
        raise UsageError(f"{error}.") from error


def synth_cells(
    out: OutDirectory,
    cells: Annotated[
        int, typer.Option(min=10, max=1_000_000, help="How many, half parasitized.")
    ] = 1000,
    patients: Annotated[int, typer.Option(min=5, max=10_000, help="Drawn patients.")] = 20,
    size: Annotated[int, typer.Option(min=16, max=2000, help="Typical diameter, px.")] = 130,
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
    fields: Annotated[int, typer.Option(min=1, max=100_000, help="How many.")] = 10,
    parasitemia: Parasitemia = 0.02,
    density: Density = 0.35,
    overlap: Overlap = 0.15,
    cell_diameter: Diameter = 70.0,
    width: Side = 1280,
    height: Side = 960,
    stain: StainName = None,
    background: BackgroundName = None,
    defocus: Annotated[float, typer.Option(min=0, max=100, help="Sigma of extra blur, px.")] = 0.0,
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
    fields: Annotated[int, typer.Option(min=1, max=10_000, help="Stops of the stage.")] = 20,
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
