"""``edge-malaria crossval``."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_malaria.cli.dataset_options import ClassesOption, NoPatientsOption, PatientsOption
from edge_malaria.cli.output import print_json, print_table, progress, warn


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
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a running dask scheduler that gets the folds.")
    ] = None,
    workers: Annotated[
        int,
        typer.Option(
            "--workers", "--jobs", min=1, max=1024, help="Folds at a time, each in a process here."
        ),
    ] = 1,
    threads: Annotated[
        int, typer.Option(min=0, help="Threads a fold. Default: the cores, divided by --workers.")
    ] = 0,
    protocol: Annotated[
        Protocol,
        typer.Option(help="recipe: as train does. study: Adam, no augmentation, early stopping."),
    ] = Protocol.recipe,
    epochs: Annotated[int, typer.Option(min=1, help="Passes a fold.")] = 14,
    fine_tune: Annotated[int, typer.Option(min=1, help="Passes with int8 rounding.")] = 3,
    batch: Annotated[int, typer.Option(min=2, help="Cells a step.")] = 128,
    plain: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of cells only turned and moved.")
    ] = 0.0,
    teachers: Annotated[
        int, typer.Option(min=0, help="Teachers a fold, fitted to its training patients alone.")
    ] = 0,
    teacher_arch: Annotated[str, typer.Option(help="Their architecture.")] = "compact-wide",
    teacher_epochs: Annotated[int, typer.Option(min=1, help="Passes of a teacher.")] = 8,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Decides everything random.")] = 0,
    only: Annotated[str, typer.Option(help="Folds to run, for example 0,1; default all.")] = "",
    cells: Annotated[int, typer.Option(min=0, help="At most so many cells; 0: all.")] = 0,
    exclude_suspect: Annotated[
        bool,
        typer.Option(
            "--exclude-suspect", help="Figures without suspect labels too, beside the headline."
        ),
    ] = False,
    patients: PatientsOption = None,
    no_patients: NoPatientsOption = False,
    classes: ClassesOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Trains one network a fold and reports the figures of what ships: int8 on LiteRT."""
    from edge_malaria.crossval.folds import By
    from edge_malaria.crossval.report import leak
    from edge_malaria.crossval.task import (
        Task,
        load,
        on_workers,
        one_kind,
        same_settings,
        with_wanted,
    )
    from edge_malaria.errors import UsageError
    from edge_malaria.files import write_json
    from edge_malaria.training.architectures.registry import architecture

    if scheduler is not None and workers > 1:
        raise UsageError("give --scheduler or --workers, not both.")
    architecture(arch)
    architecture(teacher_arch)
    if teachers and protocol is Protocol.study:
        raise UsageError("--teachers: the study protocol has none. Leave out one of the two.")
    first = Task(
        dataset,
        patients,
        output,
        no_patients=no_patients,
        classes=classes,
        arch=arch,
        epochs=epochs,
        fine_tune=fine_tune,
        batch=batch,
        seed=seed,
        study=protocol is Protocol.study,
        plain=plain,
        teacher_arch=teacher_arch,
        teachers=teachers,
        teacher_epochs=teacher_epochs,
        count=folds,
        cells=cells,
        threads=threads,
    )
    kinds: tuple[By, ...] = ("patient", "cell")
    if by is not FoldsBy.both:
        kinds = ("cell",) if by is FoldsBy.cell else ("patient",)
    tasks = [with_wanted(dataclasses.replace(first, by=kind), only) for kind in kinds]
    for task in tasks:
        same_settings(task)
    opened = tasks[0].open()
    rows = opened.rows
    for warning in opened.warnings:
        warn(warning)
    if exclude_suspect and not any(row.suspect for row in rows):
        warn("the data set names no suspect labels: the figures without them are the same.")
    with progress("reading cells", len(rows)) as bar:
        load(tasks[0], bar.step)
    if workers > 1 or scheduler is not None:
        on_workers(tasks, scheduler, workers)
    parts = {task.by: one_kind(task, exclude_suspect) for task in tasks}
    if by is FoldsBy.both:
        document = {**parts["patient"], "by_cell": parts["cell"]}
        document["leak"] = leak(parts["patient"], parts["cell"])
    else:
        document = parts[kinds[0]]
    write_json(output / "crossval.json", document)
    _show(document, as_json)


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
