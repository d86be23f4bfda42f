"""``edge-malaria evaluate BUNDLE DATASET``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edge_malaria.cli.options import (
    EngineOption,
    JsonOption,
    MaskMode,
    MaskOption,
    OperatingPoint,
    PointOption,
    Split,
    ThreadsOption,
    Variant,
    VariantOption,
    open_named,
)


def register(app: typer.Typer) -> None:
    """Adds ``evaluate``."""
    app.command("evaluate")(evaluate)


def evaluate(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL-or-BUNDLE", help="A bundle, a shipped name, or a .keras file."
        ),
    ],
    dataset: Annotated[
        Path, typer.Argument(help="Folder or zip with Parasitized/ and Uninfected/.")
    ],
    split: Annotated[
        Split | None,
        typer.Option("--split", help="Default: all where there is no patients.csv, else test."),
    ] = None,
    patients: Annotated[
        Path | None, typer.Option("--patients", help="A patients.csv that names every file.")
    ] = None,
    variant: VariantOption = Variant.int8,
    engine: EngineOption = None,
    mask: MaskOption = MaskMode.none,
    operating_point: PointOption = OperatingPoint.balanced,
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Measure a model on a labelled data set, with intervals by patient.

    Every cell counts; an abstention leaves no denominator.
    """
    from edge_malaria import evaluation
    from edge_malaria.cli.output import print_json, progress, warn
    from edge_malaria.dataset import open_dataset

    data = open_dataset(dataset, patients)
    name = split.value if split else ("test" if data.has_splits else "all")
    chosen = data.select(name)
    classifier = _classifier(model, variant, engine, operating_point, threads)
    with progress("cells", len(chosen.rows)) as bar:
        evaluated = evaluation.run(classifier, chosen, mask.value, bar.step)
    document = {**evaluation.report(evaluated, classifier), "split": name, "mask": mask.value}
    for warning in evaluated.warnings:
        warn(warning)
    if as_json:
        print_json(document)
    else:
        _print(document, name, len({row.patient_id for row in chosen.rows if row.patient_id}))


def _classifier(
    model: Path, variant: Variant, engine: Any, operating_point: OperatingPoint, threads: int
) -> Any:
    from edge_malaria.runtime.classify import Classifier

    name = engine and engine.value
    if model.suffix == ".keras":
        from edge_malaria.export import keras_classifier

        return keras_classifier(model, operating_point.value)
    return Classifier(open_named(model), variant.value, name, operating_point.value, threads)


def _print(document: dict[str, Any], split: str, patients: int) -> None:
    from edge_malaria.cli.output import print_table
    from edge_malaria.records import RESEARCH_USE

    clean = document.get("without_suspect_labels")
    rows = []
    for name in ("accuracy", "auc", "sensitivity", "specificity", "precision", "f1", "mcc"):
        interval = document["ci95"].get(name)
        row = [name, _number(document[name]), "" if interval is None else _range(interval)]
        rows.append(row + ([_number(clean[name])] if clean else []))
    by = f"{patients} patients" if patients else "patients unknown"
    columns = ["measure", "value", "95 % interval"] + (["without suspect labels"] if clean else [])
    print_table(
        f"{document['n']} cells, split {split}, {by} · {document['variant']} on "
        f"{document['engine']} · threshold {document['threshold']:.4f} "
        f"({document['operating_point']})",
        columns,
        rows,
    )
    table = document["confusion"]
    print("  ".join(f"{key} {value}" for key, value in table.items()), end="")
    print(f"  abstained {document['abstained']}\n{RESEARCH_USE}")


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def _range(interval: list[float]) -> str:
    return f"{interval[0]:.4f} to {interval[1]:.4f}"
