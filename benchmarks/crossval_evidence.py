"""Five-fold cross-validation by patient of the int8 network -> docs/evidence/crossval.json.

    python benchmarks/crossval_evidence.py --data DATA [--run runs/crossval] [--epochs 12]

The same as ``edge-malaria crossval`` (resumable, fold by fold), plus the commit and a page of the
cells whose label the network contradicts with p > 0.95, which is written to the run directory and
nowhere else: it shows real cells.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from benchmarks.training_evidence import EVIDENCE, commit
from edge_malaria.cli.crossval import int8_on_litert
from edge_malaria.dataset import open_dataset
from edge_malaria.files import write_image, write_json
from edge_malaria.training.architectures import architecture
from edge_malaria.training.augment import Augmentation
from edge_malaria.training.cells import RENDERINGS, CellSet, default_cache, load_renderings
from edge_malaria.training.crossval import cross_validate, folds_of
from edge_malaria.training.crossval_report import pooled, summarize
from edge_malaria.training.recipe import Recipe

COLUMNS = 24


def contradicted_page(cells: CellSet, chances: np.ndarray, path: Path) -> int:
    """Writes the contradicted cells, labelled infected ones first; returns how many."""
    infected = np.flatnonzero((cells.labels == 1) & (chances < 0.05))
    healthy = np.flatnonzero((cells.labels == 0) & (chances > 0.95))
    size = cells.inputs.shape[1]
    rows = []
    for group in (infected, healthy):
        for start in range(0, len(group), COLUMNS):
            row = np.zeros((size, COLUMNS * size, 3), np.uint8)
            for place, index in enumerate(group[start : start + COLUMNS]):
                row[:, place * size : (place + 1) * size] = cells.inputs[index]
            rows.append(row)
        rows.append(np.full((6, COLUMNS * size, 3), (0, 255, 0), np.uint8))
    write_image(path, np.concatenate(rows))
    return len(infected) + len(healthy)


def main() -> None:
    """Runs what is missing and writes the figures of the folds that are done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, default=Path("runs/crossval"))
    parser.add_argument("--arch", default="compact")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--plain", type=float, default=0.5, help="share of cells only turned")
    parser.add_argument("--fine-tune", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="folds, for example 0,1")
    arguments = parser.parse_args()
    dataset = open_dataset(arguments.data / "nih" / "cell_images.zip")
    size = architecture(arguments.arch).input_size_px
    cells = load_renderings(dataset, size, RENDERINGS, cache=default_cache())
    folds = [int(part) for part in arguments.only.split(",") if part] or folds_of(dataset)
    results = cross_validate(
        arguments.arch,
        cells,
        folds,
        Recipe(
            epochs=arguments.epochs,
            seed=arguments.seed,
            augmentation=Augmentation(plain=arguments.plain),
        ),
        arguments.run,
        int8_on_litert,
        fine_tune_epochs=arguments.fine_tune,
        report=lambda stage, entry: print(
            f"{stage} {entry['epoch'] + 1:.0f} {entry['val_auc']:.4f}", file=sys.stderr, flush=True
        ),
    )
    table = pooled(results, cells["full"])
    shown = np.where(table["seen"], table["chance"], 0.5)
    count = contradicted_page(cells["full"], shown, arguments.run / "contradicted.png")
    head = {
        "command": (
            f"python -m benchmarks.crossval_evidence --data DATA --arch {arguments.arch} "
            f"--epochs {arguments.epochs} --fine-tune {arguments.fine_tune} "
            f"--plain {arguments.plain}"
        ),
        "commit": commit(),
        "seed": arguments.seed,
        "network": arguments.arch,
        "variant": "int8 through LiteRT",
        "cells_contradicted_with_p_above_0.95": count,
    }
    name = "crossval" if arguments.arch == "compact" else f"crossval-{arguments.arch}"
    write_json(EVIDENCE / f"{name}.json", {**head, **summarize(results, cells["full"])})


if __name__ == "__main__":
    main()
