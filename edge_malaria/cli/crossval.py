"""``edge-malaria crossval``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edge_malaria.cli.output import log, print_json, print_table, progress


def register(app: typer.Typer) -> None:
    """Adds ``crossval`` to the app."""
    app.command("crossval", help="Cross-validate by patient, int8 on the device engine.")(crossval)


def crossval(
    dataset: Annotated[Path, typer.Argument(help="Folder or zip in the NIH layout.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Run directory; resumable.")],
    arch: Annotated[str, typer.Option(help="Architecture.")] = "compact",
    epochs: Annotated[int, typer.Option(min=1, help="Passes a fold.")] = 14,
    fine_tune: Annotated[int, typer.Option(min=1, help="Passes with int8 rounding.")] = 3,
    batch: Annotated[int, typer.Option(min=2, help="Cells a step.")] = 128,
    seed: Annotated[int, typer.Option(min=0, help="Decides everything random.")] = 0,
    only: Annotated[str, typer.Option(help="Folds to run, for example 0,1; default all.")] = "",
    patients: Annotated[Path | None, typer.Option(help="A patients.csv.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Trains one network a fold and reports the pooled figures of what ships: int8 on LiteRT."""
    from edge_malaria.dataset import open_dataset
    from edge_malaria.errors import UsageError
    from edge_malaria.files import write_json
    from edge_malaria.training.architectures import architecture, build
    from edge_malaria.training.cells import RENDERINGS, default_cache, load_renderings
    from edge_malaria.training.crossval import cross_validate, folds_of
    from edge_malaria.training.crossval_report import summarize
    from edge_malaria.training.fold import obstacle
    from edge_malaria.training.recipe import Recipe

    size = architecture(arch).input_size_px
    float_only = obstacle(build(arch))
    if float_only:
        raise UsageError(
            f"crossval reports the int8 file of what train gives; {arch} has no int8 ranges of its "
            f"own ({float_only}). Choose another --arch."
        )
    opened = open_dataset(dataset, patients)
    folds = folds_of(opened)
    if only:
        wanted = [int(part) for part in only.split(",") if part.strip().isdigit()]
        if not wanted or not set(wanted) <= set(folds):
            raise UsageError(f"--only {only}: expected folds out of {folds}.")
        folds = wanted
    recipe = Recipe(epochs=epochs, batch=batch, seed=seed)
    with progress("reading cells", len(opened.rows)) as bar:
        cells = load_renderings(opened, size, RENDERINGS, cache=default_cache(), step=bar.step)
    results = cross_validate(
        arch,
        cells,
        folds,
        recipe,
        output,
        int8_on_litert,
        fine_tune_epochs=fine_tune,
        report=lambda stage, entry: log(
            f"{stage} epoch {entry['epoch'] + 1:.0f}: inner AUC {entry['val_auc']:.4f}"
        ),
    )
    summary = summarize(results, cells["full"])
    write_json(output / "crossval.json", summary)
    _show(summary, as_json)


def int8_on_litert(model: Any) -> Any:
    """A quantization-aware Keras model -> a function from pixels to int8 logits on LiteRT."""
    import numpy as np

    from converters.to_tflite import convert
    from edge_malaria.runtime.engines import open_engine

    engine = open_engine(convert(model, "int8"), "litert", 1)

    def run(batch: Any) -> Any:
        parts = [engine.run(batch[i : i + 256]).reshape(-1) for i in range(0, len(batch), 256)]
        return np.concatenate(parts).astype(np.float32)

    return run


def _show(summary: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(summary)
        return
    keys = ("n", "accuracy", "auc", "sensitivity", "specificity", "mcc")
    rows = []
    parts = [("raw labels", summary["raw_labels"])]
    parts += [("without suspect labels", summary["without_suspect_labels"])]
    parts += [(f"fold {entry['fold']}", entry) for entry in summary["per_fold"]]
    for name, entry in parts:
        rows.append((name, *(_number(entry[key]) for key in keys)))
    print_table("cross-validation by patient, int8 on LiteRT", ("cells", *keys), rows)


def _number(value: float | int | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.4f}"
