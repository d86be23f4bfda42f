"""``edge-malaria data get|split|synth|show``."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Adds the ``data`` group to the app."""
    group = typer.Typer(help="Fetch, split, draw and look at data sets.", no_args_is_help=True)
    app.add_typer(group, name="data")
