"""A command as a user runs it, in a process of its own: exit code, seconds, peak memory, words."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any


def timed(*arguments: object, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Runs ``edge-malaria ARGUMENTS``; exit code, seconds, peak memory, last words, stdout."""
    command = [sys.executable, "-m", "edge_malaria.cli.app", *map(str, arguments)]
    started = time.monotonic()
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    out, err = child.stdout, child.stderr
    assert out is not None and err is not None
    said = out.read()
    heard = err.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    lines = [line for line in heard.splitlines() if line.strip()]
    return {
        "exit": child.returncode,
        "elapsed_s": round(time.monotonic() - started, 1),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_mib": usage.ru_maxrss // 1024,
        "said": _reason(lines) if child.returncode else "",
        "out": said,
    }


def _reason(lines: list[str]) -> str:
    """The first thing that a failed command said: its error, or a gate's first failure."""
    errors = [index for index, line in enumerate(lines) if line.startswith("error: ")]
    if not errors:
        return lines[-1][:200] if lines else ""
    error, *more = lines[errors[0] :]
    return (more[0].strip() if "parity gate refused" in error and more else error)[:200]
