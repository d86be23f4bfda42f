"""The figures of docs/PERFORMANCE.md: estimates, the plot, the counting plugin."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.speed import growth
from benchmarks.speed.arm_instructions import PROCESSORS, built_plugin
from benchmarks.speed.pi_times import BOARDS, Board, estimates

FIGURES = {
    "fields": [{"fields": 2, "instructions": 3e9}, {"fields": 8, "instructions": 6e9}],
    "cells": [{"cells": 0, "instructions": 0}, {"cells": 50, "instructions": 4e8}],
    "workers": [{"workers": 1, "processor_s": 20.0}, {"workers": 2, "processor_s": 21.0}],
}


def test_an_estimate_is_instructions_by_the_published_rate_of_one_core() -> None:
    board = Board("B", "cortex-a53", 1000, 4000, "example.org")
    assert board.seconds(2e9) == pytest.approx(2.0)


def test_every_board_is_counted_and_newer_ones_are_estimated_faster() -> None:
    assert {board.processor for board in BOARDS} <= {each.qemu for each in PROCESSORS}
    found = estimates()
    assert [board.name for board, _, _ in found] == [board.name for board in BOARDS]
    fields, cells = [row[1] for row in found], [row[2] for row in found]
    assert fields == sorted(fields, reverse=True) and cells == sorted(cells, reverse=True)
    assert 0 < min(cells) < max(cells) < min(fields)


def test_the_plot_is_the_same_for_the_same_figures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need the [train] extra")
    growth.draw(FIGURES, tmp_path / "a.svg")
    growth.draw(FIGURES, tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    other = {**FIGURES, "workers": [{"workers": 1, "processor_s": 20.0}]}
    growth.draw(other, tmp_path / "c.svg")
    assert (tmp_path / "c.svg").read_bytes() != (tmp_path / "a.svg").read_bytes()


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_the_counting_plugin_compiles_and_has_what_qemu_looks_for(tmp_path: Path) -> None:
    built = built_plugin(tmp_path).read_bytes()
    assert b"qemu_plugin_install" in built and b"qemu_plugin_version" in built
