"""How often the parasite channel of the shipped network peaks on the parasite of other cells.

    python -m benchmarks.cells.activation_overlay

Chooses each layer's channel on drawn ring cells of one seed and measures it on 100 of another.
Writes docs/evidence/activation_overlay.json; exits with 1 below the target.
"""

from __future__ import annotations

import sys
from dataclasses import asdict

from benchmarks.evidence_file import ROOT, write_evidence
from edge_malaria.cli.explain import RINGS, RINGS_SEED
from edge_malaria.files import sha256_of
from edge_malaria.keras_layers import load_model, strip_fake_quant
from edge_malaria.training.activations import best_by_layer, drawn_rings, measure_channel

MEASURED, MEASURED_SEED = 100, 202
TARGET = 0.8


def main() -> int:
    """Measures, writes, says so."""
    path = ROOT / "edge_malaria" / "models" / "default.keras"
    model = strip_fake_quant(load_model(path))
    size = int(model.input.shape[1])
    others = drawn_rings(MEASURED, size, MEASURED_SEED)
    choices = best_by_layer(model, *drawn_rings(RINGS, size, RINGS_SEED))
    chosen = max(choices, key=lambda channel: channel.share)
    measured = [measure_channel(model, choice, *others) for choice in choices]
    share = measured[choices.index(chosen)].share
    boxes = others[1]
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    figures = {
        "keras_sha256": sha256_of(path),
        "target": TARGET,
        "passed": share >= TARGET,
        "chosen": asdict(chosen),
        "share_within_box": share,
        "mean_box_share_of_input": float(area.mean()) / size**2,
        "chosen_on": {"cells": RINGS, "seed": RINGS_SEED},
        "measured_on": {"cells": MEASURED, "seed": MEASURED_SEED},
        "each_layers_best": [
            {"layer": a.layer, "index": a.index, "chosen_on": a.share, "measured_on": b.share}
            for a, b in zip(choices, measured, strict=True)
        ],
    }
    command = "python -m benchmarks.cells.activation_overlay"
    print(write_evidence("activation_overlay", command, figures, MEASURED_SEED).name, share)
    return 0 if share >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
