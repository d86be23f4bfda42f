"""Retrains and rebuilds every classifier that ships: what ``make model`` runs.

    python -m tools.build_models --data DATA [--runs runs/models] [--only default,micro]

Two wide networks are trained first, on train patients: the teachers. For each model: train with
their opinion in the targets (resumable) -> cross-fit networks of the same architecture over the
train and val patients, so that the screening threshold and the false positives come from networks
that had not seen the patient -> write edge_malaria/models/<name>.keras and .json -> export the
bundle through the gate. Test rows are never opened. About 70 minutes in all on two free cores.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from edge_malaria.bundle.shipped import SHIPPED_MODELS
from edge_malaria.crossval.fold_training import cross_validate
from edge_malaria.crossval.folds import folds_of
from edge_malaria.data.dataset import Dataset, open_dataset
from edge_malaria.files import write_bytes, write_json
from edge_malaria.keras_layers import load_model
from edge_malaria.runtime.classify.classifier import probability
from edge_malaria.training.architectures.registry import architecture
from edge_malaria.training.classifier.cells import (
    RENDERINGS,
    CellSet,
    default_cache,
    fitting_rows,
    load_renderings,
)
from edge_malaria.training.classifier.cross_fitted import CrossFitted
from edge_malaria.training.classifier.fit import predict
from edge_malaria.training.classifier.recipe import Examples, Recipe
from edge_malaria.training.classifier.session import decide, examples_of, train
from edge_malaria.training.classifier.teachers import SEEN_AND_UNSEEN, Distillation, teacher_files


@dataclasses.dataclass(frozen=True)
class Plan:
    """How one shipped model is built.

    Attributes:
        arch: architecture.
        recipe: of the network that ships.
        fine_tune_epochs: passes with rounding.
        cross_parts: groups of folds that are left out in turn for cross-fitting.
        cross_epochs: passes of each cross-fitted network.
    """

    arch: str
    recipe: Recipe
    fine_tune_epochs: int = 5
    cross_parts: int = 3
    cross_epochs: int = 16
    cross_fine_tune_epochs: int = 2


PLANS = {
    "default": Plan(
        "compact",
        Recipe(epochs=40, label_smoothing=0.0, patience=40, augmentation=SEEN_AND_UNSEEN),
        fine_tune_epochs=6,
        cross_epochs=12,
    ),
    "micro": Plan(
        "micro",
        Recipe(epochs=30, label_smoothing=0.0, patience=30, augmentation=SEEN_AND_UNSEEN),
        fine_tune_epochs=5,
        cross_epochs=12,
    ),
}


def log_epoch(stage: str, entry: dict[str, float]) -> None:
    """One line on stderr."""
    line = f"{stage} epoch {entry['epoch'] + 1:.0f}: AUC {entry['val_auc']:.4f}"
    print(line, file=sys.stderr, flush=True)


def train_teachers(splits: tuple[Dataset, Dataset], runs: Path) -> list[Path]:
    """The wide networks that the shipped ones learn from; their files."""
    distillation = Distillation()
    size = architecture(distillation.arch).input_size_px

    def train_cells() -> Examples:
        return examples_of(load_renderings(splits[0], size, RENDERINGS, cache=default_cache()))

    def val_cells() -> CellSet:
        return load_renderings(splits[1], size, cache=default_cache())["full"]

    return teacher_files(distillation, train_cells, val_cells, runs, log_epoch)


def cross_fitted(dataset: Dataset, plan: Plan, run: Path) -> CrossFitted:
    """Probabilities of train and val cells by networks that had not seen the patient."""
    rows = tuple(
        dataclasses.replace(row, fold=(row.fold or 0) % plan.cross_parts)
        for row in dataset.select(("train", "val")).rows
    )
    part = dataclasses.replace(dataset, rows=rows)
    size = int(load_size(plan))
    cells = load_renderings(part, size, RENDERINGS, cache=default_cache())
    recipe = dataclasses.replace(plan.recipe, epochs=plan.cross_epochs)

    def as_keras(model: Any) -> Any:
        return lambda batch: predict(model, batch)

    results = cross_validate(
        plan.arch,
        cells,
        folds_of(part),
        recipe,
        run,
        as_keras,
        fine_tune_epochs=plan.cross_fine_tune_epochs,
        report=log_epoch,
    )
    full: CellSet = cells["full"]
    chances = np.full(len(full), np.nan)
    for result in results:
        chances[result.held_out] = probability(result.logits, result.temperature, result.bias)
    return CrossFitted(chances, full.labels, full.patients)


def load_size(plan: Plan) -> int:
    """The architecture's input side in px."""
    return architecture(plan.arch).input_size_px


def build_one(name: str, dataset: Dataset, runs: Path) -> None:
    """Trains, decides and installs one model."""
    plan = PLANS[name]
    splits = fitting_rows(dataset)
    run = runs / name
    if not (run / "model.json").is_file():
        train(
            splits,
            plan.arch,
            plan.recipe,
            run,
            fine_tune_epochs=plan.fine_tune_epochs,
            teachers=train_teachers(splits, runs),
            resume=True,
            cache=default_cache(),
            report=log_epoch,
        )
    crossed = cross_fitted(dataset, plan, runs / f"{name}-crossfit")
    size = load_size(plan)
    train_cells = load_renderings(splits[0], size, RENDERINGS, cache=default_cache())["full"]
    val = load_renderings(splits[1], size, cache=default_cache())["full"]
    model = load_model(run / "model.keras")
    record = json.loads((run / "model.json").read_text(encoding="utf-8"))
    record["decision"] = decide(model, val, train_cells, crossed)
    write_json(run / "model.json", record)
    install(run, name)


def install(run: Path, name: str) -> None:
    """Copies a finished run's network and decision to where shipped models stand."""
    write_bytes(SHIPPED_MODELS / f"{name}.keras", (run / "model.keras").read_bytes())
    write_bytes(SHIPPED_MODELS / f"{name}.json", (run / "model.json").read_bytes())


def export(name: str, dataset: Dataset) -> None:
    """The shipped bundle, through the gate on val patients."""
    from edge_malaria.export.convert import Options
    from edge_malaria.export.gate import export_bundle

    options = Options(("float32", "float16", "dynamic", "int8"), force=True)
    export_bundle(name, SHIPPED_MODELS / name, options, dataset, lambda line: print(line))


def main() -> None:
    """Builds what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs/models"))
    parser.add_argument("--only", default=",".join(PLANS))
    parser.add_argument("--no-export", action="store_true")
    arguments = parser.parse_args()
    dataset = open_dataset(arguments.data / "nih" / "cell_images.zip")
    for name in arguments.only.split(","):
        build_one(name, dataset, arguments.runs)
        if not arguments.no_export:
            export(name, dataset)


if __name__ == "__main__":
    main()
