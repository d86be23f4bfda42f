"""Folds as tasks: trained here or on the workers of a cluster, run as they ship on LiteRT.

It stands above ``training`` and ``converters`` because a fold needs both.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edge_malaria.batch.cluster import open_client, run_all
from edge_malaria.crossval.fold_training import cross_validate
from edge_malaria.crossval.folds import By, with_folds
from edge_malaria.crossval.report import pooled, summarize
from edge_malaria.crossval.results import FoldResult, read_histories
from edge_malaria.data.dataset import Dataset, open_dataset
from edge_malaria.errors import UsageError
from edge_malaria.files import write_json
from edge_malaria.run_settings import refuse_other_settings
from edge_malaria.training.architectures.registry import architecture
from edge_malaria.training.classifier.augment import Augmentation
from edge_malaria.training.classifier.cells import (
    RENDERINGS,
    CellSet,
    default_cache,
    load_renderings,
)
from edge_malaria.training.classifier.published import published
from edge_malaria.training.classifier.recipe import Recipe
from edge_malaria.training.classifier.study_plan import StudyPlan
from edge_malaria.training.classifier.teachers import TEACHER_RECIPE, Distillation
from edge_malaria.training.curves import plot_fold_curves, plot_roc

Cells = dict[Any, CellSet]


@dataclasses.dataclass(frozen=True)
class Task:
    """One fold, or all of ``folds``, for this process or another.

    Attributes:
        dataset, patients, no_patients, classes: as given; see ``open_dataset``.
        run: where folds made of patients go; those of cells go to ``by-cell`` in it.
        arch, epochs, fine_tune, batch, seed, study, plain: how to train.
        teacher_arch, teachers, teacher_epochs: so many teachers a fold, each of so many passes.
        count: folds asked for; None: as the data set names them.
        by: ``patient`` or ``cell``.
        folds: those to run.
        cells: at most so many; 0 for all.
        threads: of TensorFlow; 0 leaves it the choice.
    """

    dataset: Path
    patients: Path | None
    run: Path
    arch: str = "compact"
    epochs: int = 14
    fine_tune: int = 3
    batch: int = 128
    seed: int = 0
    study: bool = False
    plain: float = 0.0
    teacher_arch: str = "compact-wide"
    teachers: int = 0
    teacher_epochs: int = 8
    count: int | None = None
    by: By = "patient"
    folds: tuple[int, ...] = ()
    cells: int = 0
    threads: int = 0
    no_patients: bool = False
    classes: str | None = None

    @property
    def directory(self) -> Path:
        """Where this kind of folds is kept."""
        return self.run / "by-cell" if self.by == "cell" else self.run

    def elsewhere(self) -> Task:
        """The same with whole paths: a worker stands in a folder of its own."""
        patients = None if self.patients is None else self.patients.resolve()
        return dataclasses.replace(
            self, dataset=self.dataset.resolve(), patients=patients, run=self.run.resolve()
        )

    def open(self) -> Dataset:
        """The rows, with folds."""
        opened = open_dataset(
            self.dataset, self.patients, no_patients=self.no_patients, classes=self.classes
        )
        return with_folds(opened.thinned(self.cells), self.by, self.count, self.seed)

    def recipe(self) -> Recipe:
        """How the student is trained; with teachers it needs no smoothing, as in ``make model``."""
        return Recipe(
            epochs=self.epochs,
            batch=self.batch,
            seed=self.seed,
            label_smoothing=0.0 if self.teachers else Recipe.label_smoothing,
            augmentation=Augmentation(plain=self.plain),
        )

    def study_plan(self) -> StudyPlan | None:
        """The plan of the architecture's study where that is asked for."""
        if not self.study:
            return None
        own = published(self.arch)
        plan = StudyPlan() if own is None else own.plan
        return dataclasses.replace(plan, epochs=self.epochs, batch=self.batch, seed=self.seed)

    def distillation(self) -> Distillation | None:
        """The teachers, if there are any."""
        if not self.teachers:
            return None
        recipe = dataclasses.replace(
            TEACHER_RECIPE,
            epochs=self.teacher_epochs,
            patience=self.teacher_epochs,
            batch=self.batch,
            augmentation=Augmentation(plain=self.plain),
        )
        return Distillation(self.teacher_arch, recipe, tuple(range(self.teachers)))


def with_wanted(task: Task, only: str) -> Task:
    """``task`` with the folds that it shall run."""
    known = sorted({row.fold for row in task.open().rows if row.fold is not None})
    wanted = [int(part) for part in only.split(",") if part.strip().isdigit()]
    if only and (not wanted or not set(wanted) <= set(known)):
        raise UsageError(f"--only {only}: expected folds out of {known}.")
    return dataclasses.replace(task, folds=tuple(sorted(set(wanted)) or known))


