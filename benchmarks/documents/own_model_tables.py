"""The tables of docs/OWN_MODEL.md: networks of others through every command."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.documents.markdown import evidence, table

_COMMANDS = ("parity", "classify", "evaluate", "firmware")


def measured() -> str:
    """A row a network: accuracy, bytes, time and memory of the export, and what ran."""
    models = (evidence("own_models") or {"models": {}})["models"]
    rows = [_row(name, row) for name, row in models.items()]
    head = (
        "network",
        "accuracy, its author's",
        "accuracy, exported",
        "variant",
        "TFLite, bytes",
        "ONNX, bytes",
        "CPU seconds",
        "peak, MiB",
        "also ran",
    )
    return table(head, rows)


def _row(name: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    export = row["export"]
    spent = (f"{export['cpu_s']:.0f}", f"{export['peak_mib']:,}")
    author = f"{row['true_accuracy']:.3f}"
    if export["exit"]:
        return (name, author, f"refused: {export['said']}", "", "", "", *spent, "")
    variant, ran = row["judged_variant"], [c for c in _COMMANDS if row[c]["exit"] == 0]
    sizes = [f"{row['bytes'][f'model.{variant}.{kind}']:,}" for kind in ("tflite", "onnx")]
    return (name, author, f"{row['accuracy']:.3f}", variant, *sizes, *spent, ", ".join(ran))


def pruned() -> str:
    """A row for each network that was pruned: what stayed, or why it was refused."""
    models = (evidence("own_models") or {"models": {}})["models"]
    head = (
        "network",
        "accuracy",
        "int8 TFLite, bytes",
        "multiply-accumulates",
        "ms a cell",
        "CPU seconds",
        "peak, MiB",
    )
    rows = [_pruned_row(name, row) for name, row in models.items() if "pruning" in row]
    return table(head, rows)


def _pruned_row(name: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    found = row["pruning"]
    ran = found["prune"]
    spent = (f"{ran['cpu_s']:.0f}", f"{ran['peak_mib']:,}")
    if ran["exit"]:
        return (name, f"refused: {ran['said'].removeprefix('error: ')}", "", "", "", *spent)
    macs = f"{found['before']['macs']:,} -> {found['after']['macs']:,}"
    export = found["export"]
    if export["exit"]:
        return (name, f"export refused: {export['said']}", "", macs, "", *spent)
    partly = f" ({found['variant']})" if found["variant"] != "int8" else ""
    sizes = f"{row['bytes']['model.int8.tflite']:,} -> {found['file_bytes']:,}{partly}"
    times = " -> ".join(f"{found['cell_ms'][when]:.3f}" for when in ("before", "after"))
    accuracy = f"{row['accuracy']:.3f} -> {found['accuracy']:.3f}"
    return (name, accuracy, sizes, macs, times, *spent)


def large() -> str:
    """A row for each network of keras.applications at 224 px: time, memory and verdict."""
    models = (evidence("own_models_large") or {"models": {}})["models"]
    head = ("network", "weights", "CPU seconds", "peak, MiB", "accuracy, val", "verdict")
    return table(head, [_large_row(name, row) for name, row in models.items()])


def _large_row(name: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    export, cells = row["export"], row["cells_trained_on"]
    weights = f"trained on {cells:,} cells" if cells else "random"
    if row.get("last_layer_alone"):
        weights = f"random, last layer fitted to {cells:,} cells"
    name = name.partition(",")[0]
    spent = (f"{export['cpu_s']:.0f}", f"{export['peak_mib']:,}")
    if export["exit"]:
        return (name, weights, *spent, "", f"refused: {export['said'].removeprefix('error: ')}")
    kinds = sorted({file.split(".")[1] for file in row["bytes"]})
    return (name, weights, *spent, f"{row['accuracy']:.3f}", f"passed: {', '.join(kinds)}")


TABLES: Mapping[str, Callable[[], str]] = {
    "own-models": measured,
    "own-models-pruned": pruned,
    "own-models-large": large,
}
