"""The slides of a manifest on the workers of a cluster; see ``cluster``.

A worker that dies takes no slide with it: the scheduler gives the slide to another, which goes on
after the last field in its journal.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from edge_malaria.batch.cluster import each_done
from edge_malaria.batch.manifest import Slide
from edge_malaria.batch.slide_task import Row, Settings, failed, finished, run_slide
from edge_malaria.bundle.format import read_bundle
from edge_malaria.files import write_json
from edge_malaria.run_settings import refuse_other_settings
from edge_malaria.runtime.screen.config import load_config
from edge_malaria.runtime.screen.screening import bundle_sha256

SETTINGS = "batch.json"


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
    rows: dict[str, Row] = {}
    waiting: list[Slide] = []
    for slide in slides:
        done = finished(Path(settings.out), slide)
        if done is None:
            waiting.append(slide)
        else:
            rows[slide.name] = done
            step(done)
    for slide, future in each_done(client, partial(run_slide, settings=settings), waiting):
        row = _row(future, slide)
        rows[slide.name] = row
        step(row)
    return rows


def _row(future: Any, slide: Slide) -> Row:
    """What became of a slide; a worker that died under it again and again is its reason."""
    try:
        found = future.result()
    except Exception as error:  # whatever a worker could not send back
        return failed(slide, f"{type(error).__name__}: {error}")
    if not isinstance(found, Row):
        return failed(slide, f"expected a row, got {found!r}")
    return _small(found)


def _small(row: Row) -> Row:
    """The row with one copy of the words that thousands of slides share."""
    shared = sys.intern
    return replace(
        row,
        verdict=shared(row.verdict),
        basis=shared(row.basis),
        status=shared(row.status),
        reason=shared(row.reason),
        site=shared(row.site),
        reference=shared(row.reference),
    )
