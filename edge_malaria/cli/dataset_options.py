"""Options of every command that opens a data set, and opening it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edge_malaria.data.dataset import Dataset

PatientsOption = Annotated[
    Path | None, typer.Option("--patients", help="A patients.csv that names every file.")
]
NoPatientsOption = Annotated[
    bool,
    typer.Option("--no-patients", help="Ignore a patients.csv that lies there: nobody is known."),
]
ClassesOption = Annotated[
    str | None,
    typer.Option(
        "--classes",
        help="The data set's own class names, such as infected,healthy, or "
        "A=parasitized,B=uninfected.",
    ),
]
UnknownPatientsOption = Annotated[
    bool,
    typer.Option(
        "--unknown-patients",
        help="Go on where patients are unknown, split by cell. Recorded; its figures are too good.",
    ),
]
OutDirectory = Annotated[
    Path, typer.Option("-o", "--output", metavar="DIR", help="Directory to write.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
Seed = Annotated[
    int,
    typer.Option("--seed", min=0, max=2**32 - 1, help="The same seed gives the same output."),
]


def open_cells(
    dataset: Path,
    patients: Path | None = None,
    no_patients: bool = False,
    classes: str | None = None,
    unknown_patients: bool = False,
) -> Dataset:
    """The data set that the options name; its warnings go to stderr.

    Raises:
        DatasetError, UsageError: see ``open_dataset``.
    """
    from edge_malaria.cli.output import warn
    from edge_malaria.data.dataset import open_dataset

    opened = open_dataset(
        dataset,
        patients,
        no_patients=no_patients,
        classes=classes,
        unknown_patients=unknown_patients,
    )
    for warning in opened.warnings:
        warn(warning)
    return opened
