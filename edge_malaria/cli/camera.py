"""``edge-malaria camera empty-place``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_malaria.cli.options import ConfigOption, new_output


def register(app: typer.Typer) -> None:
    """Adds ``camera``."""
    camera = typer.Typer(no_args_is_help=True, help="Set up the camera at the microscope.")
    camera.callback()(_camera)
    camera.command("empty-place")(empty_place)
    app.add_typer(camera, name="camera")


def _camera() -> None:
    """Set up the camera at the microscope."""


def empty_place(
    source: Annotated[str, typer.Argument(metavar="CAMERA", help="camera:0 or picamera.")],
    out: Annotated[Path, typer.Option("-o", "--output", help="JSON to write; a PNG beside it.")],
    config: ConfigOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier one.")] = False,
) -> None:
    """Take the picture of an empty place: later fields are divided by it.

    Exposure and white balance are kept with it, and later slides are taken with the same. Move to
    a place of the slide without cells, with focus and light as for reading.
    """
    from edge_malaria.cli.output import log
    from edge_malaria.errors import UsageError
    from edge_malaria.runtime.screen.config import load_config
    from edge_malaria.runtime.sources.camera_opening import take_empty_place
    from edge_malaria.runtime.sources.empty_place import write_empty_place

    if out.suffix != ".json":
        raise UsageError(f"-o {out}: expected a name that ends in .json.")
    new_output(out, force)
    settings = load_config(config)
    place = take_empty_place(source, settings.source, settings.camera)
    write_empty_place(out, place)
    height, width = place.picture.shape[:2]
    log(
        f"wrote {out}: {width} x {height} px. "
        f'Use it: [camera] empty_place = "{out.resolve()}" in --config'
    )
