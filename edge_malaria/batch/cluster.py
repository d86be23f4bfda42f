"""Work on the workers of a dask.distributed cluster, or of one that lives as long as its block.

Slides of a batch, folds of a cross-validation and jobs of the evidence are handed out here. Only a
few more than there are workers are out at a time, so the memory of client and scheduler does not
grow with the number of tasks. What a dying worker was at is done by another one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from edge_malaria.errors import (
    BundleError,
    DataError,
    EdgeMalariaError,
    EnvironmentProblem,
    GateFailed,
    MissingExtra,
    UsageError,
)

# Handed out beyond what runs, so that no worker waits for the client.
_AHEAD = 2
_BY_CODE = {
    kind.exit_code: kind
    for kind in (GateFailed, UsageError, EnvironmentProblem, BundleError, DataError)
}

Task = TypeVar("Task")


@contextmanager
def open_client(
    scheduler: str | None, workers: int | None, say: Callable[[str], None]
) -> Iterator[Any]:
    """A client of the cluster at ``scheduler``, or of one of ``workers`` processes made here.

    Args:
        scheduler: ``tcp://host:8786``; None makes a cluster that ends with the block.
        workers: of the cluster made here; None: one a core.
        say: told where the dashboard is.

    Raises:
        MissingExtra: dask.distributed is not installed.
        EnvironmentProblem: nothing answers at ``scheduler``.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise MissingExtra("dask.distributed", "cluster") from error
    if scheduler is not None:
        try:
            client = Client(scheduler, timeout="20s", set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise EnvironmentProblem(f"no scheduler answers at {scheduler}: {error}.") from error
        with client:
            say(f"dashboard: {client.dashboard_link}")
            yield client
        return
    count = workers or os.cpu_count() or 1
    # One thread a worker: engines and OpenCV bring threads of their own.
    with (
        LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
            silence_logs=50,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        say(f"{count} workers, dashboard: {client.dashboard_link}")
        yield client


def each_done(
    client: Any, work: Callable[[Task], Any], tasks: Sequence[Task]
) -> Iterator[tuple[Task, Any]]:
    """Hands out ``work(task)`` for every task, and gives back each as it ends.

    Where the caller stops early, what is still out is called back.

    Args:
        client: of ``open_client``.
        work: a function of a module, or a ``partial`` of one.
        tasks: arguments that can be pickled.

    Yields:
        The task and its dask future, released when the next one is asked for.
    """
    from distributed import as_completed

    waiting = list(reversed(tasks))
    handed: dict[str, tuple[Task, Any]] = {}
    completed = as_completed(loop=client.loop)

    def hand_out() -> None:
        slots = max(1, len(client.scheduler_info()["workers"])) + _AHEAD
        while waiting and len(handed) < slots:
            task = waiting.pop()
            future = client.submit(work, task, pure=False)
            handed[future.key] = task, future
            completed.add(future)

    hand_out()
    try:
        while handed:
            future = next(completed)
            task, _ = handed.pop(future.key)
            yield task, future
            future.release()
            hand_out()
    finally:
        client.cancel([future for _, future in handed.values()])


def run_all(client: Any, work: Callable[[Task], Any], tasks: Sequence[Task]) -> None:
    """Calls ``work(task)`` for every task on the workers; the first failure calls the rest back.

    Args:
        client: of ``open_client``.
        work: a function of a module.
        tasks: arguments that can be pickled.

    Raises:
        EdgeMalariaError: the first one that a task raised, with its message and exit code.
        EnvironmentProblem: workers died under a task again and again, or it raised something else.
    """
    for task, future in each_done(client, partial(_answered, work), tasks):
        try:
            code, message = future.result()
        except Exception as error:  # whatever a worker could not send back
            raise EnvironmentProblem(
                f"{task} failed ({type(error).__name__}: {error}). Where memory was short, try "
                "fewer --workers. What is finished is kept."
            ) from error
        if code is not None:
            raise _BY_CODE.get(code, EdgeMalariaError)(message)


def _answered(work: Callable[[Any], Any], task: Any) -> tuple[int | None, str]:
    """On a worker: an error's exit code and message; not every error can be pickled."""
    try:
        work(task)
    except EdgeMalariaError as error:
        return error.exit_code, str(error)
    return None, ""
