"""Teachers: wide networks whose opinion has a share in what the shipped ones learn from.

A teacher is fitted to the same patients as its student and to no others, so that a fold's teacher
never saw the fold.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from edge_malaria.keras_layers import keras
from edge_malaria.training.architectures import build
from edge_malaria.training.classifier.augment import Augmentation
from edge_malaria.training.classifier.calibrate import bake, fit_platt
from edge_malaria.training.classifier.cells import CellSet
from edge_malaria.training.classifier.fit import fit, predict
from edge_malaria.training.classifier.recipe import Examples, Recipe, write_config
from edge_malaria.training.classifier.run_files import save_model
from edge_malaria.training.classifier.session import Report, silent

# Half of the cells as the training slides were taken, half as other laboratories' might look:
# without the first half a network is less sure of its own laboratory, without the second of others.
SEEN_AND_UNSEEN = Augmentation(plain=0.5)
TEACHER_RECIPE = Recipe(
    epochs=32, bootstrap=0.1, weight_decay=0.01, patience=32, augmentation=SEEN_AND_UNSEEN
)


@dataclass(frozen=True)
class Distillation:
    """Which teachers a student learns from.

    Attributes:
        arch: a registered architecture of the student's input side, wider than the student.
        recipe: how a teacher is trained; its seed is replaced.
        seeds: one teacher each.
    """

    arch: str = "compact-wide"
    recipe: Recipe = field(default_factory=lambda: TEACHER_RECIPE)
    seeds: tuple[int, ...] = (0, 1)


def teacher_files(
    distillation: Distillation,
    train: Callable[[], Examples],
    val: Callable[[], CellSet],
    run: Path,
    report: Report = silent,
) -> list[Path]:
    """Trains the teachers that ``run`` does not hold yet, in float, calibrated; their files.

    Args:
        distillation: which teachers.
        train: gives the cells that the student is fitted to; called only where one is missing.
        val: gives the cells that decide the best epoch and the calibration, likewise.
        run: each teacher gets ``teacher-<seed>`` in it; resumable.
        report: called after each epoch.
    """
    files = []
    for seed in distillation.seeds:
        file = run / f"teacher-{seed}" / "model.keras"
        files.append(file)
        if file.is_file():
            continue
        recipe = dataclasses.replace(distillation.recipe, seed=seed)
        cells = val()
        keras.utils.set_random_seed(seed)
        teacher, _ = fit(
            build(distillation.arch, int(cells.inputs.shape[1])),
            train(),
            cells.inputs,
            cells.labels,
            recipe,
            file.parent,
            resume=True,
            report=lambda entry, seed=seed: report(f"teacher {seed}", entry),  # type: ignore[misc]
        )
        # A smoothed, bootstrapped network is too modest: its students would inherit that.
        bake(teacher, *fit_platt(predict(teacher, cells.inputs), cells.labels))
        size = int(cells.inputs.shape[1])
        write_config(file.parent, recipe, {"arch": distillation.arch, "input_size_px": size})
        save_model(teacher, file)
    return files
