"""A whole training: cells in, a quantization-aware network with its thresholds out.

float training -> batch norms folded -> ranges observed -> fine-tuning with rounding -> calibration.
Only train and val rows are ever opened; see ``cells.fitting_rows``.

A network that cannot be folded (``fold.obstacle`` says why) stops after the first stage: it ships
in float, and its int8 ranges are measured at export.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge_malaria.data.dataset import Dataset
from edge_malaria.errors import ModelShapeError
from edge_malaria.files import sha256_of, storage_errors
from edge_malaria.keras_layers import keras, load_model
from edge_malaria.run_settings import refuse_other_settings
from edge_malaria.runtime.classify.abstain import fit_limits
from edge_malaria.training.architectures.registry import architecture
from edge_malaria.training.classifier.asked_again import Answers, Asking
from edge_malaria.training.classifier.calibrate import decision, fit_platt
from edge_malaria.training.classifier.cells import RENDERINGS, CellSet, load_renderings
from edge_malaria.training.classifier.cross_fitted import CrossFitted
from edge_malaria.training.classifier.feed import OwnBatches, batches
from edge_malaria.training.classifier.fit import fit, predict
from edge_malaria.training.classifier.recipe import Examples, Recipe, write_config
from edge_malaria.training.classifier.run_files import Trained, write_outcome
from edge_malaria.training.quantization.fold import obstacle
from edge_malaria.training.quantization.quantize_aware import RANGE_PERCENTILE, finish, prepare
from edge_malaria.training.transfer.transfer import PLAIN, Start, fit_float, unfreeze

Report = Callable[[str, dict[str, float]], None]

# Ranges are read from this many augmented training cells.
RANGE_BATCHES = 24


def silent(stage: str, entry: dict[str, float]) -> None:
    """A ``Report`` that says nothing."""
    del stage, entry


def examples_of(cells: dict[Any, CellSet], targets: Any = None) -> Examples:
    """Training examples from rendered cells; ``targets`` default to the labels."""
    first = cells[RENDERINGS[0]]
    chosen = first.labels if targets is None else targets
    return Examples(
        tuple(cells[name].inputs for name in RENDERINGS if name in cells),
        np.asarray(chosen, np.float32),
    )


def fine_tuning(recipe: Recipe, epochs: int) -> Recipe:
    """The recipe of the rounding stage: a tenth of the peak rate, the average as a guide."""
    return dataclasses.replace(
        recipe,
        epochs=epochs,
        learning_rate=recipe.learning_rate / 10.0,
        weight_decay=0.0,
        bootstrap_from=0.0,
        patience=epochs,
        seed=recipe.seed + 1_000_003,
    )


def fit_quantized(
    arch: str,
    train: Examples,
    val: CellSet,
    recipe: Recipe,
    run: Path | None = None,
    *,
    fine_tune_epochs: int = 5,
    teachers: Sequence[Any] = (),
    start: Start = PLAIN,
    resume: bool = False,
    report: Report = silent,
) -> tuple[Any, dict[str, list[dict[str, float]]]]:
    """Both stages; returns (network that ships, history by stage).

    A network with an obstacle to folding comes back in float with the history of that stage alone.
    """
    keras.utils.set_random_seed(recipe.seed)
    network = start.network(arch, train, recipe.seed)
    network, history = fit_float(
        network, train, val, recipe, start, run, teachers=teachers, resume=resume, report=report
    )
    if obstacle(network) is not None:
        unfreeze(network)
        return network, history
    shipped, tuned = quantize(
        network,
        train,
        val,
        recipe,
        run / "int8" if run else None,
        fine_tune_epochs=fine_tune_epochs,
        teachers=teachers,
        resume=resume,
        report=report,
    )
    unfreeze(shipped)
    return shipped, {**history, "int8": tuned}


def quantize(
    network: Any,
    train: Examples | OwnBatches,
    val: CellSet,
    recipe: Recipe,
    run: Path | None = None,
    *,
    fine_tune_epochs: int = 5,
    teachers: Sequence[Any] = (),
    resume: bool = False,
    keep_last: bool = False,
    report: Report = silent,
    range_percentile: float = RANGE_PERCENTILE,
) -> tuple[Any, list[dict[str, float]]]:
    """Fine-tunes a trained float network with rounding; returns (what ships, history).

    Without ``fine_tune_epochs`` its weights stay, and only the ranges of its int8 are observed.
    ``keep_last``: see ``fit``.
    """
    seen = [cells for cells, _ in itertools.islice(batches(train, recipe, 0), RANGE_BATCHES)]
    rounding = prepare(network, np.concatenate(seen).astype(np.uint8), range_percentile)
    if not fine_tune_epochs:
        return finish(rounding, network), []
    rounding, tuned = fit(
        rounding,
        train,
        val.inputs,
        val.labels,
        fine_tuning(recipe, fine_tune_epochs),
        run,
        teachers=teachers,
        resume=resume,
        keep_last=keep_last,
        report=lambda entry: report("int8", entry),
    )
    return finish(rounding, network), tuned


def train(
    splits: tuple[Dataset, Dataset],
    arch: str,
    recipe: Recipe,
    run: Path,
    *,
    input_size: int | None = None,
    fine_tune_epochs: int = 5,
    teachers: Sequence[Path] = (),
    start: Start = PLAIN,
    resume: bool = False,
    cache: Path | None = None,
    report: Report = silent,
    step: Callable[[int], None] = lambda done: None,
) -> Trained:
    """Trains ``arch`` on (train, val) and fills the run directory.

    Args:
        splits: from ``cells.fitting_rows``.
        arch: a registered architecture.
        recipe: how.
        run: receives config.json, versions.json, history.json, learning-curve.*, checkpoints,
            model.keras and model.json (the decision block and where it comes from).
        input_size: input side in px; None for the architecture's own.
        fine_tune_epochs: passes with rounding.
        teachers: .keras files of networks with the same input side, fitted to train patients only.
        start: weights, frozen body and preprocessing that the network starts from.
        resume: continue after an interruption; the configuration must be the same.
        cache: for rendered cells.
        report: called after each epoch with the stage and its entry.
        step: called with the number of cells just read.

    Raises:
        ConfigError: ``resume`` with another configuration.
        ModelShapeError: a teacher of another input side.
        StorageError: the run directory is not writable.
    """
    size = input_size or architecture(arch).input_size_px
    settings: dict[str, Any] = {
        "arch": arch,
        "input_size_px": size,
        "fine_tune_epochs": fine_tune_epochs,
        "teachers": [sha256_of(path) for path in teachers],
        "data": {
            name: described(part) for name, part in zip(("train", "val"), splits, strict=True)
        },
    }
    if splits[0].unknown_patients:
        settings["patients"] = "unknown"
    if start != PLAIN:
        settings["start"] = dataclasses.asdict(start)
    opened = [open_teacher(path, size) for path in teachers]
    with storage_errors(run):
        run.mkdir(parents=True, exist_ok=True)
    if resume:
        now = {**settings, "recipe": dataclasses.asdict(recipe)}
        refuse_other_settings(run / "config.json", now)
    write_config(run, recipe, settings)
    train_cells = load_renderings(splits[0], size, RENDERINGS, cache=cache, step=step)
    val = load_renderings(splits[1], size, cache=cache, step=step)["full"]
    model, history = fit_quantized(
        arch,
        examples_of(train_cells),
        val,
        recipe,
        run,
        fine_tune_epochs=fine_tune_epochs,
        teachers=opened,
        start=start,
        resume=resume,
        report=report,
    )
    chosen = decide(model, val, train_cells["full"])
    outcome = Trained(model, chosen, history)
    write_outcome(run, outcome, recipe, settings)
    return outcome


def decide(
    model: Any,
    val: CellSet,
    train_cells: CellSet,
    crossed: CrossFitted | None = None,
    *,
    asking: Asking | None = None,
) -> dict[str, Any]:
    """Calibration and operating points of a trained network.

    Args:
        model: the network that ships.
        val: validation cells.
        train_cells: where the limits of "looks like a red cell" are read.
        crossed: cells of train and val patients by cross-fitted networks; None for ``val`` alone,
            whose few healthy patients then decide the screening point.
        asking: how flagged cells are to be asked again; the points are then fitted to what that
            says, and ``crossed`` must hold its ``again``.
    """
    logits = predict(model, val.inputs)
    calibration = fit_platt(logits, val.labels)
    again = None if asking is None else asking.logits(val, logits, calibration)
    asked_from = None if asking is None else asking.asked_from
    how = "cross-fitted networks over the train and val patients"
    if crossed is None:
        how = "the val patients, whom the network had not been fitted to"
        own = Answers.of_logits(logits, again, calibration, asked_from)
        crossed = CrossFitted(own.first, val.labels, val.patients, own.again)
    abstention = {"not_a_red_cell": fit_limits(train_cells.inputs)}
    scored = logits, val.labels, val.patients
    return decision(scored, calibration, crossed, abstention, how, again, asked_from)


def answers(model: Any, val: CellSet, asking: Asking | None = None) -> Answers:
    """A network's calibrated answers to validation cells, as ``decide`` fits points to them."""
    logits = predict(model, val.inputs)
    calibration = fit_platt(logits, val.labels)
    if asking is None:
        return Answers.of_logits(logits, None, calibration)
    again = asking.logits(val, logits, calibration)
    return Answers.of_logits(logits, again, calibration, asking.asked_from)


def open_teacher(path: Path, size_px: int) -> Any:
    """A trained network whose opinion of the same cells has a share in the targets.

    Raises:
        ModelFileError: not a .keras file that can be read safely.
        ModelShapeError: it takes another input or gives more than one logit.
    """
    teacher = load_model(path)
    expected = ((None, size_px, size_px, 3), (None, 1))
    got = (tuple(teacher.input_shape), tuple(teacher.output_shape))
    if got != expected:
        raise ModelShapeError(
            f"teacher {path}: expected input {expected[0]} and output {expected[1]}, got "
            f"{got[0]} and {got[1]}. Train it with --input-size {size_px}."
        )
    teacher.trainable = False
    return teacher


def described(part: Dataset) -> dict[str, int]:
    """How many cells, parasitized ones and patients a part of a data set has."""
    return {
        "cells": len(part.rows),
        "parasitized": sum(row.label for row in part.rows),
        "patients": len({row.patient_id for row in part.rows} - {None}),
    }
