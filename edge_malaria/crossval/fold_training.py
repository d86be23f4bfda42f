"""Cross-validation with inner validation patients and no look at the fold.

For each fold a network is trained on the other folds' patients. A tenth of those patients (the
inner ones) is held back from fitting and decides the best epoch, temperature and thresholds.
Teachers, where there are some, are trained anew in each fold on the same patients as their student.
The fold itself is only predicted. Doubtful labels stay in every headline figure. With folds made
``by="cell"`` all of that is done with cells instead of patients, to show how much it leaks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.crossval.folds import By, fold_masks
from edge_malaria.crossval.results import FoldResult, Logits, read_result, write_result
from edge_malaria.files import write_json
from edge_malaria.records import Image
from edge_malaria.training.classifier.calibrate import fit_platt
from edge_malaria.training.classifier.cells import CellSet, Rendering
from edge_malaria.training.classifier.recipe import Examples, Recipe
from edge_malaria.training.classifier.run_files import save_model
from edge_malaria.training.classifier.session import (
    Report,
    examples_of,
    fit_quantized,
    open_teacher,
    silent,
)
from edge_malaria.training.classifier.study_plan import StudyPlan
from edge_malaria.training.classifier.study_session import fit_as_studied
from edge_malaria.training.classifier.teachers import Distillation, teacher_files

# A network -> the function that runs it as it ships (int8 on a device engine). A network without
# int8 ranges comes with training cells, uint8 [N, S, S, 3], as a second argument.
Deploy = Callable[..., Callable[[Image], Logits]]

CALIBRATION_CELLS = 512


def run_fold(
    arch: str,
    cells: dict[Rendering, CellSet],
    fold: int,
    recipe: Recipe,
    run: Path,
    deploy: Deploy,
    *,
    fine_tune_epochs: int = 3,
    report: Report = silent,
    by: By = "patient",
    study: StudyPlan | None = None,
    distillation: Distillation | None = None,
) -> FoldResult:
    """Trains without ``fold`` and predicts it; resumes and reuses what ``run`` holds.

    Args:
        arch: a registered architecture.
        cells: renderings of the whole data set, row by row alike.
        fold: the one to predict.
        recipe: how; its seed is shifted by the fold.
        run: this fold's directory.
        deploy: turns the trained network into what ships.
        fine_tune_epochs: passes with rounding.
        report: progress.
        by: what the folds are made of.
        study: the studies' way of training instead of ``recipe``, without teachers.
        distillation: which teachers; those of a fold see its training patients only.
    """
    stored = run / "predictions.npz"
    if stored.is_file():
        return read_result(stored)
    masks = fold_masks(cells["full"], fold, by)
    train = {name: part.take(masks["train"]) for name, part in cells.items()}
    inner = cells["full"].take(masks["inner"])
    if study is not None:
        plan = dataclasses.replace(study, seed=study.seed + 101 * fold)
        state = run / "checkpoint.npz"
        model, history = fit_as_studied(arch, train["full"], inner, plan, report, state)
    else:
        examples = examples_of(train)
        model, history = fit_quantized(
            arch,
            examples,
            inner,
            dataclasses.replace(recipe, seed=recipe.seed + 101 * fold),
            run,
            fine_tune_epochs=fine_tune_epochs,
            teachers=_fold_teachers(distillation, fold, examples, inner, run, report),
            resume=True,
            report=report,
        )
    save_model(model, run / "model.keras")
    write_json(run / "history.json", history)
    held_out = cells["full"].take(masks["held_out"])
    shipped = _shipped(model, deploy, train["full"].inputs)
    result = _predicted(model, fold, masks, inner, held_out, shipped)
    write_result(stored, result)
    return result


def _fold_teachers(
    distillation: Distillation | None,
    fold: int,
    train: Examples,
    inner: CellSet,
    run: Path,
    report: Report,
) -> list[Any]:
    if distillation is None:
        return []
    seeds = tuple(seed + 101 * fold for seed in distillation.seeds)
    distillation = dataclasses.replace(distillation, seeds=seeds)
    files = teacher_files(distillation, lambda: train, lambda: inner, run, report)
    size = int(inner.inputs.shape[1])
    return [open_teacher(file, size) for file in files]


def _shipped(model: Any, deploy: Deploy, inputs: Image) -> Callable[[Image], Logits]:
    from edge_malaria.keras_layers import has_ranges

    if has_ranges(model):
        return deploy(model)
    chosen = np.random.default_rng(0).permutation(len(inputs))[:CALIBRATION_CELLS]
    return deploy(model, inputs[np.sort(chosen)])


def _predicted(
    model: Any,
    fold: int,
    masks: dict[str, NDArray[np.bool_]],
    inner: CellSet,
    held_out: CellSet,
    shipped: Callable[[Image], Logits],
) -> FoldResult:
    from edge_malaria.keras_layers import strip_fake_quant
    from edge_malaria.training.classifier.fit import predict

    inner_logits = shipped(inner.inputs)
    temperature, bias = fit_platt(inner_logits, inner.labels)
    return FoldResult(
        fold=fold,
        held_out=np.flatnonzero(masks["held_out"]),
        logits=shipped(held_out.inputs),
        keras_logits=predict(strip_fake_quant(model), held_out.inputs),
        temperature=temperature,
        bias=bias,
        inner_logits=inner_logits,
        inner_labels=inner.labels,
    )


def cross_validate(
    arch: str,
    cells: dict[Rendering, CellSet],
    folds: Sequence[int],
    recipe: Recipe,
    run: Path,
    deploy: Deploy,
    *,
    fine_tune_epochs: int = 3,
    report: Report = silent,
    by: By = "patient",
    study: StudyPlan | None = None,
    distillation: Distillation | None = None,
) -> list[FoldResult]:
    """All folds one after the other; resumable between and inside folds."""
    settings: dict[str, Any] = {
        "arch": arch,
        "folds": list(folds),
        "fine_tune_epochs": fine_tune_epochs,
        "by": by,
        "teaching": dataclasses.asdict(distillation) if distillation else None,
    }
    how = "recipe" if study is None else "study"
    write_json(run / "config.json", {**settings, how: dataclasses.asdict(study or recipe)})
    results = []
    for fold in folds:

        def tell(stage: str, entry: dict[str, float], fold: int = fold) -> None:
            report(f"fold {fold} {stage}", entry)

        results.append(
            run_fold(
                arch,
                cells,
                fold,
                recipe,
                run / f"fold{fold}",
                deploy,
                fine_tune_epochs=fine_tune_epochs,
                report=tell,
                by=by,
                study=study,
                distillation=distillation,
            )
        )
    return results
