"""One process at a time writes into a report directory; the lock dies with its process."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from edge_malaria.errors import OutputExists

if sys.platform == "win32":
    import msvcrt

    # What a lock that another process holds raises.
    _HELD: type[OSError] = PermissionError
else:
    import fcntl

    _HELD: type[OSError] = BlockingIOError


class DirectoryLock:
    """Holds a directory until ``release``, or until the process ends, however it ends.

    The directory itself is locked, so no file is left behind (on Windows ``.lock`` is). Where the
    file system knows no locks, ``held`` is False and nothing is held.

    Raises:
        OutputExists: another process holds it.
    """

    def __init__(self, directory: Path) -> None:
        self.held = True
        self._handle = -1
        try:
            self._handle = _locked(directory)
        except _HELD as error:
            raise OutputExists(
                f"{directory} is in use by another edge-malaria that still runs. "
                "Wait for it, or choose another directory."
            ) from error
        except OSError:
            self.held = False

    def release(self) -> None:
        """Lets others have the directory."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _locked(directory: Path) -> int:
    if sys.platform == "win32":
        handle = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            os.close(handle)
            raise
        return handle
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle
