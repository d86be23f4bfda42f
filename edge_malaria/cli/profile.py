"""``edge-malaria profile``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from edge_malaria.cli.options import JsonOption
from edge_malaria.cli.output import print_json, print_table


class InferenceType(StrEnum):
    """What an activation is stored as."""

    float32 = "float32"
    int8 = "int8"


def register(app: typer.Typer) -> None:
    """Adds ``profile`` to the app."""
    app.command("profile", help="Parameters, MACs, memory and traffic, layer by layer.")(profile)


def profile(
    arch: Annotated[
        str, typer.Option(help="Architecture; an unknown name lists them all.")
    ] = "compact",
    input_size: Annotated[
        int | None, typer.Option(min=8, help="Input side in px. Default: the architecture's own.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Cells a training step.")] = 16,
    dtype: Annotated[
        InferenceType, typer.Option(help="Of inference; training is float32.")
    ] = InferenceType.float32,
    as_json: JsonOption = False,
) -> None:
    """Counts what each layer of an architecture costs, training and inference apart."""
    from edge_malaria.training.architectures import build
    from edge_malaria.training.architectures.registry import architecture
    from edge_malaria.training.profile import profile as count

    size = input_size or architecture(arch).input_size_px
    document = count(build(arch, size), dtype=dtype.value, batch=batch).as_json()
    if as_json:
        print_json({"arch": arch, "input_size_px": size, **document})
        return
    _show(f"{arch}, {size} x {size} px", document)


def _show(title: str, document: dict[str, Any]) -> None:
    rows = [
        (
            layer["name"],
            " x ".join(str(side) for side in layer["output_shape"]),
            f"{layer['parameters']:,}",
            f"{layer['macs']:,}",
            "fused" if layer["inference"]["fused"] else _kib(layer["activation_bytes"]),
            _kib(layer["inference"]["traffic_bytes"]),
            _kib(layer["training"]["activation_bytes"]),
            _kib(layer["training"]["traffic_bytes"]),
        )
        for layer in document["layers"]
    ]
    columns = ("layer", "output", "parameters", "MACs", "output KiB", "traffic KiB")
    print_table(title, (*columns, "kept KiB, training", "traffic KiB, training"), rows)
    totals = document["totals"]
    cell, step = totals["inference"], totals["training"]
    print(f"{totals['parameters']:,} parameters, {totals['macs']:,} MACs")
    print(
        f"inference, one cell, {document['dtype']}: weights {_kib(cell['weight_bytes'])} KiB, "
        f"activations at most {_kib(cell['activation_peak_bytes'])} KiB at once, "
        f"traffic {_kib(cell['traffic_bytes'])} KiB"
    )
    print(
        f"training, one step of {document['batch']}: {step['macs']:,} MACs, weights with gradients "
        f"and moments {_kib(step['state_bytes'])} KiB, activations "
        f"{_kib(step['activation_bytes'])} KiB, traffic {_kib(step['traffic_bytes'])} KiB"
    )


def _kib(count: int) -> str:
    return f"{count / 1024:,.1f}"
