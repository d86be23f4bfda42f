"""``edge-malaria doctor`` and ``edge-malaria selftest BUNDLE``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_malaria.cli.options import JsonOption


def register(app: typer.Typer) -> None:
    """Adds ``doctor`` and ``selftest``."""
    app.command("doctor")(doctor)
    app.command("selftest")(selftest)


def doctor(
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="The device's data folder.")
    ] = None,
    camera: Annotated[
        str, typer.Option("--camera", help="The camera to try. [the first one there]")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Look at packages, camera, disk, memory, clock and power; say how to fix what is not right."""
    from edge_malaria.doctor import main

    words = ["--json"] * as_json + (["--data", str(data)] if data else [])
    main(words + (["--camera", camera] if camera else []))


def selftest(
    bundle: Annotated[
        Path | None, typer.Argument(metavar="[BUNDLE]", help="Default: the shipped one.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check on this machine that a bundle's files are whole and give their recorded outputs."""
    from edge_malaria.bundle.selftest import run_selftest
    from edge_malaria.cli.options import open_named
    from edge_malaria.cli.output import print_json, print_table
    from edge_malaria.errors import GateFailed

    result = run_selftest(open_named(bundle))
    if as_json:
        print_json(result.as_json())
    else:
        rows = [
            (
                r.engine,
                r.variant,
                r.cells,
                r.differing,
                r.largest_step,
                "ok" if r.passed else "FAIL",
            )
            for r in result.rows
        ]
        columns = ("engine", "variant", "cells", "outputs that differ", "largest difference", "")
        print_table(f"{result.bundle}: {result.files} files whole", columns, rows)
        for line in result.not_run:
            print(f"not run: {line}")
    if not result.passed:
        raise GateFailed("; ".join(result.failures) or "selftest compared nothing.")
