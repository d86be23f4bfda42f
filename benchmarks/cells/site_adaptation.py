"""Adapting the shipped network to another laboratory -> docs/evidence/site_adaptation.json.

    python -m benchmarks.cells.site_adaptation --data "$EDGE_MALARIA_DATA" [--seeds 0,1,2]

A study; nothing of it ships. Two hundred of westlake's cells (100 of each label, drawn by seed)
stand beside ten times as many of our own train patients' cells for a few short passes; all other
cells of the slide are the test, for the adapted network and for the one that never saw any. The
schedule was written down beforehand, not chosen: no westlake cell decides anything but weights.
Threshold and calibration are the shipped ones, carried over.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cells.westlake import westlake_inputs, westlake_rows
from benchmarks.evidence_file import ROOT, shipped_sha256, write_evidence
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.shipped import SHIPPED_MODELS, shipped_bundle
from edge_malaria.crossval.task import int8_on_litert
from edge_malaria.data.dataset import open_dataset
from edge_malaria.metrics import auc, confusion, sensitivity_at_specificity
from edge_malaria.records import Image
from edge_malaria.runtime.classify.classifier import Decision
from edge_malaria.runtime.engines.opening import open_engine
from edge_malaria.training.classifier.cells import (
    RENDERINGS,
    default_cache,
    fitting_rows,
    load_renderings,
)
from edge_malaria.training.classifier.fit import fit
from edge_malaria.training.classifier.recipe import Examples, Recipe
from edge_malaria.training.pruning.pruned import load_prunable

CELLS_OF_A_LABEL = 100
OWN_CELLS_FOR_EACH = 10
Network = Callable[[Image], NDArray[np.float32]]


def westlake(data: Path, size_px: int) -> tuple[Image, NDArray[np.int64]]:
    """All cells of the slide, isolated, and their labels."""
    folder = data / "westlake"
    labels = np.array([row["class"] == "Parasitized" for row in westlake_rows(folder)], np.int64)
    return westlake_inputs(folder, read_bundle(shipped_bundle()).classifier.target), labels


def drawn_cells(labels: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Which cells adapt: ``CELLS_OF_A_LABEL`` of each label, by seed."""
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(labels), np.bool_)
    for label in (0, 1):
        chosen[rng.permutation(np.flatnonzero(labels == label))[:CELLS_OF_A_LABEL]] = True
    return chosen


def adapted(site: tuple[Image, NDArray[np.int64]], data: Path, seed: int) -> Network:
    """The shipped network after a few passes, int8 on LiteRT."""
    cells, labels = site
    train_rows, _ = fitting_rows(open_dataset(data / "nih" / "cell_images.zip"))
    own = load_renderings(train_rows, cells.shape[1], RENDERINGS, cache=default_cache())["full"]
    kept = np.random.default_rng(seed).permutation(len(own))[: OWN_CELLS_FOR_EACH * len(cells)]
    # Each of the site's cells twice a pass: a sixth of what the network sees.
    inputs = np.concatenate([cells, cells, own.inputs[kept]])
    targets = np.concatenate([labels, labels, own.labels[kept]]).astype(np.float32)
    recipe = Recipe(
        epochs=8,
        batch=64,
        learning_rate=5e-4,
        weight_decay=0.0,
        averaging=0.98,
        other_renderings=0.0,
        seed=seed,
    )
    network = load_prunable(SHIPPED_MODELS / "default.keras")
    # The site's own cells stand where validation cells would: none are spared for choosing.
    network, _ = fit(network, Examples((inputs,), targets), cells, labels, recipe)
    return int8_on_litert(network, inputs[:1024])  # type: ignore[no-any-return]


def rates(
    network: Network, decision: Decision, cells: Image, labels: NDArray[np.int64]
) -> dict[str, Any]:
    """AUC, sensitivity where specificity is 0.998, and both rates at the threshold carried over."""
    logits = np.concatenate([network(cells[i : i + 512]) for i in range(0, len(cells), 512)])
    chances = decision.probabilities(logits.reshape(-1))
    best = sensitivity_at_specificity(labels, chances, 0.998)
    counts = confusion(labels, chances >= decision.threshold)
    return {
        "n": len(labels),
        "auc": auc(labels, chances),
        "sensitivity_at_specificity_0.998": best[0] if best else None,
        "sensitivity_at_the_threshold_carried_over": counts.sensitivity,
        "specificity_at_the_threshold_carried_over": counts.specificity,
    }


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", default="0,1,2")
    given = parser.parse_args()
    bundle = read_bundle(shipped_bundle())
    spec = bundle.classifier
    decision = Decision(spec, spec.threshold("balanced"))
    shipped = open_engine(bundle.read(spec.file("int8", "litert").file), "litert", 1).run
    cells, labels = westlake(given.data, spec.size_px)
    runs = []
    for seed in (int(part) for part in given.seeds.split(",")):
        print(f"seed {seed} ...", file=sys.stderr, flush=True)
        chosen = drawn_cells(labels, seed)
        network = adapted((cells[chosen], labels[chosen]), given.data, seed)
        rest = (cells[~chosen], labels[~chosen])
        runs.append(
            {
                "seed": seed,
                "adapted_with": int(chosen.sum()),
                "never_seen": rates(shipped, decision, *rest),
                "adapted": rates(network, decision, *rest),
            }
        )
    command = 'python -m benchmarks.cells.site_adaptation --data "$EDGE_MALARIA_DATA"'
    figures = {"int8_sha256": shipped_sha256(), "mask": "auto", "ships": False, "runs": runs}
    path = write_evidence("site_adaptation", command, figures)
    print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
