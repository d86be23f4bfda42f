"""Runs pytest as a process of its own, as in somebody else's project."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

# Not a part of any of these sessions; loading it takes most of a short session's time.
_WITHOUT = ("schemathesis", "hypothesispytest", "anyio")


def pytest_in(
    cwd: Path, *arguments: str | Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs ``pytest ARGUMENTS`` in ``cwd``, with nothing kept for the next run.

    ``environment``: the whole of it, where it is not this process's.
    """
    left_out = [word for name in _WITHOUT for word in ("-p", f"no:{name}")]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *left_out]
    return subprocess.run(
        [*command, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=300,
        check=False,
        env=dict(os.environ if environment is None else environment),
    )
