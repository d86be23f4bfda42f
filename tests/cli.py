"""Runs the installed command as a user does: another process, real exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """stdout as one JSON document."""
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """stderr, asserted to be a short error without a traceback."""
        assert "Traceback" not in self.err, self.err
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        return lines[0]


def validate(document: object, name: str) -> None:
    """Checks a ``--json`` document against its shipped JSON Schema."""
    schema = resources.files("edge_malaria.schemas").joinpath(f"{name}.json").read_text()
    jsonschema.validate(document, json.loads(schema))


def hear_ctrl_c() -> None:
    """For ``preexec_fn``: a shell's background job starts with SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run_cli(*arguments: str | Path, cwd: Path | None = None, timeout_s: float = 300) -> Ran:
    """Runs ``edge-malaria ARGUMENTS``."""
    environment = {**os.environ, "NO_COLOR": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-m", "edge_malaria.cli.app", *map(str, arguments)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=timeout_s,
        env=environment,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)
