"""Builds of the wheel, one at a time: setuptools writes its pieces into the checkout."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]


@contextmanager
def building() -> Iterator[None]:
    """Keeps the tests of other processes from building in this checkout meanwhile."""
    name = f"edge-malaria-wheel-{ROOT.stat().st_dev}-{ROOT.stat().st_ino}.lock"
    with (Path(tempfile.gettempdir()) / name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build_wheel(folder: Path) -> Path:
    """This checkout's wheel, written into ``folder``."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, ROOT]
    with building():
        subprocess.run(command, check=True, capture_output=True, timeout=600)
    [found] = folder.glob("edge_malaria-*.whl")
    return found
