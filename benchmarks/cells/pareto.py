"""Accuracy by patient against bytes and time -> docs/evidence/pareto.json and docs/pareto.svg.

    python -m benchmarks.cells.pareto --data DATA --run RUN [--only shipped,pruned,...]

Points: what ships; ``pruned`` from the default by two criteria at several shares; ``width``s of the
default's shape and ``literature`` networks from scratch. All see 48 x 48 and the same cells. All
but the shipped ones are fitted briefly (a part of the train patients' cells, a few passes, targets
mixed from labels and the default's own probabilities) and converted to int8 with train cells for
ranges: the budget is equal among them, the shipped ones had more. Thresholds are those that val
patients choose; test patients are reported. Each point leaves RUN/<name>.tflite and .json, so a
run that was stopped goes on; the times are taken at the end, in turn, in one process.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evidence_file import EVIDENCE, ROOT, shipped_sha256, write_evidence
from benchmarks.speed.latency_models import measured
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.shipped import SHIPPED_MODELS, shipped_bundle
from edge_malaria.data.dataset import open_dataset
from edge_malaria.files import write_bytes, write_json
from edge_malaria.metrics import auc, confusion
from edge_malaria.records import Image
from edge_malaria.runtime.classify.classifier import probability
from edge_malaria.runtime.engines.opening import open_engine
from edge_malaria.training.classifier.calibrate import fit_platt
from edge_malaria.training.classifier.cells import (
    RENDERINGS,
    CellSet,
    default_cache,
    load_renderings,
)
from edge_malaria.training.classifier.cross_fitted import best_threshold
from edge_malaria.training.classifier.recipe import Examples, Recipe

SEED = 11
CELLS = 4000
EPOCHS = 5
TEACHER_SHARE = 0.6
RANGE_CELLS = 512
WIDTHS = (0.5, 0.75, 1.0, 1.5, 2.0)
PRUNED = [("taylor2", keep) for keep in (0.8, 0.6, 0.45, 0.3, 0.2)]
PRUNED += [("l1", keep) for keep in (0.6, 0.3, 0.2)]
LITERATURE = ("lenet5", "fast50", "liang16", "sequential3")
FAMILIES = {"shipped": "o", "pruned": "s", "width": "^", "literature": "x"}


@dataclasses.dataclass(frozen=True, eq=False)
class Bench:
    """Cells and the shared targets.

    Attributes:
        train: what every point is fitted to.
        val, test: choose the threshold; report.
    """

    train: Examples
    val: CellSet
    test: CellSet

    @property
    def ranges(self) -> Image:
        """Train cells that int8 ranges are measured on."""
        return self.train.renderings[0][:RANGE_CELLS]


def open_bench(data: Path) -> Bench:
    """A part of train with mixed targets, val and test."""
    dataset = open_dataset(data / "nih" / "cell_images.zip")
    loaded = {
        split: load_renderings(dataset.select(split), 48, RENDERINGS, cache=default_cache())
        for split in ("train", "val", "test")
    }
    train = loaded["train"]
    chosen = np.sort(np.random.default_rng(SEED).permutation(len(train["full"]))[:CELLS])
    parts = tuple(train[name].inputs[chosen] for name in RENDERINGS)
    bundle = read_bundle(shipped_bundle())
    spec = bundle.classifier
    engine = open_engine(bundle.read(spec.file("int8", "litert").file), "litert", 1)
    temperature, bias = spec.decision.temperature, spec.decision.bias
    opinion = probability(_logits(engine, parts[0]), temperature, bias)
    mixed = TEACHER_SHARE * opinion + (1 - TEACHER_SHARE) * train["full"].labels[chosen]
    examples = Examples(parts, mixed.astype(np.float32))
    return Bench(examples, loaded["val"]["full"], loaded["test"]["full"])


def _logits(engine: Any, cells: Image) -> Any:
    parts = [engine.run(cells[i : i + 256]).reshape(-1) for i in range(0, len(cells), 256)]
    return np.concatenate(parts).astype(np.float32)


def shipped(name: str) -> Callable[[Bench], tuple[bytes, int]]:
    """The int8 file of a shipped bundle and its multiply-accumulates."""

    def make(bench: Bench) -> tuple[bytes, int]:
        del bench
        bundle = read_bundle(shipped_bundle(name))
        record = json.loads((SHIPPED_MODELS / f"{name}.json").read_text(encoding="utf-8"))
        file = bundle.read(bundle.classifier.file("int8", "litert").file)
        return file, int(record["provenance"]["macs"])

    return make


def converted(model: Any, bench: Bench) -> tuple[bytes, int]:
    """int8 file by calibration, and multiply-accumulates."""
    from converters.to_tflite import convert
    from edge_malaria.training.architectures.registry import count_macs

    return convert(model, "int8", bench.ranges), count_macs(model)


def pruned(criterion: str, keep: float) -> Callable[[Bench], tuple[bytes, int]]:
    """The default with ``keep`` of its multiply-accumulates, tuned for two passes."""

    def make(bench: Bench) -> tuple[bytes, int]:
        from edge_malaria.training.pruning.prune import Schedule, prune
        from edge_malaria.training.pruning.pruned import load_prunable

        network = load_prunable(SHIPPED_MODELS / "default.keras")
        schedule = Schedule(criterion, keep, "macs", rounds=1, epochs=2)
        recipe = Recipe(learning_rate=1e-3, weight_decay=0.0, averaging=0.99, seed=SEED)
        val = (bench.val.inputs, bench.val.labels)
        return converted(prune(network, bench.train, val, schedule, recipe), bench)

    return make


def scratch(build: Callable[[], Any]) -> Callable[[Bench], tuple[bytes, int]]:
    """A fresh network, fitted for ``EPOCHS`` passes."""

    def make(bench: Bench) -> tuple[bytes, int]:
        from edge_malaria.keras_layers import keras
        from edge_malaria.training.classifier.fit import fit

        keras.utils.set_random_seed(SEED)
        recipe = Recipe(epochs=EPOCHS, averaging=0.99, seed=SEED)
        network, _ = fit(build(), bench.train, bench.val.inputs, bench.val.labels, recipe)
        return converted(network, bench)

    return make


def wide(width: float) -> Any:
    """The default's shape with ``width`` times its filters, rounded to 4."""
    from edge_malaria.training.architectures.registry import COMPACT_BLOCKS, separable_network

    blocks = [(4 * round(width * filters / 4), stride) for filters, stride in COMPACT_BLOCKS]
    return separable_network("wide", 48, 4 * round(width * 4), blocks)


