"""``edge-malaria firmware BUNDLE -o DIR``"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_malaria.cli.options import JsonOption, open_named

if TYPE_CHECKING:
    from converters.firmware.to_c import Firmware


def register(app: typer.Typer) -> None:
    """Adds ``firmware``."""
    app.command("firmware")(firmware)


def firmware(
    bundle: Annotated[
        Path | None,
        typer.Argument(
            metavar="[BUNDLE]", help="Bundle, or a bare int8 .tflite. Default: the shipped bundle."
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Directory for the C files.")
    ] = Path("firmware"),
    cells: Annotated[
        int, typer.Option("--cells", min=1, max=64, help="Golden cells to write along.")
    ] = 8,
    force: Annotated[bool, typer.Option("--force", help="Replace the directory.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the int8 network as one C99 file for microcontrollers, with golden cells."""
    from converters.firmware import to_c
    from edge_malaria.cli.output import print_json

    if bundle is not None and bundle.suffix == ".tflite":
        made = to_c.generate(bundle, output, cells=cells, force=force)
    else:
        made = to_c.generate_from_bundle(open_named(bundle), output, cells=cells, force=force)
    if as_json:
        print_json(made.as_json())
    else:
        _print(made)


def _print(made: Firmware) -> None:
    from edge_malaria.cli.output import print_table

    layers = [
        (operator, "x".join(map(str, shape[1:])), macs, size)
        for operator, shape, macs, size in made.layers
    ]
    print_table("", ("step", "output", "MACs", "constants (bytes)"), layers)
    rows: list[tuple[str, object]] = [
        (f"flash: {what}", size) for what, size in made.flash_bytes.items()
    ]
    rows.append(("flash: code", "3,000-7,000 (docs/FIRMWARE.md)"))
    rows.append(("RAM: working memory", made.ram_bytes))
    rows.append(("RAM: stack", "under 512"))
    print_table(f"{made.identity.name} {made.identity.version}", ("memory", "bytes"), rows)
    for rounding, result in made.checks.items():
        typer.echo(f"golden cells, rounding of {rounding}: {made.golden_cells} cells {result}")
    typer.echo(f"wrote {made.folder}/edge_malaria_model.c and .h; run the golden cells here with:")
    typer.echo(f"  make -C {shlex.quote(str(made.folder))}")
