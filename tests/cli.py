"""Runs the command as a user does, with real exit codes: in this process, or in one of its own.

In this process the real command runs, from its arguments to its exit code; only the start of Python
and of TensorFlow is saved. Each command is also started as a real process at least once
(tests/e2e/test_commands.py proves it), and so are all tests of signals and full disks.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import warnings
from contextlib import ExitStack, chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any
from unittest import mock

import jsonschema

from edge_malaria.cli.app import execute


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


def run_cli(*arguments: str | Path, cwd: Path | None = None) -> Ran:
    """Runs ``edge-malaria ARGUMENTS`` in this process.

    Environment, working directory and warning filters are afterwards what they were before. What
    compiled libraries write to file descriptor 2 is not caught.
    """
    out, err = io.StringIO(), io.StringIO()
    words = [str(argument) for argument in arguments]
    with ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, {"NO_COLOR": "1"}))
        stack.enter_context(mock.patch.object(sys, "argv", ["edge-malaria", *words]))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("default")
        if cwd is not None:
            stack.enter_context(chdir(cwd))
        stack.enter_context(redirect_stdout(out))
        stack.enter_context(redirect_stderr(err))
        code = execute(words)
    return Ran(code, out.getvalue(), err.getvalue())


def run_process(*arguments: str | Path, cwd: Path | None = None, timeout_s: float = 300) -> Ran:
    """Runs ``edge-malaria ARGUMENTS`` as a process of its own."""
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
