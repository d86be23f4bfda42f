"""The report directory: what may lie in it, and making room for another report."""

from __future__ import annotations

import shutil
from pathlib import Path

from edge_malaria.errors import OutputExists, UsageError
from edge_malaria.files import storage_errors
from edge_malaria.runtime.screen.field_pictures import FIELDS_FOLDER
from edge_malaria.runtime.slide.directory_lock import DirectoryLock
from edge_malaria.runtime.slide.journal import NAME as JOURNAL_NAME
from edge_malaria.runtime.slide.journal import TORN_NAME

_OURS = (
    JOURNAL_NAME, TORN_NAME, "report.json", "report.md", "report.html", "cells.csv", FIELDS_FOLDER,
)  # fmt: skip


def check_directory(directory: Path, *, force: bool) -> None:
    """Refuses a directory that a new report may not have; changes nothing.

    Raises:
        OutputExists: there is something already, and not ``force``.
        UsageError: ``force`` on a folder that holds anything but a report.
        StorageError: not readable.
    """
    if directory.exists() and not directory.is_dir():
        raise OutputExists(f"{directory} is a file. Choose another name for the report.")
    with storage_errors(directory):
        inside = list(directory.iterdir()) if directory.is_dir() else []
    if not inside:
        return
    if not force:
        raise OutputExists(
            f"{directory} exists. Choose another name, add --resume to go on, or --force."
        )
    strange = [p.name for p in inside if p.name not in _OURS and not p.name.startswith(".")]
    if strange:
        raise UsageError(
            f"{directory} holds other things than a report ({', '.join(sorted(strange)[:3])}): "
            "--force does not delete them."
        )


def clear_directory(directory: Path) -> None:
    """Deletes an earlier report, after ``check_directory``.

    Raises:
        OutputExists: another process writes into it.
        StorageError: not writable.
    """
    if not directory.is_dir():
        return
    lock = DirectoryLock(directory)
    try:
        with storage_errors(directory):
            for path in directory.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()
    finally:
        lock.release()
