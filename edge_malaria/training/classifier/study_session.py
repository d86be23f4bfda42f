"""A whole training by a study's protocol: cells in, a network with its thresholds out.

The network is trained in float. Passes with int8 rounding may follow; without them its int8 ranges
are measured at export. Only train and val rows are ever opened.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_malaria.data.dataset import Dataset
from edge_malaria.errors import ModelShapeError
from edge_malaria.files import storage_errors
from edge_malaria.keras_layers import keras
from edge_malaria.parity.judges import PUBLISHED_PROTOCOL
from edge_malaria.run_settings import refuse_other_settings
from edge_malaria.training.architectures.registry import architecture, build
from edge_malaria.training.classifier.cells import CellSet, load_renderings
from edge_malaria.training.classifier.recipe import Recipe, write_config
from edge_malaria.training.classifier.run_files import Trained, write_outcome
from edge_malaria.training.classifier.session import (
    Report,
    decide,
    described,
    examples_of,
    quantize,
    silent,
)
from edge_malaria.training.classifier.study import fit_study
from edge_malaria.training.classifier.study_plan import StudyPlan
from edge_malaria.training.quantization.fold import obstacle

History = dict[str, list[dict[str, float]]]


def fit_as_studied(
    arch: str,
    train: CellSet,
    val: CellSet,
    plan: StudyPlan,
    report: Report = silent,
    checkpoint: Path | None = None,
) -> tuple[Any, History]:
    """A fresh ``arch`` of the cells' side, fitted by ``plan``; (network, history by stage).

    ``checkpoint``: see ``fit_study``.
    """
    keras.utils.set_random_seed(plan.seed)
    model = build(arch, int(train.inputs.shape[1]))
    history = fit_study(
        model,
        (train.inputs, train.labels),
        (val.inputs, val.labels),
        plan,
        report=lambda entry: report("float", entry),
        checkpoint=checkpoint,
    )
    return model, {"float": history}


def train_as_studied(
    splits: tuple[Dataset, Dataset],
    arch: str,
    plan: StudyPlan,
    run: Path,
    *,
    input_size: int | None = None,
    fine_tune_epochs: int = 0,
    resume: bool = False,
    cache: Path | None = None,
    report: Report = silent,
    step: Callable[[int], None] = lambda done: None,
) -> Trained:
    """Trains ``arch`` by ``plan`` on (train, val) and fills the run directory as ``train`` does.

    Args:
        splits: from ``cells.fitting_rows``.
        arch: a registered architecture.
        plan: how; see ``published``.
        run: receives config.json, versions.json, history.json, learning-curve.*, checkpoints,
            model.keras and model.json.
        input_size: input side in px; None for the architecture's own.
        fine_tune_epochs: passes with int8 rounding behind the protocol; 0 for none.
        resume: go on after the last whole pass of an interrupted run of the same settings.
        cache: for rendered cells.
        report: called after each epoch with the stage and its entry.
        step: called with the number of cells just read.

    Raises:
        ConfigError: ``resume`` with other settings.
        ModelShapeError: passes with rounding are asked for, and the network cannot be folded.
        StorageError: the run directory is not writable.
    """
    size = input_size or architecture(arch).input_size_px
    _check_rounding(arch, size, fine_tune_epochs)
    settings: dict[str, Any] = {
        "arch": arch,
        "input_size_px": size,
        "protocol": PUBLISHED_PROTOCOL,
        "fine_tune_epochs": fine_tune_epochs,
        "data": {
            name: described(part) for name, part in zip(("train", "val"), splits, strict=True)
        },
    }
    if splits[0].unknown_patients:
        settings["patients"] = "unknown"
    with storage_errors(run):
        run.mkdir(parents=True, exist_ok=True)
    checkpoint = run / "checkpoint.npz"
    if resume:
        now = {**settings, "recipe": dataclasses.asdict(plan)}
        refuse_other_settings(run / "config.json", now)
    else:
        checkpoint.unlink(missing_ok=True)
    write_config(run, plan, settings)
    train_cells = load_renderings(splits[0], size, cache=cache, step=step)
    val = load_renderings(splits[1], size, cache=cache, step=step)["full"]
    model, history = fit_as_studied(arch, train_cells["full"], val, plan, report, checkpoint)
    if fine_tune_epochs:
        rounding = Recipe(seed=plan.seed, label_smoothing=0.0)
        model, history["int8"] = quantize(
            model,
            examples_of(train_cells),
            val,
            dataclasses.replace(rounding, batch=max(plan.batch, 32)),
            run / "int8",
            fine_tune_epochs=fine_tune_epochs,
            resume=resume,
            report=report,
        )
    outcome = Trained(model, decide(model, val, train_cells["full"]), history)
    write_outcome(run, outcome, plan, settings)
    return outcome


def _check_rounding(arch: str, size: int, epochs: int) -> None:
    why = obstacle(build(arch, size)) if epochs else None
    if why is not None:
        raise ModelShapeError(
            f"{arch} cannot be fine-tuned with int8 rounding ({why}). Leave out --fine-tune."
        )
