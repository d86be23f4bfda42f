"""``edge-malaria train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edge_malaria.cli.dataset_options import (
    ClassesOption,
    NoPatientsOption,
    PatientsOption,
    UnknownPatientsOption,
    open_cells,
)
from edge_malaria.cli.output import log, print_json, print_table, progress, warn

_AT_EXPORT = "its int8 ranges are measured at export, which then needs --data"


def register(app: typer.Typer) -> None:
    """Adds ``train`` to the app."""
    app.command("train", help="Train a network on red-cell crops, split by patient.")(train)


def train(
    dataset: Annotated[Path, typer.Argument(help="Folder or zip in the NIH layout.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Run directory.")],
    arch: Annotated[
        str, typer.Option(help="Architecture to train; an unknown name lists them all.")
    ] = "compact",
    input_size: Annotated[
        str | None,
        typer.Option(help="Input side in px, or median: of the train cells. Default: its own."),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="At most so many passes.")] = 30,
    fine_tune: Annotated[
        int, typer.Option(min=1, help="Passes with int8 rounding at the end.")
    ] = 5,
    batch: Annotated[int, typer.Option(min=2, help="Cells a step.")] = 128,
    teacher: Annotated[
        list[Path] | None,
        typer.Option(help="A .keras file whose opinion has a share in the targets; repeatable."),
    ] = None,
    teacher_share: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="The teachers' share in the targets.")
    ] = 0.7,
    weights: Annotated[
        str | None, typer.Option(help="Start from imagenet, a .h5 file of it, or a .keras file.")
    ] = None,
    freeze_body: Annotated[
        bool, typer.Option("--freeze-body", help="Train the top alone, the body as it came.")
    ] = False,
    unfreeze: Annotated[
        int, typer.Option(min=0, help="Passes over everything after --freeze-body.")
    ] = 0,
    preprocess: Annotated[
        str | None, typer.Option(help="centre, lcn or whiten, inside the network.")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Decides weights, order, augmentation.")
    ] = 0,
    patients: PatientsOption = None,
    no_patients: NoPatientsOption = False,
    classes: ClassesOption = None,
    unknown_patients: UnknownPatientsOption = False,
    exclude_suspect: Annotated[
        bool,
        typer.Option("--exclude-suspect", help="Also val figures without suspect labels."),
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the run directory.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Trains, fine-tunes with int8 rounding, calibrates, and writes the run directory."""
    import shutil

    from edge_malaria.errors import OutputExists
    from edge_malaria.training.architectures.registry import architecture
    from edge_malaria.training.classifier.cells import default_cache, fitting_rows, load_renderings
    from edge_malaria.training.classifier.preprocessing import side_px
    from edge_malaria.training.classifier.recipe import Recipe
    from edge_malaria.training.classifier.session import train as run_training
    from edge_malaria.training.classifier.suspects import val_figures
    from edge_malaria.training.transfer.transfer import Start

    if output.exists() and not (resume or force):
        raise OutputExists(f"{output} exists. Choose another name, or add --resume or --force.")
    start = Start(weights, freeze_body, unfreeze, preprocess)
    architecture(arch)
    opened = open_cells(dataset, patients, no_patients, classes, unknown_patients)
    splits = fitting_rows(opened)
    size = side_px(input_size, splits[0])
    float_only = start.obstacle(arch, size)
    if float_only:
        warn(f"{arch} is trained in float only ({float_only}): {_AT_EXPORT}.")
    if force and not resume and output.exists():
        shutil.rmtree(output)
    recipe = Recipe(epochs=epochs, batch=batch, seed=seed, teacher_share=teacher_share)
    total = sum(len(part.rows) for part in splits)
    with progress("reading cells", total) as bar:
        outcome = run_training(
            splits,
            arch,
            recipe,
            output,
            input_size=size,
            fine_tune_epochs=fine_tune,
            teachers=teacher or (),
            start=start,
            resume=resume,
            cache=default_cache(),
            report=_report,
            step=bar.step,
        )
    figures = None
    if exclude_suspect:
        size = int(outcome.model.input_shape[1])
        val = load_renderings(splits[1], size, cache=default_cache())["full"]
        figures = val_figures(outcome.model, outcome.decision, val)
    _show(output, outcome, figures, as_json)


def _report(stage: str, entry: dict[str, float]) -> None:
    log(
        f"{stage:5s} epoch {entry['epoch'] + 1:3.0f}  loss {entry['loss']:.4f}  "
        f"val AUC {entry['val_auc']:.4f}  val accuracy {entry['val_accuracy']:.4f}  "
        f"{entry['seconds']:.0f} s"
    )


def _show(run: Path, outcome: Any, figures: dict[str, Any] | None, as_json: bool) -> None:
    aware = "int8" in outcome.history
    stage = list(outcome.history.values())[-1]
    last = max(stage, key=lambda entry: entry["val_auc"])
    points = outcome.decision["operating_points"]
    if as_json:
        print_json(
            {
                "run": str(run),
                "model": str(run / "model.keras"),
                "int8_ranges": "in the model" if aware else "measured at export",
                "val_auc": last["val_auc"],
                "val_accuracy": last["val_accuracy"],
                "operating_points": points,
                "temperature": outcome.decision["temperature"],
                **({"val": figures} if figures else {}),
            }
        )
        return
    rows = [
        (name, f"{point['threshold']:.4f}", *(f"{point['val'][key]:.4f}" for key in point["val"]))
        for name, point in points.items()
    ]
    print_table(
        f"{run / 'model.keras'}: validation AUC {last['val_auc']:.4f}",
        ("operating point", "threshold", "sensitivity", "specificity"),
        rows,
    )
    if figures:
        sound = figures["without_suspect_labels"]
        rates = [
            (name, str(part["n"]), *(f"{part[key]:.4f}" for key in ("accuracy", "auc", "mcc")))
            for name, part in (("raw labels", figures), ("without suspect labels", sound))
        ]
        print_table("validation patients", ("labels", "cells", "accuracy", "AUC", "MCC"), rates)
    needed = "" if aware else " --data DATASET"
    print(f"next: edge-malaria export {run / 'model.keras'} --int8{needed} -o my-bundle")
