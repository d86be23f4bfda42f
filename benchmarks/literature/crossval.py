"""Five-fold cross-validation by patient of the int8 network -> docs/evidence/crossval.json.

    python -m benchmarks.literature.crossval --data DATA [--run runs/crossval] [--epochs 12]
        [--teachers 1] [--teacher-epochs 5] [--workers 2]

The same as ``edge-malaria crossval`` (resumable, folds in parallel), plus the commit and a page of
the cells whose label the network contradicts with p > 0.95, written to the run directory and
nowhere else: it shows real cells.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from benchmarks.evidence_file import EVIDENCE, commit
from edge_malaria.crossval.report import pooled, summarize
from edge_malaria.crossval.task import Task, on_workers, run_task, same_settings, with_wanted
from edge_malaria.files import write_image, write_json
from edge_malaria.training.classifier.cells import CellSet

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
    parser.add_argument("--teachers", type=int, default=1, help="wide networks a fold")
    parser.add_argument("--teacher-epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="folds at a time")
    parser.add_argument("--scheduler", help="address of a dask scheduler that gets the folds")
    parser.add_argument("--only", default="", help="folds, for example 0,1")
    given = parser.parse_args()
    named = ("arch", "epochs", "fine_tune", "plain", "teachers", "teacher_epochs", "seed")
    settings = {name: getattr(given, name) for name in named}
    cells_zip = given.data / "nih" / "cell_images.zip"
    task = with_wanted(Task(cells_zip, None, given.run, **settings), given.only)
    same_settings(task)
    if given.workers > 1 or given.scheduler:
        on_workers([task], given.scheduler, given.workers)
    results, cells = run_task(task)
    table = pooled(results, cells["full"])
    shown = np.where(table["seen"], table["chance"], 0.5)
    count = contradicted_page(cells["full"], shown, given.run / "contradicted.png")
    words = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in settings.items())
    head = {
        "command": f"python -m benchmarks.literature.crossval --data DATA {words}",
        "commit": commit(),
        "seed": given.seed,
        "network": given.arch,
        "teachers": given.teachers,
        "variant": "int8 through LiteRT",
        "cells_contradicted_with_p_above_0.95": count,
    }
    name = "crossval" if given.arch == "compact" else f"crossval-{given.arch}"
    name += "" if given.teachers else "-no-teacher"
    write_json(EVIDENCE / f"{name}.json", {**head, **summarize(results, cells["full"])})


if __name__ == "__main__":
    main()
