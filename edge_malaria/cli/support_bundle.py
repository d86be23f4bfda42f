"""``edge-malaria support-bundle``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_malaria.cli.options import ConfigOption


def register(app: typer.Typer) -> None:
    """Adds ``support-bundle``."""
    app.command("support-bundle")(support_bundle)


def support_bundle(
    out: Annotated[Path, typer.Option("-o", "--output", help="The zip to make.")],
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="The device's data folder.")
    ] = None,
    config: ConfigOption = None,
    log_file: Annotated[
        list[Path] | None,
        typer.Option("--log", help="A log to take the last lines of. [systemd's journal]"),
    ] = None,
    with_pictures: Annotated[
        bool, typer.Option("--with-pictures", help="Also the slides' pictures, under numbers.")
    ] = False,
) -> None:
    """Collect what helps to find a fault: versions, findings, settings, log, counts.

    It holds no sample code, no name, no password or its hash. Read it before you send it.
    """
    from edge_malaria.cli.output import log
    from edge_malaria.errors import UsageError
    from edge_malaria.support.bundle import write_support_bundle

    if out.suffix != ".zip":
        raise UsageError(f"-o {out}: expected a name that ends in .zip.")
    if data is not None and not data.is_dir():
        raise UsageError(f"--data {data} is no folder.")
    made = write_support_bundle(out, data, config, log_file or (), pictures=with_pictures)
    log(
        f"wrote {out}: {made.files} files, {made.slides} slides told of in numbers, "
        f"{made.pictures} pictures. Read it before you send it."
    )
