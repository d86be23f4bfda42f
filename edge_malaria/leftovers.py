"""What a killed process left beside a directory or a large file that it was writing.

Both are written under a hidden name and then renamed. Where the process is killed or the power
fails, the hidden one stays; the next writing of the same directory, or of the same backup, sweeps
it. A process that still writes holds a lock that dies with it, so nothing of a living one is
touched.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

OLD = ".old"
# Between making a directory and locking it a process holds nothing.
_YOUNG_S = 30.0


def _fcntl() -> Any:
    """Python's module of file locks; None on Windows, where nothing is swept."""
    try:
        return importlib.import_module("fcntl")
    except ImportError:
        return None


@contextmanager
def held(written: Path) -> Iterator[None]:
    """Locks what is being written, for as long as the block or this process lives."""
    handle = _lock(written)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _lock(written: Path) -> int | None:
    """A descriptor that holds the lock; None where another process has it."""
    fcntl = _fcntl()
    if fcntl is None:
        return None
    try:
        handle = os.open(written, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def sweep(path: Path) -> None:
    """Removes what killed writings of ``path`` left beside it.

    A directory that was moved aside for a new one which never came is put back.
    """
    if _fcntl() is None or not path.parent.is_dir():
        return
    pattern = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}({re.escape(OLD)})?")
    with suppress(OSError):
        for found in sorted(path.parent.iterdir()):
            ours = pattern.fullmatch(found.name) and not found.is_symlink()
            if ours and (found.is_dir() or found.is_file()):
                _sweep_one(found, path)


def _sweep_one(found: Path, path: Path) -> None:
    old = found.name.endswith(OLD)
    # Moving aside and renaming take a moment; a clock set back keeps a leftover a while longer.
    if not (time.time() - found.stat().st_ctime > _YOUNG_S):
        return
    handle = _lock(found)
    if handle is None:
        return
    try:
        if old and not path.exists():
            os.replace(found, path)
        elif found.is_dir():
            shutil.rmtree(found, ignore_errors=True)
        else:
            found.unlink()
    finally:
        os.close(handle)