# What folds of one directory must have in common.
SETTINGS = (
    *("arch", "epochs", "fine_tune", "batch", "seed", "study", "plain"),
    *("teacher_arch", "teachers", "teacher_epochs", "count", "by", "cells"),
    *("no_patients", "classes"),
)


def same_settings(task: Task) -> None:
    """Refuses a run directory whose folds were trained another way.

    Raises:
        ConfigError: naming what differs.
    """
    path = task.directory / "settings.json"
    now = {name: getattr(task, name) for name in SETTINGS}
    # A directory of an older version lacks the later settings: it had their defaults.
    defaults = {f.name: f.default for f in dataclasses.fields(Task) if f.name in SETTINGS}
    refuse_other_settings(path, now, defaults)
    write_json(path, now)


def on_workers(tasks: list[Task], scheduler: str | None, workers: int) -> None:
    """Runs the folds that are missing on a cluster; a fold of a worker that died is done again.

    Args:
        tasks: each with its folds.
        scheduler: address of a running one; None makes a cluster of processes here.
        workers: of the cluster made here; elsewhere the cluster has its own.

    Raises:
        EdgeMalariaError: see ``batch.cluster.open_client`` and ``run_all``.
    """
    threads = max(1, (os.cpu_count() or 1) // workers)
    missing = [
        dataclasses.replace(task.elsewhere(), folds=(fold,), threads=task.threads or threads)
        for task in tasks
        for fold in task.folds
        if not (task.directory / f"fold{fold}" / "predictions.npz").is_file()
    ]
    if missing:
        # Rendered once, into the cache; workers on this machine find them there.
        load(missing[0])
        with open_client(scheduler, workers, _tell) as client:
            run_all(client, _train, missing)


def _train(task: Task) -> None:
    run_task(task)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def load(task: Task, step: Callable[[int], None] = lambda done: None) -> Cells:
    """Every rendering that this way of training needs, from the cache where it was read before.

    Args:
        task: its data set, architecture and protocol decide.
        step: called with the number of cells just read.
    """
    opened = task.open()
    size = architecture(task.arch).input_size_px
    names = RENDERINGS[:1] if task.study else RENDERINGS
    return load_renderings(opened, size, names, cache=default_cache(), step=step)


def run_task(task: Task) -> tuple[list[FoldResult], Cells]:
    """Trains the folds of ``task`` that are missing; says each epoch on stderr."""
    if task.threads:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(task.threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    cells = load(task)
    results = cross_validate(
        task.arch,
        cells,
        task.folds,
        task.recipe(),
        task.directory,
        int8_on_litert,
        fine_tune_epochs=task.fine_tune,
        report=_say,
        by=task.by,
        study=task.study_plan(),
        distillation=task.distillation(),
    )
    return results, cells


def _say(stage: str, entry: dict[str, float]) -> None:
    line = f"{stage} epoch {entry['epoch'] + 1:.0f}: inner AUC {entry['val_auc']:.4f}"
    print(line, file=sys.stderr, flush=True)


def one_kind(task: Task, exclude_suspect: bool) -> dict[str, Any]:
    """Runs what is missing of one kind of folds, draws its plots and sums it up."""
    results, cells = run_task(task)
    full = cells["full"]
    table = pooled(results, full)
    answers = {
        f"fold {result.fold}": (full.labels[result.held_out], table["chance"][result.held_out])
        for result in results
    }
    title = f"{task.arch}, {len(results)} folds by {task.by}, int8 on LiteRT"
    plot_roc(answers, task.directory / "roc", title=title, mean=True)
    histories = read_histories(task.directory, task.folds)
    curves = {f"fold {fold}": history["float"] for fold, history in histories.items()}
    plot_fold_curves(curves, task.directory / "learning-curves", title=title)
    summary = summarize(results, full, exclude_suspect=exclude_suspect)
    how = "study" if task.study else "recipe"
    facts = {"by": task.by, "arch": task.arch, "protocol": how, "seed": task.seed}
    if task.teachers:
        facts["teachers"] = f"{task.teachers} x {task.teacher_arch}, {task.teacher_epochs} passes"
    return {**facts, **summary}


def int8_on_litert(model: Any, calibration: Any = None) -> Any:
    """A Keras model -> a function from pixels to int8 logits on LiteRT.

    Args:
        model: quantization-aware, or a float one with ``calibration``.
        calibration: uint8 [N, S, S, 3] that the ranges of a float model are measured on.
    """
    from converters.to_tflite import convert
    from edge_malaria.runtime.engines.opening import open_engine

    engine = open_engine(convert(model, "int8", calibration), "litert", 1)

    def run(batch: Any) -> Any:
        parts = [engine.run(batch[i : i + 256]).reshape(-1) for i in range(0, len(batch), 256)]
        return np.concatenate(parts).astype(np.float32)

    return run
