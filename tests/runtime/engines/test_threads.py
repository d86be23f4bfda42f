"""Threads that share one opened bundle, finder or engine get the answers to their own cells."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edge_malaria
from converters.firmware.engines import firmware_engines
from converters.firmware.tflm_engine import has_tflm
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.golden import read_goldens
from edge_malaria.runtime.detect.opening import default_finder
from edge_malaria.runtime.engines.opening import open_engine
from edge_malaria.synthetic import draw_field

THREADS = 4


def _at_once(work: Callable[[Any], Any], jobs: Sequence[Any]) -> list[Any]:
    """``work`` of every job in ``THREADS`` threads that start together."""
    gate = threading.Barrier(THREADS)
    parts = [list(range(start, len(jobs), THREADS)) for start in range(THREADS)]

    def run(rows: list[int]) -> list[tuple[int, Any]]:
        gate.wait()
        return [(row, work(jobs[row])) for row in rows]

    with ThreadPoolExecutor(THREADS) as pool:
        found = dict(pair for part in pool.map(run, parts) for pair in part)
    return [found[row] for row in range(len(jobs))]


@pytest.mark.parametrize("engine", ["litert", "onnx"])
def test_threads_that_share_a_bundle_get_their_own_cells(shipped_bundle: Path, engine: str) -> None:
    goldens = read_goldens(read_bundle(shipped_bundle).contents)
    crops = [crop.decoded() for crop in goldens.cells.crops] * 12
    bundle = edge_malaria.open_bundle(shipped_bundle, engine=engine)

    def classify(job: tuple[Any, Any]) -> list[tuple[str, float]]:
        # One cell, then two: another size of batch lays the tensors out anew.
        crop, mask = job
        cells = bundle.classify([crop], [mask]) + bundle.classify([crop, crop], [mask, mask])
        return [(cell.label, cell.p_parasitized) for cell in cells]

    alone = [classify(crop) for crop in crops[: len(goldens.cells.crops)]] * 12
    assert len({answer[0] for answer in alone}) > 4, "the crops must be told apart"
    assert _at_once(classify, crops) == alone


@pytest.mark.parametrize("engine", ["litert", "onnx"])
def test_threads_that_share_a_finder_get_their_own_field(shipped_bundle: Path, engine: str) -> None:
    finder = default_finder(read_bundle(shipped_bundle), engine=engine)
    fields = [
        draw_field(seed, width, 240, cell_diameter_px=40.0, density=density)[0]
        for seed, width, density in ((1, 320, 0.2), (2, 360, 0.3), (3, 320, 0.4), (4, 280, 0.25))
    ]

    def find(image: Any) -> list[tuple[int, int, int, int]]:
        return [cell.box for cell in finder.find(image)]

    alone = [find(image) for image in fields]
    assert len({len(boxes) for boxes in alone}) > 1
    assert _at_once(find, fields * 3) == alone * 3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["c.int8", "c-xnnpack.int8", "tflm.int8"])
def test_threads_that_share_a_firmware_engine_get_their_own_cells(
    shipped_bundle: Path, name: str
) -> None:
    kind = name.split(".")[0].split("-")[0]
    if kind == "tflm" and not has_tflm():
        pytest.skip("tflite-micro is not installed")
    bundle = read_bundle(shipped_bundle)
    found = firmware_engines(bundle, [kind]).engines
    cells = read_goldens(bundle.contents).cells.inputs[:40, None]
    alone = [int(found[name].run_raw(cell)[0, 0]) for cell in cells]
    got = _at_once(lambda cell: int(found[name].run_raw(cell)[0, 0]), list(cells))
    assert got == alone
    assert len(set(alone)) > 10


def test_engines_opened_at_once_leave_standard_error_as_it_was(shipped_bundle: Path) -> None:
    program = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
from edge_malaria.runtime.engines.opening import open_engine
data = open(sys.argv[1], "rb").read()
with ThreadPoolExecutor(4) as pool:
    list(pool.map(lambda _: open_engine(data, "litert"), range(40)))
sys.stderr.write("still heard\\n")
"""
    ran = subprocess.run(
        [sys.executable, "-c", program, str(shipped_bundle / "model.int8.tflite")],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "still heard" in ran.stderr


@pytest.mark.skipif(os.name != "posix", reason="closing a descriptor before start is POSIX")
def test_an_engine_opens_without_standard_error(shipped_bundle: Path) -> None:
    program = "from edge_malaria.runtime.engines.opening import open_engine; import sys\n"
    program += "open_engine(open(sys.argv[1], 'rb').read(), 'litert'); print('opened')"
    ran = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" "$2" 2>&-', sys.executable, program,
         str(shipped_bundle / "model.int8.tflite")],
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
    )  # fmt: skip
    assert ran.stdout == "opened\n"


def test_an_engine_answers_alike_whatever_it_ran_before(shipped_bundle: Path) -> None:
    data = (shipped_bundle / "model.int8.tflite").read_bytes()
    cells = read_goldens(read_bundle(shipped_bundle).contents).cells.inputs[:65]
    engine, fresh = open_engine(data), open_engine(data)
    for size in (65, 1, 7):
        engine.run_raw(cells[:size])
    assert np.array_equal(engine.run_raw(cells[3:5]), fresh.run_raw(cells[3:5]))