def literature(name: str) -> Any:
    """A network of the literature at 48 px."""
    from edge_malaria.training.architectures import build

    return build(name, 48)


def points() -> dict[str, tuple[str, Callable[[Bench], tuple[bytes, int]]]]:
    """Name -> (family, how it is made), quick ones first."""
    table: dict[str, tuple[str, Callable[[Bench], tuple[bytes, int]]]] = {}
    for name in ("default", "micro"):
        table[name] = ("shipped", shipped(name))
    for criterion, keep in PRUNED:
        table[f"pruned-{criterion}-{keep:g}"] = ("pruned", pruned(criterion, keep))
    for width in WIDTHS:
        table[f"width-{width:g}"] = ("width", scratch(partial(wide, width)))
    for name in LITERATURE:
        table[f"{name}-48px"] = ("literature", scratch(partial(literature, name)))
    return table


def judged(file: bytes, macs: int, bench: Bench) -> dict[str, Any]:
    """Figures of an int8 file on val and test."""
    engine = open_engine(file, "litert", 1)
    logits = {part: _logits(engine, getattr(bench, part).inputs) for part in ("val", "test")}
    platt = fit_platt(logits["val"], bench.val.labels)
    threshold, _ = best_threshold(probability(logits["val"], *platt), bench.val.labels)
    row: dict[str, Any] = {"int8_bytes": len(file), "macs": macs}
    for part in ("val", "test"):
        labels = getattr(bench, part).labels
        chances = probability(logits[part], *platt)
        counts = confusion(labels, chances >= threshold)
        row[part] = {"accuracy": counts.accuracy, "auc": auc(labels, chances), "mcc": counts.mcc}
    return row


