"""Files that all test processes of one run share: the first that needs one makes it.

Networks and bundles take seconds to make, and the processes of ``pytest -n`` need the same ones.
No test changes such a file: one that wants to copies it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The file or folder ``name`` of this run; ``make(path)`` makes it where it is missing.

    What a failed ``make`` left is never taken for it: a whole one is renamed into its place.
    """
    place = _folder_of_the_run(factory) / "made-once"
    place.mkdir(exist_ok=True)
    with _alone(place / f"{name}.lock"):
        if not (place / name).exists():
            part = factory.mktemp("made") / name
            make(part)
            part.rename(place / name)
    return place / name


def _folder_of_the_run(factory: pytest.TempPathFactory) -> Path:
    own = factory.getbasetemp()
    # Without locks (Windows) each process makes its own.
    shared = "PYTEST_XDIST_WORKER" in os.environ and os.name == "posix"
    return own.parent if shared else own


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keeps the other processes waiting meanwhile; a process that dies lets them in."""
    with path.open("w") as lock:
        if os.name == "posix":
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
