"""How good the pruning criteria are, and what pruned networks cost -> docs/evidence/pruning.json.

    python -m benchmarks.cells.pruning --data DATA [--model micro] [--only criteria,sensitivity]

``criteria``: correlation of each criterion with the true loss change, one channel silenced at a
time, on training cells. ``agreement``: masked against rebuilt network. ``sensitivity``: loss by
layer and share silenced, with a plot. Sizes against accuracy: ``benchmarks/cells/pareto.py``.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.bundle.shipped import SHIPPED_MODELS
from edge_malaria.data.dataset import open_dataset
from edge_malaria.files import write_bytes, write_json
from edge_malaria.training.classifier.cells import (
    RENDERINGS,
    default_cache,
    fitting_rows,
    load_renderings,
)
from edge_malaria.training.classifier.fit import predict
from edge_malaria.training.pruning.channels import (
    map_channels,
    set_gates,
    with_gates,
    without_channels,
)
from edge_malaria.training.pruning.criteria import score_channels, true_loss_changes
from edge_malaria.training.pruning.prune import layer_sensitivity
from edge_malaria.training.pruning.pruned import load_prunable

EVIDENCE = Path(__file__).resolve().parents[2] / "docs" / "evidence"
SEED = 7
CELLS = 512
CRITERIA = ("l1", "l2", "taylor1", "taylor2", "learned")


class Bench:
    """A shipped network as it can be pruned, and its training cells."""

    def __init__(self, data: Path, model: str, path: Path) -> None:
        self.path = path
        self.model = load_prunable(SHIPPED_MODELS / f"{model}.keras")
        size = int(self.model.input.shape[1])
        train, val = fitting_rows(open_dataset(data / "nih" / "cell_images.zip"))
        self.train = load_renderings(train, size, RENDERINGS, cache=default_cache())
        self.val = load_renderings(val, size, cache=default_cache())["full"]
        chosen = np.random.default_rng(SEED).permutation(len(train.rows))[:CELLS]
        self.cells = self.train["full"].inputs[chosen]
        self.targets = self.train["full"].labels[chosen].astype(np.float32)
        self.channels = map_channels(self.model)


def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """0 for the smallest; ties in order of appearance."""
    order = np.argsort(values, kind="stable")
    result = np.empty(len(values))
    result[order] = np.arange(len(values))
    return result


def criteria(bench: Bench) -> dict[str, Any]:
    """Pearson and rank correlation of each criterion with leave-one-filter-out."""
    truth = true_loss_changes(bench.model, bench.channels, bench.cells, bench.targets)
    table = {}
    for name in CRITERIA:
        began = time.monotonic()
        scores = score_channels(name, bench.model, bench.channels, bench.cells, bench.targets)
        table[name] = {
            "pearson": float(np.corrcoef(scores, truth)[0, 1]),
            "spearman": float(np.corrcoef(ranks(scores), ranks(truth))[0, 1]),
            "spearman_with_absolute_change": float(
                np.corrcoef(ranks(scores), ranks(np.abs(truth)))[0, 1]
            ),
            "seconds": round(time.monotonic() - began, 2),
        }
    return {"channels": len(truth), "cells": len(bench.cells), "by_criterion": table}


def agreement(bench: Bench) -> dict[str, Any]:
    """Largest logit difference between the masked and the rebuilt network, half of it removed."""
    scores = score_channels("l1", bench.model, bench.channels, bench.cells, bench.targets)
    removed = bench.channels.prunable[np.argsort(scores)[: len(scores) // 2]]
    gated = with_gates(bench.model, bench.channels)
    set_gates(gated, bench.channels, removed)
    rebuilt = without_channels(bench.model, bench.channels, removed)
    gap = np.abs(predict(gated, bench.cells) - predict(rebuilt, bench.cells)).max()
    return {"removed": len(removed), "of": len(scores), "max_abs_logit_difference": float(gap)}


def sensitivity(bench: Bench) -> dict[str, Any]:
    """Loss on training cells by layer and share of its lowest channels silenced."""
    scores = score_channels("taylor2", bench.model, bench.channels, bench.cells, bench.targets)
    labels = bench.targets.astype(np.int64)
    table = layer_sensitivity(bench.model, bench.cells, labels, scores)
    _plot(table, bench.path.with_name(bench.path.stem + "-sensitivity"))
    return {"criterion": "taylor2", "loss_rise": table}


def _plot(table: dict[str, dict[str, float]], stem: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.add_subplot()
    for name, row in table.items():
        shares = [100 * float(share) for share in row]
        axis.plot(shares, list(row.values()), marker="o", label=name)
    axis.set_xlabel("% of the layer's channels silenced, lowest Taylor score first")
    axis.set_ylabel("rise of the cross-entropy, nothing fine-tuned")
    axis.set_yscale("symlog", linthresh=0.01)
    axis.legend(fontsize=7)
    for suffix in (".png", ".svg"):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix[1:], dpi=110)
        write_bytes(stem.with_suffix(suffix), buffer.getvalue())


def main() -> None:
    """Measures and writes what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="micro")
    parser.add_argument("--only", default="criteria,agreement,sensitivity")
    arguments = parser.parse_args()
    path = EVIDENCE / f"pruning-{arguments.model}.json"
    stored = json.loads(path.read_text()) if path.is_file() else {}
    bench = Bench(arguments.data, arguments.model, path)
    command = f"python -m benchmarks.cells.pruning --data DATA --model {arguments.model}"
    stored |= {"command": command, "seed": SEED, "model": arguments.model}
    simple = {"criteria": criteria, "agreement": agreement, "sensitivity": sensitivity}
    for name in arguments.only.split(","):
        print(f"{name} ...", file=sys.stderr, flush=True)
        stored[name] = simple[name](bench)
        write_json(path, stored)
    print(path)


if __name__ == "__main__":
    main()
