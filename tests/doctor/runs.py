"""``doctor`` in a process of its own, and what it found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import edge_malaria
from tests.cli import validate

ROOT = Path(edge_malaria.__file__).parents[1]


def command(
    *words: str, python: str = sys.executable, path: tuple[Path, ...] = ()
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-m", "edge_malaria.cli.entry", *words],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (*path, ROOT)))},
    )


def findings(ran: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stdout + ran.stderr
    document = json.loads(ran.stdout)
    validate(document, "doctor")
    found = {one["what"]: one for one in document["findings"]}
    for one in found.values():
        assert (one["fix"] != "") == (one["state"] != "ok"), one
    return found
