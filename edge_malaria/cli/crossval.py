"""``edge-malaria crossval``."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_malaria.cli.output import log, print_json, print_table, progress, warn

if TYPE_CHECKING:
    from edge_malaria.dataset import Dataset
    from edge_malaria.training.recipe import Recipe
    from edge_malaria.training.study import StudyPlan


class FoldsBy(StrEnum):
    """What folds are made of."""

    patient = "patient"
    cell = "cell"
    both = "both"


class Protocol(StrEnum):
    """Ways of training."""

    recipe = "recipe"
    study = "study"


def register(app: typer.Typer) -> None:
    """Adds ``crossval`` to the app."""
    app.command("crossval", help="Cross-validate by patient, int8 on the device engine.")(crossval)


@dataclasses.dataclass(frozen=True)
class Task:
    """One fold, or with ``fold`` None all of ``folds``, for this process or another.

    Attributes:
        dataset, patients: as given.
        run: where folds made of patients go; those of cells go to ``by-cell`` in it.
        arch, epochs, fine_tune, batch, seed, study: how to train.
        count: folds asked for; None: as the data set names them.
        by: ``patient`` or ``cell``.
        folds: those to run.
        cells: at most so many; 0 for all.
        threads: of TensorFlow; 0 leaves it the choice.
    """

    dataset: Path
    patients: Path | None
    run: Path
    arch: str
    epochs: int
    fine_tune: int
    batch: int
    seed: int
    study: bool
    count: int | None
    by: Any
    folds: tuple[int, ...]
    cells: int
    threads: int

    @property
    def directory(self) -> Path:
        """Where this kind of folds is kept."""
        return self.run / "by-cell" if self.by == "cell" else self.run

    def open(self) -> Dataset:
        """The rows, with folds."""
        from edge_malaria.dataset import open_dataset
        from edge_malaria.training.crossval_folds import with_folds

        opened = open_dataset(self.dataset, self.patients)
        return with_folds(opened.thinned(self.cells), self.by, self.count, self.seed)

    def plans(self) -> tuple[Recipe, StudyPlan | None]:
        """The recipe, and the study's plan where that is asked for."""
        from edge_malaria.training.recipe import Recipe
        from edge_malaria.training.study import StudyPlan

        recipe = Recipe(epochs=self.epochs, batch=self.batch, seed=self.seed)
        plan = StudyPlan(epochs=self.epochs, batch=self.batch, seed=self.seed)
        return recipe, plan if self.study else None


