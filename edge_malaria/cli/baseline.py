"""``edge-malaria baseline``: the classical methods under the networks' rules."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edge_malaria.cli.dataset_options import (
    ClassesOption,
    NoPatientsOption,
    PatientsOption,
    open_cells,
)
from edge_malaria.cli.output import log, print_json, print_table, progress


def register(app: typer.Typer) -> None:
    """Adds ``baseline`` to the app."""
    app.command(
        "baseline", help="Measure a classical method (SVM, trees, ...) by the networks' rules."
    )(baseline)


def baseline(
    dataset: Annotated[Path, typer.Argument(help="Folder or zip in the NIH layout.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Run directory; resumable.")],
    method: Annotated[
        str, typer.Option(help="Classical method; an unknown name lists them all.")
    ] = "svm",
    crossval: Annotated[
        bool, typer.Option("--crossval", help="Every fold by patient, not the fixed split.")
    ] = False,
    only: Annotated[str, typer.Option(help="Folds to run, for example 0,1; default all.")] = "",
    cells: Annotated[
        int | None, typer.Option(min=10, help="At most so many training cells. Default: all.")
    ] = None,
    network: Annotated[
        Path | None,
        typer.Option(help="A .keras file of the same split, for its features; else one is fitted."),
    ] = None,
    input_size: Annotated[
        int | None, typer.Option(min=8, help="Input side of a network method, px.")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes of a network method.")] = 10,
    batch: Annotated[int, typer.Option(min=2, help="Cells a step of a network method.")] = 64,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Decides everything random.")] = 0,
    patients: PatientsOption = None,
    no_patients: NoPatientsOption = False,
    classes: ClassesOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Fits on train patients, chooses thresholds on val, and reports on test or on every fold."""
    from edge_malaria.crossval.classical import Settings, run_baseline
    from edge_malaria.crossval.classical_report import roc, summarize
    from edge_malaria.crossval.folds import folds_of
    from edge_malaria.errors import UsageError
    from edge_malaria.files import write_json
    from edge_malaria.training.baselines.methods import method as named
    from edge_malaria.training.classifier.cells import default_cache

    chosen = named(method)
    if only and not crossval:
        raise UsageError("--only names folds: add --crossval.")
    if network is not None and chosen.looks != "network":
        raise UsageError(f"{method} looks at no network: leave out --network.")
    opened = open_cells(dataset, patients, no_patients, classes)
    folds = _wanted(only, folds_of(opened)) if crossval else []
    settings = Settings(
        method, seed, cells, input_size, epochs, batch, None if network is None else str(network)
    )
    with progress("reading cells", len(opened.rows)) as bar:
        results, read = run_baseline(
            opened,
            settings,
            output,
            folds,
            cache=default_cache(),
            report=lambda stage, entry: log(
                f"{stage} epoch {entry['epoch'] + 1:.0f}: val AUC {entry['val_auc']:.4f}"
            ),
            step=bar.step,
            done=lambda result: log("split done" if not folds else f"fold {result.fold} done"),
        )
    summary = {
        "method": method,
        "summary": chosen.summary,
        "protocol": "folds by patient" if crossval else "fixed split by patient",
        "folds": folds,
        "training_cells_at_most": cells,
        "seed": seed,
        **summarize(results, read),
    }
    write_json(output / "baseline.json", summary)
    write_json(output / "roc.json", roc(results, read))
    _show(output, summary, as_json)


def _wanted(only: str, folds: list[int]) -> list[int]:
    from edge_malaria.errors import UsageError

    if not only:
        return folds
    parts = [part.strip() for part in only.split(",")]
    if not all(part.isdigit() and int(part) in folds for part in parts):
        raise UsageError(f"--only {only}: expected folds out of {folds}.")
    return [int(part) for part in parts]


def _show(run: Path, summary: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json({"run": str(run), **summary})
        return
    from edge_malaria.crossval.classical_report import MEASURES

    parts = [("raw labels", summary["raw_labels"])]
    parts += [("without suspect labels", summary["without_suspect_labels"])]
    parts += [(f"fold {entry['fold']}", entry) for entry in summary["per_fold"]]
    rows = [
        (name, str(entry["n"]), *(_number(entry[key]) for key in MEASURES)) for name, entry in parts
    ]
    if summary["mean"]:
        for word in ("mean", "sd"):
            rows.append(
                (f"{word} of folds", "", *(_number(summary[word].get(k)) for k in MEASURES))
            )
    print_table(f"{summary['method']}, {summary['protocol']}", ("cells", "n", *MEASURES), rows)
    print(f"figures: {run / 'baseline.json'}; ROC curve: {run / 'roc.json'}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
