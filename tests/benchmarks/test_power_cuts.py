"""The measurement of power cuts in short: a few kills, and a disk that fills."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="the pages need the [serve] extra")
pytest.importorskip("paho.mqtt", reason="sending needs the [push] extra")

from benchmarks.serve.disk_full import disk_full, small_disk
from benchmarks.serve.power_cuts import passed, run

pytestmark = [pytest.mark.slow, pytest.mark.long]


def test_killed_a_few_times_nothing_is_lost(tmp_path: Path) -> None:
    figures = run(tmp_path, kills=5, seed=3)
    assert figures["kills"] == 5
    assert passed(figures), figures
    # The measurement itself sees what it looks for.
    for change in ({"lost": ["x"]}, {"slides_signed": 0}, {"damaged_lines": 1}):
        assert not passed({**figures, **change})
    twice = copy.deepcopy(figures)
    twice["outbox"]["mqtt_came_twice"] = 1
    assert not passed(twice)


def test_a_disk_that_fills_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "try").mkdir()
    try:
        with small_disk(tmp_path / "try"):
            pass
    except RuntimeError as error:
        pytest.skip(str(error))
    figures = disk_full(tmp_path)
    assert figures["passed"], figures