def crossval(
    dataset: Annotated[Path, typer.Argument(help="Folder or zip in the NIH layout.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Run directory; resumable.")],
    arch: Annotated[str, typer.Option(help="Architecture.")] = "compact",
    folds: Annotated[
        int | None,
        typer.Option(min=2, help="How many. Default: those of patients.csv (five)."),
    ] = None,
    by: Annotated[
        FoldsBy, typer.Option(help="Folds made of patients, of cells (leaks), or both.")
    ] = FoldsBy.patient,
    jobs: Annotated[int, typer.Option(min=1, help="Folds at a time, each a process.")] = 1,
    threads: Annotated[
        int, typer.Option(min=0, help="Threads a fold. Default: the cores, divided by --jobs.")
    ] = 0,
    protocol: Annotated[
        Protocol,
        typer.Option(help="recipe: as train does. study: Adam, no augmentation, early stopping."),
    ] = Protocol.recipe,
    epochs: Annotated[int, typer.Option(min=1, help="Passes a fold.")] = 14,
    fine_tune: Annotated[int, typer.Option(min=1, help="Passes with int8 rounding.")] = 3,
    batch: Annotated[int, typer.Option(min=2, help="Cells a step.")] = 128,
    seed: Annotated[int, typer.Option(min=0, help="Decides everything random.")] = 0,
    only: Annotated[str, typer.Option(help="Folds to run, for example 0,1; default all.")] = "",
    cells: Annotated[int, typer.Option(min=0, help="At most so many cells; 0: all.")] = 0,
    exclude_suspect: Annotated[
        bool,
        typer.Option(
            "--exclude-suspect", help="Figures without doubtful labels too, beside the headline."
        ),
    ] = False,
    patients: Annotated[Path | None, typer.Option(help="A patients.csv.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Trains one network a fold and reports the figures of what ships: int8 on LiteRT."""
    from edge_malaria.files import write_json
    from edge_malaria.training.architectures import architecture
    from edge_malaria.training.crossval_report import leak

    architecture(arch)
    first = Task(
        *(dataset, patients, output, arch, epochs, fine_tune, batch, seed),
        *(protocol is Protocol.study, folds, by, (), cells, threads),
    )
    kinds = ("patient", "cell") if by is FoldsBy.both else (by.value,)
    tasks = [with_wanted(dataclasses.replace(first, by=kind), only) for kind in kinds]
    for task in tasks:
        same_settings(task)
    if jobs > 1:
        in_parallel(tasks, jobs)
    parts = {task.by: one_kind(task, exclude_suspect) for task in tasks}
    if by is FoldsBy.both:
        document = {**parts["patient"], "by_cell": parts["cell"]}
        document["leak"] = leak(parts["patient"], parts["cell"])
    else:
        document = parts[by.value]
    write_json(output / "crossval.json", document)
    _show(document, as_json)


def with_wanted(task: Task, only: str) -> Task:
    """``task`` with the folds that it shall run."""
    from edge_malaria.errors import UsageError

    known = sorted({row.fold for row in task.open().rows if row.fold is not None})
    wanted = [int(part) for part in only.split(",") if part.strip().isdigit()]
    if only and (not wanted or not set(wanted) <= set(known)):
        raise UsageError(f"--only {only}: expected folds out of {known}.")
    return dataclasses.replace(task, folds=tuple(sorted(set(wanted)) or known))


def same_settings(task: Task) -> None:
    """Refuses a run directory whose folds were trained another way.

    Raises:
        ConfigError: naming what differs.
    """
    import json

    from edge_malaria.errors import ConfigError
    from edge_malaria.files import write_json

    path = task.directory / "settings.json"
    kept = ("arch", "epochs", "fine_tune", "batch", "seed", "study", "count", "by", "cells")
    now = {name: getattr(task, name) for name in kept}
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else now
    changed = sorted(name for name in kept if before.get(name) != now[name])
    if changed:
        raise ConfigError(
            f"{task.directory} was started with another {', '.join(changed)}: repeat the same "
            "options or choose another -o."
        )
    write_json(path, now)


def in_parallel(tasks: list[Task], jobs: int) -> None:
    """Runs the folds that are missing, ``jobs`` at a time."""
    import os

    from edge_malaria.training.processes import in_processes

    threads = max(1, (os.cpu_count() or 1) // jobs)
    missing = [
        dataclasses.replace(task, folds=(fold,), threads=task.threads or threads)
        for task in tasks
        for fold in task.folds
        if not (task.directory / f"fold{fold}" / "predictions.npz").is_file()
    ]
    if missing:
        # Rendered once, into the cache; the children find them there.
        load(missing[0])
        in_processes(run_task, missing, jobs)


def load(task: Task) -> Any:
    """Every rendering that this way of training needs."""
    from edge_malaria.training.architectures import architecture
    from edge_malaria.training.cells import RENDERINGS, default_cache, load_renderings

    opened = task.open()
    size = architecture(task.arch).input_size_px
    names = RENDERINGS[:1] if task.study else RENDERINGS
    with progress("reading cells", len(opened.rows)) as bar:
        return load_renderings(opened, size, names, cache=default_cache(), step=bar.step)


def run_task(task: Task) -> Any:
    """Trains the folds of ``task``; returns (results, cells)."""
    from edge_malaria.training.crossval import cross_validate

    if task.threads:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(task.threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    cells = load(task)
    recipe, study = task.plans()
    results = cross_validate(
        task.arch,
        cells,
        task.folds,
        recipe,
        task.directory,
        int8_on_litert,
        fine_tune_epochs=task.fine_tune,
        report=lambda stage, entry: log(
            f"{stage} epoch {entry['epoch'] + 1:.0f}: inner AUC {entry['val_auc']:.4f}"
        ),
        by=task.by,
        study=study,
    )
    return results, cells


def one_kind(task: Task, exclude_suspect: bool) -> dict[str, Any]:
    """Runs what is missing of one kind of folds, draws its plots and sums it up."""
    from edge_malaria.training.crossval import read_histories
    from edge_malaria.training.crossval_report import pooled, summarize
    from edge_malaria.training.curves import plot_fold_curves, plot_roc

    results, cells = run_task(task)
    full = cells["full"]
    if exclude_suspect and not full.suspect.any():
        warn("the data set names no doubtful labels: the figures without them are the same.")
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
    return {**facts, **summary}


def int8_on_litert(model: Any, calibration: Any = None) -> Any:
    """A Keras model -> a function from pixels to int8 logits on LiteRT.

    Args:
        model: quantization-aware, or a float one with ``calibration``.
        calibration: uint8 [N, S, S, 3] that the ranges of a float model are measured on.
    """
    import numpy as np

    from converters.to_tflite import convert
    from edge_malaria.runtime.engines import open_engine

    engine = open_engine(convert(model, "int8", calibration), "litert", 1)

    def run(batch: Any) -> Any:
        parts = [engine.run(batch[i : i + 256]).reshape(-1) for i in range(0, len(batch), 256)]
        return np.concatenate(parts).astype(np.float32)

    return run


def _show(document: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(document)
        return
    _table(document)
    if "by_cell" in document:
        _table(document["by_cell"])
        rows = [
            (
                name,
                _spread(document["mean_sd"][name]),
                _spread(document["by_cell"]["mean_sd"][name]),
                _number(difference),
            )
            for name, difference in document["leak"].items()
        ]
        columns = (
            "mean ± sd over folds",
            "by patient",
            "by cell",
            "the leak: by cell - by patient",
        )
        print_table("", columns, rows)


def _table(document: dict[str, Any]) -> None:
    keys = ("n", "accuracy", "auc", "sensitivity", "specificity", "precision", "f1", "mcc")
    parts = [("raw labels", document["raw_labels"])]
    parts += [("without suspect labels", document["without_suspect_labels"])]
    parts += [(f"fold {entry['fold']}", entry) for entry in document["per_fold"]]
    rows = [(name, *(_number(entry[key]) for key in keys)) for name, entry in parts]
    for name, key in (
        ("mean ± sd", "mean_sd"),
        ("without suspect", "mean_sd_without_suspect_labels"),
    ):
        if key in document:
            rows.append((name, "", *(_spread(document[key][measure]) for measure in keys[1:])))
    title = (
        f"{document['arch']}, cross-validation by {document['by']} (seed {document['seed']}), "
        "int8 on LiteRT"
    )
    print_table(title, ("cells", *keys), rows)


def _spread(value: dict[str, float | None]) -> str:
    if value["mean"] is None:
        return "-"
    return f"{value['mean']:.4f}" + ("" if value["sd"] is None else f" ± {value['sd']:.4f}")


def _number(value: float | int | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.4f}"
