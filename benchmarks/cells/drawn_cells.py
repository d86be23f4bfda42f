"""Measures whether a model trained on real cells alone takes drawn cells for what they are.

    python -m benchmarks.cells.drawn_cells [--model BUNDLE_OR_KERAS] [-o FILE.json]

Also measures how long a drawn field takes, on one thread.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.evidence_file import commit
from edge_malaria.files import sha256_of, write_json
from edge_malaria.metrics import auc
from edge_malaria.prepare.preprocess import network_inputs
from edge_malaria.records import Image
from edge_malaria.synthetic import PARASITIZED_KINDS, STAINS, draw_cell, draw_field, pick_stain
from edge_malaria.synthetic.write import drawn_cells

SIZE_PX = 130
AUC_TARGET = 0.95
FIELD_TARGET_S = 0.3
Scores = Callable[[Image], NDArray[np.float64]]


def scorer(model: Path | None) -> tuple[Scores, int, dict[str, str]]:
    """Logits of a batch, the input's side, and what was measured."""
    if model is not None and model.suffix == ".keras":
        from edge_malaria.keras_layers import load_model

        net = load_model(model)

        def keras_scores(batch: Image) -> NDArray[np.float64]:
            logits = net.predict(batch.astype(np.float32), verbose=0)
            return np.asarray(logits[:, 0], np.float64)

        return keras_scores, int(net.input_shape[1]), {model.name: sha256_of(model)}
    from edge_malaria.bundle.format import read_bundle
    from edge_malaria.bundle.shipped import shipped_bundle
    from edge_malaria.runtime.classify.classifier import Classifier

    folder = model or shipped_bundle()
    classifier = Classifier(read_bundle(folder))

    def bundle_scores(batch: Image) -> NDArray[np.float64]:
        return np.array([p.logit for p in classifier.predict_inputs(batch)])

    files = {f.name: sha256_of(f) for f in sorted(folder.glob("model.int8.*"))}
    return bundle_scores, classifier.input_size_px, files


def measure(model: Path | None, cells: int, seed: int) -> dict[str, Any]:
    """AUC of the mixture that ``data synth cells`` writes, by stage and by stain; seconds."""
    scores, size_px, files = scorer(model)
    rows = list(drawn_cells(cells, seed, cells // 10, SIZE_PX))
    truth = np.array([row.label for row, _, _ in rows])
    mixture = scores(network_inputs([image for _, image, _ in rows], size_px))
    result: dict[str, Any] = {"model": files, "cells": cells, "size_px": SIZE_PX}
    result["auc"] = auc(truth, mixture)
    healthy = mixture[truth == 0]
    result["auc_by_stage"] = {}
    for kind in sorted(PARASITIZED_KINDS):
        drawn = [
            draw_cell(np.random.default_rng([seed, 1, i]), kind, SIZE_PX)  # type: ignore[arg-type]
            for i in range(cells // 4)
        ]
        sick = scores(network_inputs([cell.image for cell in drawn], size_px))
        flags = np.r_[np.ones(len(sick)), np.zeros(len(healthy))]
        result["auc_by_stage"][kind] = auc(flags, np.r_[sick, healthy])
    result["auc_by_stain"] = {
        stain: _of_stain(scores, size_px, stain, cells // 8, seed) for stain in STAINS
    }
    return result


def _of_stain(scores: Scores, size_px: int, stain: str, cells: int, seed: int) -> float | None:
    crops = []
    for index in range(2 * cells):
        rng = np.random.default_rng([seed, 2, index])
        look = pick_stain(rng, stain)
        crops.append(draw_cell(rng, "ring" if index % 2 else "healthy", SIZE_PX, look).image)
    return auc(np.arange(2 * cells) % 2, scores(network_inputs(crops, size_px)))


def field_seconds(fields: int = 10) -> dict[str, float]:
    """Median wall and CPU seconds of a 1280 x 960 field, and its red cells."""
    cv2.setNumThreads(1)
    draw_field(0)
    walls, cpus, cells = [], [], []
    for seed in range(fields):
        wall, cpu = time.perf_counter(), time.process_time()
        _, truth = draw_field(seed)
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
        cells.append(len(truth.red_cells))
    return {
        "wall_s": round(float(np.median(walls)), 4),
        "cpu_s": round(float(np.median(cpus)), 4),
        "red_cells": float(np.median(cells)),
    }


def main() -> int:
    """Measures, writes, and fails where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--cells", type=int, default=1600)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/evidence/drawn_cells.json"))
    arguments = parser.parse_args()
    result = measure(arguments.model, arguments.cells, arguments.seed)
    field = field_seconds()
    passed = result["auc"] is not None and result["auc"] >= AUC_TARGET
    fast = field["cpu_s"] <= FIELD_TARGET_S
    write_json(
        arguments.output,
        {
            "command": "python -m benchmarks.cells.drawn_cells",
            "commit": commit(),
            "seed": arguments.seed,
            "targets": {"auc": AUC_TARGET, "field_s": FIELD_TARGET_S},
            "passed": bool(passed and fast),
            **result,
            "field_1280x960": field,
        },
    )
    print(f"AUC {result['auc']:.4f} (>= {AUC_TARGET}), field {field}")
    return 0 if passed and fast else 1


if __name__ == "__main__":
    sys.exit(main())
