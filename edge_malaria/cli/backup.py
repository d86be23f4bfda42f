"""``edge-malaria backup`` and ``edge-malaria restore``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_malaria.cli.output import log, progress, warn


def register(app: typer.Typer) -> None:
    """Adds ``backup`` and ``restore``."""
    app.command("backup")(backup)
    app.command("restore")(restore)


def backup(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="The device's data folder.")],
    out: Annotated[Path, typer.Option("-o", "--output", help="The zip to make.")],
) -> None:
    """Put a device's database and all its slides into one zip, while it works on."""
    from edge_malaria.runtime.store.backup import write_backup

    with progress("files", None) as bar:
        made = write_backup(data, out, bar.step)
    log(
        f"wrote {out}: {made.slides} slides, {made.files} files, {made.bytes / 1e6:.1f} MB unpacked"
    )


def restore(
    backup_file: Annotated[Path, typer.Argument(metavar="BACKUP", help="Zip of `backup`.")],
    data: Annotated[Path, typer.Option("-o", "--output", help="A new data folder.")],
) -> None:
    """Unpack a backup into a new data folder, every part checked, and read the slides anew."""
    from edge_malaria.runtime.store.backup import restore_backup
    from edge_malaria.runtime.store.database import open_database
    from edge_malaria.runtime.store.slides import Worklist

    with progress("files", None) as bar:
        made = restore_backup(backup_file, data, bar.step)
    connection = open_database(data)
    try:
        for words in Worklist(connection, data).rebuild():
            warn(f"a slide's journal could not be read: {words}")
    finally:
        connection.close()
    log(f"restored {made.slides} slides into {data}")
