"""How fast the networks are beside each other -> docs/evidence/latency_models.json.

    python -m benchmarks.speed.latency_models

One process, one thread, 64 cells at once: int8 files of every network through LiteRT and
``sequential3`` through Keras ``predict``, in turn, round after round. Weights are random (time
does not depend on them) and so are the int8 ranges. Both wall time and processor time are told:
on a machine that does other work the fastest wall time and the processor time are what holds, and
ratios are taken within a round. The ratios depend on the processor's vector instructions, so each
kind keeps an entry of its own; those of other machines stay.
"""

from __future__ import annotations

import os

# Before TensorFlow is loaded: one thread for everybody.
os.environ |= {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.evidence_file import EVIDENCE, ROOT, vectors, write_evidence

CELLS = 64
REFERENCE = "sequential3"
SEED = 0
Run = Callable[[], Any]


def clocked(run: Run) -> tuple[float, float]:
    """(wall, processor) seconds of one run."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def contestants(names: list[str]) -> dict[str, Run]:
    """What runs: int8 on LiteRT for every name, Keras ``predict`` for the reference."""
    from converters.to_tflite import convert
    from edge_malaria.keras_layers import keras
    from edge_malaria.runtime.engines.opening import open_engine
    from edge_malaria.training.architectures import build
    from edge_malaria.training.architectures.registry import architecture

    keras.utils.set_random_seed(SEED)
    rng = np.random.default_rng(SEED)
    runs: dict[str, Run] = {}
    for name in names:
        size = architecture(name).input_size_px
        cells = rng.integers(0, 256, (CELLS, size, size, 3), dtype=np.uint8)
        model = build(name)
        engine = open_engine(convert(model, "int8", cells), "litert", 1)
        runs[f"{name} int8 litert"] = partial(engine.run, cells)
        if name == REFERENCE:
            floats = cells.astype(np.float32)
            runs[f"{name} keras predict"] = partial(
                model.predict, floats, batch_size=CELLS, verbose=0
            )
            runs[f"{name} keras predict, one cell a call"] = partial(
                model.predict, floats[:1], verbose=0
            )
    return runs


def cells_of(name: str) -> int:
    """Cells that one run classifies."""
    return 1 if name.endswith("one cell a call") else CELLS


def measured(runs: dict[str, Run], rounds: int) -> dict[str, Any]:
    """Each contestant's times a cell and how often slower than ``compact`` it is."""
    for run in runs.values():
        run()
        run()
    table: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            wall, cpu = clocked(run)
            table[name].append((1e6 * wall / cells_of(name), 1e6 * cpu / cells_of(name)))
    times = {name: np.array(values) for name, values in table.items()}
    base = times["compact int8 litert"]
    return {
        name: {
            "us_per_cell_median_wall": round(float(np.median(own[:, 0])), 2),
            "us_per_cell_fastest_wall": round(float(own[:, 0].min()), 2),
            "us_per_cell_median_processor": round(float(np.median(own[:, 1])), 2),
            "times_compact_median_wall": round(float(np.median(own[:, 0] / base[:, 0])), 2),
            "times_compact_fastest_wall": round(float(own[:, 0].min() / base[:, 0].min()), 2),
            "times_compact_median_processor": round(float(np.median(own[:, 1] / base[:, 1])), 2),
        }
        for name, own in times.items()
    }


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--networks", default="compact,micro,sequential3,lenet5,fast50,liang16")
    given = parser.parse_args()
    before = EVIDENCE / "latency_models.json"
    kept = json.loads(before.read_text(encoding="utf-8")) if before.is_file() else {}
    others = kept.get("networks_by_processor", {})
    own = measured(contestants(given.networks.split(",")), given.rounds)
    figures = {
        "cells_a_run": CELLS,
        "threads": 1,
        "rounds": given.rounds,
        "weights": "random",
        "networks_by_processor": {**others, vectors(): own},
        **({"unrecorded": kept["unrecorded"]} if "unrecorded" in others else {}),
    }
    path = write_evidence(
        "latency_models", "python -m benchmarks.speed.latency_models", figures, SEED
    )
    print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
