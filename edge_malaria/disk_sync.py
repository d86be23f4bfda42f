"""Waiting until the disk has what was written, also on disks that cannot say so."""

from __future__ import annotations

import errno
import os
from pathlib import Path

# What a file system answers that lacks an operation, as those of USB sticks do (FAT, exFAT).
LACKING = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.EACCES)
_notes: list[str] = []


def storage_notes() -> list[str]:
    """What the disk written to lacks, and what that means; said once."""
    found = list(_notes)
    _notes.clear()
    return found


def _note_lacking(path: Path) -> None:
    if not _notes:
        _notes.append(
            f"the disk of {path} cannot be told to write at once, as many USB sticks: "
            "a power cut may lose what was written last."
        )


def fsync_file(handle: int, path: Path) -> None:
    """Waits until the disk has an open file; a disk that cannot say so is noted."""
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in LACKING:
            raise
        _note_lacking(path.parent)


def fsync_directory(path: Path) -> None:
    """Flushes a directory's entries, so that a rename in it survives a power cut.

    A file system that cannot is noted (``storage_notes``).
    """
    if os.name != "posix":
        return
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError as error:
        if error.errno not in LACKING:
            raise
        _note_lacking(path)
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in LACKING:
            raise
        _note_lacking(path)
    finally:
        os.close(handle)


def set_mode(path: str | Path, mode: int) -> None:
    """Replaces mkstemp's private mode; file systems without modes have nothing to replace."""
    try:
        os.chmod(path, mode)
    except OSError as error:
        if error.errno not in LACKING:
            raise
