"""Classical methods on real cells -> docs/evidence/baselines.json.

    python -m benchmarks.literature.classical --data DATA [--only svm,knn] [--runs RUNS] [--again]

``svm`` goes through all five folds by patient in full, and through the fixed split; every other
method through the fixed split. Networks behind ``alexnet-svm`` and ``vgg16-svm`` are trained small:
their sides, cells and passes stand in ``SMALL`` and in the figures. Each finished method is kept
under RUNS and taken from there, so an interrupted run goes on where it stopped; what the evidence
holds already is kept, with the commit that it was measured at, unless ``--again`` is given or its
network was trained by another plan than today's. The file is written after each, naming the methods
that today's plan has not measured.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import Any

import cv2

from benchmarks.evidence_file import EVIDENCE, commit, write_evidence
from edge_malaria.crossval.classical import Settings, run_baseline
from edge_malaria.crossval.classical_report import summarize
from edge_malaria.crossval.folds import folds_of
from edge_malaria.data.dataset import Dataset, open_dataset
from edge_malaria.files import write_json
from edge_malaria.training.baselines.methods import METHODS
from edge_malaria.training.classifier.cells import default_cache

COMMAND = "python -m benchmarks.literature.classical --data DATA"
SEED = 0
IN_FULL = "svm"
# Two cores manage these in minutes; the studies' 227 and 224 px would take days. Batches of 16: in
# batches of 64 so few cells are under 400 steps, in which the averaged network hardly moves.
SMALL: dict[str, dict[str, Any]] = {
    "alexnet-svm": {"input_size": 67, "cells": 6000, "epochs": 4, "batch": 16},
    "vgg16-svm": {"input_size": 32, "cells": 3000, "epochs": 6, "batch": 16},
}


def tasks() -> dict[str, tuple[str, bool]]:
    """Task name -> (method, whether cross-validated), the one in full last of its kind."""
    found = {name: (name, False) for name in METHODS if name not in SMALL}
    found[f"{IN_FULL}-crossval"] = (IN_FULL, True)
    return {**found, **{name: (name, False) for name in SMALL}}


def measured(dataset: Dataset, method: str, crossval: bool, run: Path) -> dict[str, Any]:
    """One task's figures and what it was trained with."""
    small = SMALL.get(method, {})
    settings = Settings(method, seed=SEED, **small)
    folds = folds_of(dataset) if crossval else []
    results, cells = run_baseline(
        dataset,
        settings,
        run,
        folds,
        cache=default_cache(),
        report=lambda stage, entry: print(f"{stage} {entry['epoch'] + 1:.0f}", flush=True),
    )
    return {
        "method": method,
        "summary": METHODS[method].summary,
        "protocol": "five folds by patient" if crossval else "fixed split by patient",
        "training": small or "all training cells",
        "finished": not small,
        "commit": commit(),
        **summarize(results, cells),
    }


def restore(runs: Path, evidence: Path) -> list[str]:
    """Writes the tasks' files that ``evidence`` holds and ``runs`` lacks; their names."""
    if not evidence.is_file():
        return []
    before = json.loads(evidence.read_text(encoding="utf-8"))
    lacking = [name for name in before["methods"] if not (runs / f"{name}.json").is_file()]
    for name in lacking:
        write_json(runs / f"{name}.json", {"commit": before["commit"], **before["methods"][name]})
    return lacking


def measured_today(name: str, runs: Path) -> bool:
    """Whether ``runs`` holds a task as today's plan trains it."""
    path = runs / f"{name}.json"
    if not path.is_file():
        return False
    training = json.loads(path.read_text(encoding="utf-8"))["training"]
    return bool(training == (SMALL.get(name) or "all training cells"))


def main() -> None:
    """Runs what is missing and writes the figures of what is done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs/baselines"))
    parser.add_argument("--only", default="", help="comma-separated tasks; default all")
    parser.add_argument("--again", action="store_true", help="measure the kept ones again")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    every = tasks()
    wanted = [name for name in given.only.split(",") if name] or list(every)
    unknown = sorted(set(wanted) - set(every))
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; expected some of {', '.join(every)}")
    if not given.again:
        restore(given.runs, EVIDENCE / "baselines.json")
    dataset = open_dataset(given.data / "nih" / "cell_images.zip")
    for name in wanted:
        kept = given.runs / f"{name}.json"
        if measured_today(name, given.runs) and not given.again:
            continue
        if given.again or kept.is_file():
            shutil.rmtree(given.runs / name, ignore_errors=True)
        started = time.monotonic()
        write_json(kept, measured(dataset, *every[name], given.runs / name))
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
        _write(given.runs, every)


def _write(runs: Path, every: dict[str, tuple[str, bool]]) -> None:
    done = {
        name: json.loads((runs / f"{name}.json").read_text(encoding="utf-8"))
        for name in every
        if (runs / f"{name}.json").is_file()
    }
    missing = [name for name in every if not measured_today(name, runs)]
    write_evidence("baselines", COMMAND, {"missing": missing, "methods": done}, SEED)


if __name__ == "__main__":
    main()
