"""``edge-malaria evaluate BUNDLE DATASET``, ``evaluate --compare A B C DATASET``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edge_malaria.cli.dataset_options import ClassesOption, NoPatientsOption, PatientsOption
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
    engine_for,
    open_named,
)

# Files that run in their own framework; anything else is a bundle.
MODEL_SUFFIXES = (".keras", ".h5", ".hdf5", ".onnx", ".tflite")


def register(app: typer.Typer) -> None:
    """Adds ``evaluate``."""
    app.command("evaluate")(evaluate)


def evaluate(
    models: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL-or-BUNDLE",
            help="A bundle, a shipped name, or a model's file (one of somebody else's with its "
            "contract in a .toml beside it); several with --compare.",
        ),
    ],
    dataset: Annotated[
        Path,
        typer.Argument(
            help="Folder or zip with Parasitized/ and Uninfected/, or a table of cells."
        ),
    ],
    split: Annotated[
        Split | None,
        typer.Option("--split", help="Default: all where there is no patients.csv, else test."),
    ] = None,
    patients: PatientsOption = None,
    no_patients: NoPatientsOption = False,
    classes: ClassesOption = None,
    compare: Annotated[
        bool,
        typer.Option("--compare", help="A table across models, with size, MACs and latency."),
    ] = False,
    exclude_suspect: Annotated[
        bool,
        typer.Option(
            "--exclude-suspect", help="Figures without suspect labels, beside the headline."
        ),
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Draw the ROC curve (.png or .svg).")
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
    from edge_malaria.cli.compare import unique_names
    from edge_malaria.cli.output import print_json, progress, warn
    from edge_malaria.data.dataset import open_dataset

    _check_call(models, compare, plot, threads)
    data = open_dataset(dataset, patients, no_patients=no_patients, classes=classes)
    # With --split all too: a table that leaks says nothing of what the model has seen.
    data.expect_apart()
    name = split.value if split else ("test" if data.has_splits else "all")
    chosen = data.select(name)
    if exclude_suspect and not any(row.suspect for row in chosen.rows):
        warn("the data set names no suspect labels: the figures without them are the same.")
    answers: dict[str, Any] = {}
    with progress("cells", len(chosen.rows) * len(models)) as bar:
        for called, model in zip(unique_names(models), models, strict=True):
            classifier = _classifier(model, variant, engine, operating_point, threads)
            evaluated = evaluation.run(classifier, chosen, mask.value, bar.step)
            answers[called] = (model, classifier, _told(model, classifier, evaluated))
    documents = _documents(answers, compare, exclude_suspect)
    facts: dict[str, Any] = {"split": name, "mask": mask.value}
    for warning in dict.fromkeys(w for given in answers.values() for w in given[2].warnings):
        warn(warning)
    if plot is not None:
        _plot(answers, plot, name)
    if compare:
        warnings = list(dict.fromkeys(w for given in answers.values() for w in given[2].warnings))
        facts |= {"operating_point": operating_point.value, "exclude_suspect": exclude_suspect}
        document = {**facts, "warnings": warnings, "models": documents}
    else:
        document = {**documents[0], **facts}
    if as_json:
        print_json(document)
    elif compare:
        from edge_malaria.cli.compare import show

        show(document)
    else:
        _print(document, name, len({row.patient_id for row in chosen.rows if row.patient_id}))


def _told(model: Path, classifier: Any, evaluated: Any) -> Any:
    """The answers, with a warning where the model was trained or calibrated on unknown patients."""
    from dataclasses import replace

    from edge_malaria.data.dataset import TRAINED_ON_UNKNOWN

    if _provenance(model, classifier).get("patients") != "unknown":
        return evaluated
    return replace(evaluated, warnings=(*evaluated.warnings, f"{model}: {TRAINED_ON_UNKNOWN}"))


def _provenance(model: Path, classifier: Any) -> dict[str, Any]:
    record = classifier.bundle.record if classifier.engine.name == "keras" else {}
    return dict((record or open_named(model).record).get("provenance") or {})


def _check_call(models: list[Path], compare: bool, plot: Path | None, threads: int) -> None:
    from edge_malaria.errors import UsageError

    if len(models) > 1 and not compare:
        raise UsageError(
            f"expected MODEL DATASET, got {len(models)} models. To compare them add --compare."
        )
    if compare and threads != 1:
        raise UsageError("--compare measures on one thread: leave out --threads.")
    if plot is not None and plot.suffix.lower() not in (".png", ".svg"):
        raise UsageError(f"expected a name ending in .png or .svg for the plot, got {plot}.")


def _documents(
    answers: dict[str, Any], compare: bool, exclude_suspect: bool
) -> list[dict[str, Any]]:
    from edge_malaria import evaluation
    from edge_malaria.cli.compare import compared

    documents = []
    for name, (model, classifier, evaluated) in answers.items():
        if compare:
            document = compared(name, model, classifier, evaluated)
        else:
            document = evaluation.report(evaluated, classifier)
        if exclude_suspect:
            clean = evaluation.without_suspect(evaluated)
            document["without_suspect_labels"] = evaluation.measures(clean)
            document["suspect_labels"] = len(evaluated.rows) - len(clean.rows)
        documents.append(document)
    return documents


def _plot(answers: dict[str, Any], path: Path, split: str) -> None:
    from edge_malaria.training.curves import plot_roc

    drawn = {name: (given.truth, given.scores) for name, (_, _, given) in answers.items()}
    plot_roc(drawn, path.with_suffix(""), title=f"split {split}", suffixes=(path.suffix.lower(),))


def _classifier(
    model: Path, variant: Variant, engine: Any, operating_point: OperatingPoint, threads: int
) -> Any:
    from edge_malaria.runtime.classify.classifier import crop_classifier

    if model.suffix in MODEL_SUFFIXES or (model / "saved_model.pb").is_file():
        from edge_malaria.cli.own_model import asking
        from edge_malaria.export import keras_classifier

        with asking(options=False):
            return keras_classifier(model, operating_point.value)
    read = open_named(model)
    return crop_classifier(
        read,
        variant=variant.value,
        engine=engine_for(read, variant, engine),
        operating_point=operating_point.value,
        threads=threads,
    )


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
