"""The table of docs/OWN_MODEL.md: networks of others through every command."""

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


TABLES: Mapping[str, Callable[[], str]] = {"own-models": measured}
