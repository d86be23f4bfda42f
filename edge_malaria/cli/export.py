"""``edge-malaria export [MODEL] --int8``"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_malaria.cli.dataset_options import (
    NoPatientsOption,
    PatientsOption,
    UnknownPatientsOption,
    open_cells,
)
from edge_malaria.cli.options import JsonOption, new_output
from edge_malaria.cli.own_model import (
    ArchOption,
    CellMaskOption,
    ClassesOption,
    ColourOption,
    CustomOption,
    ExpectOption,
    OutputOption,
    RangeOption,
    ResizeOption,
    SizeOption,
    SuggestOption,
    asking,
    declaration,
    print_suggestions,
)


def register(app: typer.Typer) -> None:
    """Adds ``export``."""
    app.command("export")(export)


def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="[MODEL]",
            help="A shipped model's name, or a file: .keras, .h5, .onnx, .tflite, or a SavedModel "
            "folder.",
        ),
    ] = "default",
    int8: Annotated[bool, typer.Option("--int8", help="float32 and int8 in every format.")] = False,
    half: Annotated[bool, typer.Option("--half", help="Add float16 (TFLite).")] = False,
    dynamic: Annotated[
        bool, typer.Option("--dynamic", help="Add int8 weights with float activations (TFLite).")
    ] = False,
    formats: Annotated[
        str, typer.Option("--format", help="Comma-separated: tflite,onnx.")
    ] = "tflite,onnx",
    data: Annotated[
        Path | None,
        typer.Option("--data", help="DATASET: train cells calibrate, val cells gate."),
    ] = None,
    patients: PatientsOption = None,
    no_patients: NoPatientsOption = False,
    unknown_patients: UnknownPatientsOption = False,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Bundle. Default: ./<model>-bundle")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing bundle.")] = False,
    no_fine_tune: Annotated[
        bool,
        typer.Option(
            "--no-fine-tune", help="Where int8 fails, do not train it anew (with --data)."
        ),
    ] = False,
    delta: Annotated[
        float, typer.Option("--delta", min=0.0001, max=0.5, help="Non-inferiority margin.")
    ] = 0.01,
    input_range: RangeOption = None,
    colour: ColourOption = None,
    resize: ResizeOption = None,
    mask: CellMaskOption = None,
    output: OutputOption = None,
    classes: ClassesOption = None,
    input_size: SizeOption = None,
    custom_objects: CustomOption = None,
    arch: ArchOption = None,
    expect: ExpectOption = None,
    suggest: SuggestOption = False,
    as_json: JsonOption = False,
) -> None:
    """Convert and quantize a model, prove that it decides as the trained one did, write a bundle.

    The parity gate runs inside: where it refuses, nothing is written and the exit code is 1. A
    model of somebody else needs its contract: what its file does not tell is asked for.
    """
    from edge_malaria.bundle.contents import expect_replaceable
    from edge_malaria.cli.output import log, print_json
    from edge_malaria.errors import UsageError
    from edge_malaria.export import Loading, Options, OwnModel, export_bundle

    declared = declaration(input_range, colour, resize, mask, output, classes, input_size)
    loading = Loading(custom_objects, arch)
    if suggest:
        if data is None:
            raise UsageError("--suggest tries contracts on labelled cells: give them with --data.")
        cells = open_cells(data, patients, no_patients, classes, unknown_patients)
        print_suggestions(model, declared, loading, cells)
        return

    target = out or Path(f"{Path(model).stem}-bundle")
    expect_replaceable(target)
    new_output(target, force)
    variants = ["float32"]
    variants += ["float16"] * half + ["dynamic"] * dynamic + ["int8"] * int8
    options = Options(
        tuple(variants),
        tuple(word.strip() for word in formats.split(",") if word.strip()),
        force,
        fine_tune=not no_fine_tune,
        delta=delta,
    )
    dataset = None
    if data is not None:
        dataset = open_cells(data, patients, no_patients, classes, unknown_patients)
    own = OwnModel(declared, loading, expect)
    with asking():
        exported = export_bundle(model, target, options, dataset, log, own)
    if as_json:
        print_json(_document(exported))
        return
    _print(exported)


def _document(exported: Any) -> dict[str, Any]:
    return {
        "bundle": str(exported.path),
        "passed": exported.report.passed,
        "evidence": exported.report.evidence,
        "files": _files(exported),
        "second": None if exported.second is None else _files(exported.second),
        "evaluation": exported.evaluation,
        "elapsed_s": round(exported.elapsed_s, 2),
    }


def _files(exported: Any) -> list[dict[str, Any]]:
    return [{"variant": v, **spec.as_json()} for v, spec in exported.files]


def _print(exported: Any) -> None:
    from edge_malaria.cli.output import print_table
    from edge_malaria.export.exported import size_table
    from edge_malaria.records import RESEARCH_USE

    columns = ("variant", "file", "bytes", "parity", "accuracy (val)")
    print_table(f"{exported.path}", columns, size_table(exported))
    path = shlex.quote(str(exported.path))
    print(
        f"Done in {exported.elapsed_s:.0f} s. Next:\n"
        f"  edge-malaria selftest {path}\n"
        f"  edge-malaria parity {path}\n"
        f"  edge-malaria screen sim:parasitemia=0.01,fields=10 --bundle {path} -o slide\n"
        f"{RESEARCH_USE}"
    )
