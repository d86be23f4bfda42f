"""``edge-malaria train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

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
        int | None, typer.Option(min=8, help="Input side in px. Default: the architecture's own.")
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
    seed: Annotated[int, typer.Option(min=0, help="Decides weights, order, augmentation.")] = 0,
    patients: Annotated[Path | None, typer.Option(help="A patients.csv.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the run directory.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Trains, fine-tunes with int8 rounding, calibrates, and writes the run directory."""
    import shutil

    from edge_malaria.dataset import open_dataset
    from edge_malaria.errors import OutputExists
    from edge_malaria.training.architectures import build
    from edge_malaria.training.cells import default_cache, fitting_rows
    from edge_malaria.training.fold import obstacle
    from edge_malaria.training.recipe import Recipe
    from edge_malaria.training.session import train as run_training

    if output.exists() and not (resume or force):
        raise OutputExists(f"{output} exists. Choose another name, or add --resume or --force.")
    float_only = obstacle(build(arch, input_size))
    if float_only:
        warn(f"{arch} is trained in float only ({float_only}): {_AT_EXPORT}.")
    opened = open_dataset(dataset, patients)
    splits = fitting_rows(opened)
    for warning in opened.warnings:
        log(f"warning: {warning}")
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
            input_size=input_size,
            fine_tune_epochs=fine_tune,
            teachers=teacher or (),
            resume=resume,
            cache=default_cache(),
            report=_report,
            step=bar.step,
        )
    _show(output, outcome, as_json)


def _report(stage: str, entry: dict[str, float]) -> None:
    log(
        f"{stage:5s} epoch {entry['epoch'] + 1:3.0f}  loss {entry['loss']:.4f}  "
        f"val AUC {entry['val_auc']:.4f}  val accuracy {entry['val_accuracy']:.4f}  "
        f"{entry['seconds']:.0f} s"
    )


def _show(run: Path, outcome: Any, as_json: bool) -> None:
    aware = "int8" in outcome.history
    stage = outcome.history["int8" if aware else "float"]
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
    needed = "" if aware else " --data DATASET"
    print(f"next: edge-malaria export {run / 'model.keras'} --int8{needed} -o my-bundle")
