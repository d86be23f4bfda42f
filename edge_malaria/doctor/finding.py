"""A finding of the doctor, and the child process in which risky things are tried."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "missing", "problem"]
_TIMEOUT_S = 120


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report.

    Attributes:
        what: the thing looked at.
        state: ok, missing (optional and absent, or not to be told here), or problem.
        detail: what was seen.
        fix: a command or a sentence; empty where nothing is to do.
    """

    what: str
    state: State
    detail: str
    fix: str = ""

    def as_json(self) -> dict[str, str]:
        """The JSON object in ``doctor --json``."""
        return {"what": self.what, "state": self.state, "detail": self.detail, "fix": self.fix}


def child(program: str, *arguments: str) -> tuple[bool, str]:
    """Runs a program in a process of its own.

    Returns:
        Whether it ended well, and its output or the reason why not, one line.
    """
    command = [sys.executable, "-c", program, *arguments]
    try:
        ran = subprocess.run(
            command, capture_output=True, timeout=_TIMEOUT_S, check=False, text=True,
            errors="replace",
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False, f"no answer in {_TIMEOUT_S} s"
    except OSError as error:
        return False, f"a child process cannot be started: {error}"
    if ran.returncode == 0:
        return True, ran.stdout.strip()
    if ran.returncode < 0:
        return False, f"killed by signal {-ran.returncode} (4 is an illegal instruction)"
    lines = [line for line in ran.stderr.strip().splitlines() if line.strip()]
    return False, (lines or ["unknown error"])[-1].strip()[:200]
