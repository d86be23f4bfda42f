"""Options that say what a model of somebody else expects and answers."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edge_malaria.data.dataset import Dataset
    from edge_malaria.export import Declared, Loading

_PANEL = "A model of somebody else"

RangeOption = Annotated[
    str | None,
    typer.Option(
        "--input-range",
        help="What its pixels are: 0-1, -1-1, 0-255, imagenet or caffe.",
        rich_help_panel=_PANEL,
    ),
]
ColourOption = Annotated[
    str | None,
    typer.Option(
        "--colour",
        help="The order in which the network takes its channels: rgb or bgr (cv2.imread).",
        rich_help_panel=_PANEL,
    ),
]
ResizeOption = Annotated[
    str | None,
    typer.Option(
        "--resize",
        help="How its cells were brought to one size: area, linear, nearest or pad.",
        rich_help_panel=_PANEL,
    ),
]
CellMaskOption = Annotated[
    str | None,
    typer.Option(
        "--mask",
        help="black: its cells lay on black (the NIH set). none: their surroundings were visible.",
        rich_help_panel=_PANEL,
    ),
]
OutputOption = Annotated[
    str | None,
    typer.Option(
        "--output",
        help="What it answers: logit, sigmoid or softmax. (The bundle's name is -o.)",
        rich_help_panel=_PANEL,
    ),
]
ClassesOption = Annotated[
    str | None,
    typer.Option(
        "--classes",
        help="Names in the order of its outputs; of one output, the names of 0 and of 1. The "
        "data set's folders may have these names too.",
        rich_help_panel=_PANEL,
    ),
]
SizeOption = Annotated[
    int | None,
    typer.Option(
        "--input-size", help="Side in px, where its file leaves it open.", rich_help_panel=_PANEL
    ),
]
CustomOption = Annotated[
    str | None,
    typer.Option(
        "--custom-objects",
        metavar="MODULE",
        help="Run this module's code, for a Keras file with layers of its author's.",
        rich_help_panel=_PANEL,
    ),
]
ArchOption = Annotated[
    str | None,
    typer.Option(
        "--arch",
        help="The network of this project that a file of weights alone belongs to.",
        rich_help_panel=_PANEL,
    ),
]
ExpectOption = Annotated[
    Path | None,
    typer.Option(
        "--expect",
        metavar="CSV",
        help="The author's own answers (file, p_parasitized), which must come out again.",
        rich_help_panel=_PANEL,
    ),
]
SuggestOption = Annotated[
    bool,
    typer.Option(
        "--suggest",
        help="Try the contracts that are possible on val cells of --data, print a table, stop.",
        rich_help_panel=_PANEL,
    ),
]


def declaration(
    input_range: str | None,
    colour: str | None,
    resize: str | None,
    mask: str | None,
    output: str | None,
    classes: str | None,
    input_size: int | None,
) -> Declared:
    """The options as one record."""
    from edge_malaria.export import Declared
    from edge_malaria.export.importers.contract import split_classes

    names = None if classes is None else split_classes(classes)
    return Declared(input_range, colour, resize, mask, output, names, input_size)


@contextmanager
def asking(*, options: bool = True) -> Iterator[None]:
    """While this is open, a question about a contract repeats the line as it was typed.

    Args:
        options: whether the command has the options; else the question is about the TOML.
    """
    from edge_malaria.export.importers.contract import Incomplete

    try:
        yield
    except Incomplete as error:
        words = [word for word in sys.argv[1:] if word != "--debug"]
        raise error.on(shlex.join(["edge-malaria", *words]) if options else "") from error


def print_suggestions(model: str, declared: Declared, loading: Loading, dataset: Dataset) -> None:
    """The table of ``--suggest``."""
    from edge_malaria.cli.output import log, print_table
    from edge_malaria.export.importers import importing, proof
    from edge_malaria.records import RESEARCH_USE

    original, full = importing.open_original(Path(model), declared, loading)
    told = importing.facts_of(original)
    for key, value in told.items():
        log(f"contract  {key.replace('_', ' ')} {value} (read from the file)")
    tried = proof.suggest(original, full, told, dataset)
    rows = [
        (
            f"{one.accuracy:.3f}",
            f"{one.auc:.3f}",
            one.contract.input_range,
            one.contract.colour,
            one.contract.resize,
            ",".join(one.contract.classes),
        )
        for one in tried[:12]
    ]
    columns = ("accuracy", "AUC", "range", "colour", "resize", "classes")
    print_table(f"{model}: {len(tried)} contracts tried on val cells, best first", columns, rows)
    print(
        "Several may look alike: the author's script knows which is true. None was chosen. The "
        f"first as a line to type:\n  {proof.line_to_type(model, tried[0].contract)}\n"
        f"{RESEARCH_USE}"
    )
