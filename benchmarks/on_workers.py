"""Commands of measurements on the cluster that ``batch`` uses: ``--scheduler | --workers``.

Each runs in a process of its own below a worker, in this checkout, which a worker elsewhere must
have under the same path. It ends with its worker, so that the one that takes it up is alone.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.evidence_file import ROOT
from edge_malaria.batch.cluster import each_done, open_client

TIMED_OUT, LOST = 124, 125
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        name: what it is called.
        arguments: after ``python``.
        minutes: it is stopped then; None for never.
    """

    name: str
    arguments: tuple[str, ...]
    minutes: float | None = None


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, the seconds it took and what it printed."""

    code: int
    seconds: float
    out: str


def add_options(parser: argparse.ArgumentParser) -> None:
    """``--scheduler`` and ``--workers``."""
    parser.add_argument("--scheduler", help="address of a dask scheduler that gets the jobs")
    parser.add_argument("--workers", type=int, default=1, help="jobs at a time on this machine")


def run_command(command: Command) -> Ended:
    """Runs a command to its end; its standard error goes where the worker's goes."""
    started = time.monotonic()
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    with subprocess.Popen(
        [sys.executable, *command.arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=_end_with_parent if sys.platform == "linux" else None,
    ) as child:
        try:
            minutes = command.minutes
            out, _ = child.communicate(timeout=None if minutes is None else 60 * minutes)
            code = child.returncode
        except subprocess.TimeoutExpired:
            child.kill()
            out, code = "", TIMED_OUT
        except BaseException:
            child.kill()
            raise
    return Ended(int(code), time.monotonic() - started, out)


def run_commands(
    commands: Sequence[Command],
    scheduler: str | None,
    workers: int,
    done: Callable[[Command, Ended], None],
) -> None:
    """Runs every command: one by one here, or on a cluster; ``done`` is called as each ends.

    Args:
        commands: in the order in which they are begun.
        scheduler: address of a running one; None for processes here.
        workers: at a time on this machine; 1 needs no cluster.
        done: gets the command and how it ended; ``LOST`` where workers died under it.
    """
    if scheduler is None and workers == 1:
        for command in commands:
            done(command, run_command(command))
        return
    with open_client(scheduler, workers, lambda line: print(line, file=sys.stderr)) as client:
        for command, future in each_done(client, run_command, commands):
            try:
                ended = future.result()
            except Exception as error:  # whatever a worker could not send back
                ended = Ended(LOST, 0.0, f"{type(error).__name__}: {error}")
            done(command, ended)


def _end_with_parent() -> None:
    """In the child: the kernel ends it with the thread that began it (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
