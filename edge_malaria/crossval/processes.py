"""Independent pieces of work in processes of their own that die with the one that started them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from typing import Any

from edge_malaria.errors import (
    BundleError,
    DataError,
    EdgeMalariaError,
    EnvironmentProblem,
    GateFailed,
    UsageError,
)

_BY_CODE = {
    kind.exit_code: kind
    for kind in (GateFailed, UsageError, EnvironmentProblem, BundleError, DataError)
}


def in_processes(work: Callable[[Any], None], tasks: Sequence[Any], jobs: int) -> None:
    """Calls ``work(task)`` for every task, at most ``jobs`` at a time, each in a fresh process.

    When one fails, or this process is interrupted or killed, the others end too.

    Args:
        work: a function of a module (it is named to the children, not copied).
        tasks: arguments, picklable.
        jobs: how many at a time.

    Raises:
        EdgeMalariaError: the first failing child's, with its message and exit code.
        EnvironmentProblem: a child ended without saying why, for example killed for its memory.
        KeyboardInterrupt: passed on after the children have ended.
    """
    context = get_context("spawn")
    waiting = list(tasks)
    running: list[tuple[Any, Connection]] = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                ours, theirs = context.Pipe(duplex=False)
                child = context.Process(
                    target=_child, args=(work, waiting.pop(0), theirs), daemon=True
                )
                child.start()
                theirs.close()
                running.append((child, ours))
            wait([child.sentinel for child, _ in running])
            for child, ours in [pair for pair in running if not pair[0].is_alive()]:
                running.remove((child, ours))
                _judge(child, ours)
    finally:
        for child, _ in running:
            child.kill()
        for child, _ in running:
            child.join()


def _judge(child: Any, ours: Connection) -> None:
    child.join()
    if child.exitcode == 0:
        return
    try:
        code, message = ours.recv()
    except EOFError:
        raise EnvironmentProblem(
            f"a worker process ended with code {child.exitcode} (out of memory?): "
            "try fewer --jobs. What is finished is kept."
        ) from None
    raise _BY_CODE.get(code, EdgeMalariaError)(message)


def _child(work: Callable[[Any], None], task: Any, theirs: Connection) -> None:
    # Ctrl-C reaches the whole group; the parent decides when a child ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        work(task)
    except EdgeMalariaError as error:
        theirs.send((error.exit_code, str(error)))
        raise SystemExit(1) from error


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(130)
