"""``edge-malaria parity BUNDLE``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_malaria.cli.dataset_options import (
    ClassesOption,
    NoPatientsOption,
    PatientsOption,
    open_cells,
)
from edge_malaria.cli.options import JsonOption, OperatingPoint, PointOption, Split, open_named

if TYPE_CHECKING:
    from edge_malaria.bundle.spec import Bundle
    from edge_malaria.data.dataset import Dataset
    from edge_malaria.parity import ParityReport, Settings
    from edge_malaria.runtime.engines.base import Engine


def register(app: typer.Typer) -> None:
    """Adds ``parity``."""
    app.command("parity")(parity)


def parity(
    bundle: Annotated[
        Path | None, typer.Argument(help="Bundle directory or zip. Default: the shipped one.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="DATASET: adds the statistics on real cells.")
    ] = None,
    split: Annotated[
        Split | None, typer.Option("--split", help="Default: test; all where there are no splits.")
    ] = None,
    patients: PatientsOption = None,
    no_patients: NoPatientsOption = False,
    classes: ClassesOption = None,
    reference: Annotated[
        Path | None,
        typer.Option("--reference", help="Run this model's file beside the stored outputs."),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine", help="Comma-separated: litert,onnx,c,tflm. Default: what is installed."
        ),
    ] = None,
    firmware: Annotated[
        Path | None,
        typer.Option("--firmware", help="Compile this folder's C file (edge-malaria firmware)."),
    ] = None,
    delta: Annotated[
        float, typer.Option("--delta", min=0.0001, max=0.5, help="Non-inferiority margin.")
    ] = 0.01,
    operating_point: PointOption = OperatingPoint.balanced,
    junit: Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML.")] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", help="Write Markdown.")] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with every flipped cell.")
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Prove that every exported file decides as the trained model did; exit 1 where one does not.

    Without --data the bundle's own stored cells are compared; with it, sensitivity and
    specificity at the deployed threshold as well, with intervals over patients. The
    microcontroller's C file (c) is compiled where a C compiler is, and TensorFlow Lite Micro
    (tflm) runs where tflite-micro is installed.
    """
    from edge_malaria.parity import Settings

    settings = Settings(delta=delta, operating_point=operating_point.value)
    try:
        cells = _dataset(data, patients, no_patients, classes, split)
        report = _run(bundle, cells, reference, engine, firmware, settings)
    except Exception as error:
        # A CI reads the file, whatever went wrong.
        _write_error(bundle, error, junit)
        raise
    _write(report, junit, markdown, html)
    _show(report, as_json)
    return 0 if report.passed else 1


def _run(
    bundle: Path | None,
    cells: tuple[Dataset | None, str],
    reference: Path | None,
    engine: str | None,
    firmware: Path | None,
    settings: Settings,
) -> ParityReport:
    from converters.firmware.engines import firmware_engines, split_names
    from edge_malaria.parity import gate

    opened = open_named(bundle)
    dataset, name = cells
    names = None if engine is None else [word.strip() for word in engine.split(",") if word.strip()]
    device, bare = split_names(names)
    small = firmware_engines(opened, bare, firmware)
    live, live_second = (None, None) if reference is None else _keras(reference, opened)
    return gate(
        opened,
        dataset=dataset,
        split=name,
        reference=live,
        engines=device,
        extra=small.engines,
        settings=settings,
        twins=small.twins,
        left_out=small.left_out,
        second=small.beside(live_second),
    )


def _write_error(bundle: Path | None, error: Exception, junit: Path | None) -> None:
    from edge_malaria.cli.output import log
    from edge_malaria.files import write_text
    from edge_malaria.parity.render import error_junit

    if junit is not None:
        write_text(junit, error_junit("default" if bundle is None else bundle.name, error))
        log(f"wrote {junit}")


def _dataset(
    data: Path | None,
    patients: Path | None,
    no_patients: bool,
    classes: str | None,
    split: Split | None,
) -> tuple[Dataset | None, str]:
    if data is None:
        return None, ""
    dataset = open_cells(data, patients, no_patients, classes)
    return dataset, split.value if split else ("test" if dataset.has_splits else "all")


def _keras(path: Path, bundle: Bundle) -> tuple[Engine, Engine | None]:
    """Live Keras engines of the model, and of the second network beside it or None.

    TensorFlow is loaded here and nowhere else in this command. A model of somebody else is read
    under the contract that the bundle records.
    """
    from converters.keras_engine import KerasEngine
    from converters.quiet import quiet, require
    from edge_malaria.export.load import SECOND_FILE

    require("tensorflow")
    contract = bundle.record.get("provenance", {}).get("contract")
    with quiet():
        from edge_malaria.keras_layers import load_model, strip_fake_quant
    if contract is None:
        first = KerasEngine(strip_fake_quant(load_model(path)))
        if bundle.second is None:
            return first, None
        return first, KerasEngine(strip_fake_quant(load_model(path.with_name(SECOND_FILE))))
    from edge_malaria.export.importers import import_model
    from edge_malaria.export.importers.contract import declared_of

    return KerasEngine(import_model(path, declared_of(contract)).model), None


def _write(
    report: ParityReport, junit: Path | None, markdown: Path | None, html: Path | None
) -> None:
    from edge_malaria.cli.output import log
    from edge_malaria.files import write_text
    from edge_malaria.parity.page import as_html
    from edge_malaria.parity.render import as_junit, as_markdown

    for path, render in ((junit, as_junit), (markdown, as_markdown), (html, as_html)):
        if path is not None:
            write_text(path, render(report))
            log(f"wrote {path}")


def _show(report: ParityReport, as_json: bool) -> None:
    from edge_malaria.cli.output import log, print_json, print_table
    from edge_malaria.parity import render
    from edge_malaria.records import RESEARCH_USE

    for line in report.not_run:
        log(f"not run: {line}")
    for failure in report.all_failures():
        log(f"failed: {failure.message}")
    if as_json:
        print_json(report.as_json())
        return
    print_table(render.headline(report), *render.part_of_table(report, render.OUTPUT_COLUMNS))
    columns, rows = render.part_of_table(report, render.CALL_COLUMNS)
    if rows:
        print_table("Calls on labelled cells, changes in percentage points", columns, rows)
    if report.finder:
        title = "Cell finder, on drawn fields"
        print_table(title, render.FINDER_COLUMNS, render.finder_rows(report))
    print(f"{render.settings_line(report)}\n{RESEARCH_USE}")
