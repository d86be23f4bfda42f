"""Slides on the workers of a dask.distributed cluster, or of one that lives as long as the batch.

Only a few slides more than there are workers are handed out at a time, so the memory of client and
scheduler does not grow with the manifest. A worker that dies takes no slide with it: the scheduler
gives the slide to another, which goes on after the last field in its journal.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_malaria.batch.manifest import Slide
from edge_malaria.batch.slide_task import Row, Settings, failed, finished, run_slide
from edge_malaria.bundle.format import read_bundle
from edge_malaria.errors import EnvironmentProblem, MissingExtra
from edge_malaria.files import write_json
from edge_malaria.run_settings import refuse_other_settings
from edge_malaria.runtime.screen.config import load_config
from edge_malaria.runtime.screen.screening import bundle_sha256

SETTINGS = "batch.json"
# Handed out beyond what runs, so that no worker waits for the client.
_AHEAD = 2


def same_settings(settings: Settings) -> None:
    """Keeps the batch's settings in its directory, and refuses to go on with others.

    Raises:
        ConfigError: the directory was begun with another bundle or other settings; or the
            configuration cannot be read.
        DataError: what was kept of them is damaged.
    """
    path = Path(settings.out) / SETTINGS
    now: dict[str, Any] = {
        **asdict(settings),
        "bundle": bundle_sha256(read_bundle(settings.bundle)),
        # What it says, not where it lies.
        "config": load_config(Path(settings.config) if settings.config else None).as_json(),
    }
    del now["out"]
    refuse_other_settings(path, now)
    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, now)


@contextmanager
def open_client(
    scheduler: str | None, workers: int | None, say: Callable[[str], None]
) -> Iterator[Any]:
    """A client of the cluster at ``scheduler``, or of one of ``workers`` processes made here.

    Args:
        scheduler: ``tcp://host:8786``; None makes a cluster that ends with the batch.
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


def run_batch(
    slides: Sequence[Slide],
    settings: Settings,
    client: Any,
    step: Callable[[Row], None] = lambda row: None,
) -> dict[str, Row]:
    """Screens every slide that an earlier run did not finish.

    Args:
        slides: of the manifest.
        settings: shared by all.
        client: of ``open_client``.
        step: called with each row, those of earlier runs included.

    Returns:
        A row for each slide, by its name.
    """
    from distributed import as_completed

    rows: dict[str, Row] = {}
    waiting: list[Slide] = []
    for slide in slides:
        done = finished(Path(settings.out), slide)
        if done is None:
            waiting.append(slide)
        else:
            rows[slide.name] = done
            step(done)
    waiting.reverse()
    handed: dict[str, Slide] = {}
    completed = as_completed(loop=client.loop)

    def hand_out() -> None:
        slots = max(1, len(client.scheduler_info()["workers"])) + _AHEAD
        while waiting and len(handed) < slots:
            slide = waiting.pop()
            future = client.submit(run_slide, slide, settings, pure=False)
            handed[future.key] = slide
            completed.add(future)

    hand_out()
    while handed:
        future = next(completed)
        slide = handed.pop(future.key)
        row = _row(future, slide)
        rows[slide.name] = row
        future.release()
        step(row)
        hand_out()
    return rows


def _row(future: Any, slide: Slide) -> Row:
    """What became of a slide; a worker that died under it again and again is its reason."""
    try:
        found = future.result()
    except Exception as error:  # whatever a worker could not send back
        return failed(slide, f"{type(error).__name__}: {error}")
    return found if isinstance(found, Row) else failed(slide, f"expected a row, got {found!r}")