def timed(names: list[str], run: Path, rounds: int) -> dict[str, Any]:
    """One thread, 64 cells at once, all in turn; see ``latency_models``."""
    cells = np.random.default_rng(SEED).integers(0, 256, (64, 48, 48, 3), dtype=np.uint8)
    runs: dict[str, Callable[[], Any]] = {}
    for name in names:
        engine = open_engine((run / f"{name}.tflite").read_bytes(), "litert", 1)
        key = "compact int8 litert" if name == "default" else name
        runs[key] = partial(engine.run, cells)
    table = measured(runs, rounds)
    table["default"] = table.pop("compact int8 litert")
    return {
        name: {
            "us_per_cell": row["us_per_cell_median_processor"],
            "times_default": row["times_compact_median_processor"],
        }
        for name, row in table.items()
    }


def draw(rows: dict[str, dict[str, Any]], path: Path) -> None:
    """Accuracy on test patients against bytes and against time."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for axis, key, label in (
        (axes[0], "int8_bytes", "int8 TFLite file, bytes"),
        (axes[1], "us_per_cell", "µs a cell, one thread, LiteRT int8, batch 64"),
    ):
        for family, marker in FAMILIES.items():
            own = {name: row for name, row in rows.items() if row["family"] == family}
            accuracy = [100 * row["test"]["accuracy"] for row in own.values()]
            sizes = [row[key] for row in own.values()]
            axis.plot(sizes, accuracy, marker, label=family, linestyle="none")
            for name, x, y in zip(own, sizes, accuracy, strict=True):
                axis.annotate(name, (x, y), fontsize=5, xytext=(3, 2), textcoords="offset points")
        axis.set_xscale("log")
        axis.set_xlabel(label)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("accuracy on test patients, raw labels, %")
    axes[0].legend(fontsize=7)
    buffer = io.BytesIO()
    # No date and fixed ids: the same figures give the same file.
    with rc_context({"svg.hashsalt": "pareto"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    write_bytes(path, buffer.getvalue())


def on_front(rows: dict[str, dict[str, Any]], key: str) -> list[str]:
    """Names that nothing smaller (by ``key``) equals in accuracy on val patients."""
    front, best = [], -1.0
    for name in sorted(rows, key=lambda name: rows[name][key]):
        if rows[name]["val"]["accuracy"] > best:
            best = rows[name]["val"]["accuracy"]
            front.append(name)
    return front


def main() -> None:
    """Makes what is missing, then times and writes everything that is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, default=Path("runs/pareto"))
    parser.add_argument("--only", default="", help="families")
    parser.add_argument("--rounds", type=int, default=40)
    given = parser.parse_args()
    given.run.mkdir(parents=True, exist_ok=True)
    bench = open_bench(given.data)
    families = given.only.split(",") if given.only else list(FAMILIES)
    rows: dict[str, dict[str, Any]] = {}
    for name, (family, make) in points().items():
        stored = given.run / f"{name}.json"
        if not stored.is_file():
            if family not in families:
                continue
            print(f"{name} ...", file=sys.stderr, flush=True)
            file, macs = make(bench)
            write_bytes(given.run / f"{name}.tflite", file)
            write_json(stored, judged(file, macs, bench))
        rows[name] = {"family": family, **json.loads(stored.read_text(encoding="utf-8"))}
    for name, times in timed(list(rows), given.run, given.rounds).items():
        rows[name] |= times
    figures = {
        "default_int8_sha256": shipped_sha256(),
        "fitted_with": {"cells": CELLS, "passes_from_scratch": EPOCHS, "passes_after_pruning": 2},
        "front_by_val_accuracy": {
            key: on_front(rows, key) for key in ("int8_bytes", "us_per_cell")
        },
        "points": rows,
    }
    command = 'python -m benchmarks.cells.pareto --data "$EDGE_MALARIA_DATA" --run RUN'
    path = write_evidence("pareto", command, figures, SEED)
    draw(rows, EVIDENCE.parent / "pareto.svg")
    print(f"wrote {path.relative_to(ROOT)} and docs/pareto.svg")


if __name__ == "__main__":
    main()
