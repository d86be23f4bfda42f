"""``edge-malaria ensemble``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_malaria.cli.dataset_options import (
    ClassesOption,
    NoPatientsOption,
    PatientsOption,
    open_cells,
)
from edge_malaria.cli.options import new_keras_file
from edge_malaria.cli.output import print_json, print_table, progress

if TYPE_CHECKING:
    from edge_malaria.training.ensemble import Ensemble


class Weights(StrEnum):
    """How members are weighed."""

    mean = "mean"
    weighted = "weighted"


class Average(StrEnum):
    """What is averaged."""

    logit = "logit"
    probability = "probability"


def register(app: typer.Typer) -> None:
    """Adds ``ensemble`` to the app."""
    app.command("ensemble", help="Join several .keras models into one, a teacher or a model.")(
        ensemble
    )


def ensemble(
    models: Annotated[list[Path], typer.Argument(help="Two or more .keras files of one size.")],
    data: Annotated[Path, typer.Option("--data", help="Data set; its val split calibrates.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .keras file to write.")],
    weights: Annotated[
        Weights, typer.Option("--weights", help="weighted: chosen on val patients.")
    ] = Weights.mean,
    average: Annotated[
        Average, typer.Option("--average", help="Logits, or probabilities.")
    ] = Average.logit,
    patients: PatientsOption = None,
    no_patients: NoPatientsOption = False,
    classes: ClassesOption = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Calibrates each member on val, joins them, and writes the model and its decision."""
    from edge_malaria.keras_layers import load_model
    from edge_malaria.training.classifier.cells import default_cache, fitting_rows, load_renderings
    from edge_malaria.training.classifier.session import decide
    from edge_malaria.training.ensemble import build_ensemble

    new_keras_file(output, force)
    size = int(load_model(models[0]).input.shape[1])
    train, val = fitting_rows(open_cells(data, patients, no_patients, classes))
    with progress("reading cells", len(train.rows) + len(val.rows)) as bar:
        val_cells = load_renderings(val, size, cache=default_cache(), step=bar.step)["full"]
        train_cells = load_renderings(train, size, cache=default_cache(), step=bar.step)["full"]
    made = build_ensemble(models, val_cells, weights.value, average.value)
    decision = decide(made.model, val_cells, train_cells)
    _write(output, made, decision, {"weights": weights.value, "average": average.value})
    _show(output, made, decision, as_json)


def _write(output: Path, made: Ensemble, decision: dict[str, Any], how: dict[str, str]) -> None:
    from edge_malaria.files import write_json
    from edge_malaria.training.architectures.registry import count_macs
    from edge_malaria.training.classifier.recipe import versions
    from edge_malaria.training.classifier.run_files import save_model

    save_model(made.model, output)
    provenance = {
        "ensemble": {**how, "members": dict(made.weights)},
        "parameters": int(made.model.count_params()),
        "macs": count_macs(made.model),
        "versions": versions(),
    }
    write_json(output.with_suffix(".json"), {"decision": decision, "provenance": provenance})


def _show(output: Path, made: Ensemble, decision: dict[str, Any], as_json: bool) -> None:
    weights = dict(made.weights)
    if as_json:
        rows = [
            {"model": name, "weight": weights.get(name), **figures}
            for name, figures in made.figures
        ]
        points = decision["operating_points"]
        print_json(
            {"model": str(output), "members": rows[:-1], "ensemble": rows[-1]}
            | {"operating_points": points}
        )
        return
    table = [
        (name, f"{weights[name]:.4f}" if name in weights else "", *(f"{v:.4f}" for v in f.values()))
        for name, f in made.figures
    ]
    print_table(str(output), ("model", "weight", "val AUC", "val log loss"), table)
    print(f"next: edge-malaria evaluate {output} DATASET, or train ... --teacher {output}")
