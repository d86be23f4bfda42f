"""``edge-malaria evaluate --compare``: several models on the same cells, with what they cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Least and most runs, and about the seconds, that a latency is the median of.
LEAST_RUNS, MOST_RUNS, SECONDS = 15, 400, 0.4
BATCHES = (1, 64)
SHOWN = ("accuracy", "auc", "mcc", "sensitivity", "specificity")


def compared(name: str, model: Path, classifier: Any, evaluated: Any) -> dict[str, Any]:
    """One row: costs, latency on one thread, and the measures of ``evaluate``.

    Args:
        name: how the model is called in the table.
        model: the bundle or .keras file.
        classifier: runs it; its engine has one thread.
        evaluated: its answers.
    """
    from edge_malaria import evaluation

    report = evaluation.report(evaluated, classifier)
    report.pop("per_patient")
    report.pop("warnings")
    return {
        "model": name,
        **costs(model, classifier),
        "latency_ms_per_cell": {
            "threads": 1,
            **{
                f"batch_{batch}": latency_ms(classifier.engine, classifier.input_size_px, batch)
                for batch in BATCHES
            },
        },
        **report,
    }


def costs(model: Path, classifier: Any) -> dict[str, Any]:
    """Parameters, multiply-accumulates and bytes of the file that runs; None where unknown.

    A bundle's are counted in its .tflite file, without TensorFlow. A bundle that has none says
    what its provenance recorded.
    """
    if classifier.engine.name == "keras":
        return _keras_costs(model)
    from edge_malaria.cli.options import open_named
    from edge_malaria.parity.tflite_costs import file_costs

    bundle = open_named(model)
    variants = bundle.classifier.variants
    spec = bundle.classifier.file(classifier.variant, classifier.engine.name)
    graphs = [variants[classifier.variant], *variants.values()]
    readable = next((files["litert"] for files in graphs if "litert" in files), None)
    if readable is not None:
        found = file_costs(bundle.read(readable.file), readable.file)
        counted: dict[str, Any] = {"parameters": found.parameters, "macs": found.macs}
    else:
        known = bundle.record.get("provenance", {})
        counted = {key: known.get(key) for key in ("parameters", "macs")}
    return {**counted, "bytes": spec.bytes, "sha256": spec.sha256}


def _keras_costs(model: Path) -> dict[str, Any]:
    from edge_malaria.files import sha256_of
    from edge_malaria.keras_layers import load_model, strip_fake_quant
    from edge_malaria.training.architectures.registry import count_macs

    plain = strip_fake_quant(load_model(model))
    return {
        "parameters": int(plain.count_params()),
        "macs": count_macs(plain),
        "bytes": model.stat().st_size,
        "sha256": sha256_of(model),
    }


def latency_ms(engine: Any, size_px: int, batch: int) -> float:
    """Median milliseconds a cell, wall time, in batches of ``batch``; first calls not counted."""
    import numpy as np

    pixels = np.random.default_rng(0).integers(0, 256, (batch, size_px, size_px, 3), np.uint8)
    return median_ms(lambda: engine.run(pixels)) / batch


def median_ms(work: Callable[[], object]) -> float:
    """Median milliseconds of ``work`` over about ``SECONDS``."""
    import statistics

    for _ in range(3):
        work()
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < LEAST_RUNS or (
        len(times) < MOST_RUNS and time.perf_counter() - began < SECONDS
    ):
        started = time.perf_counter()
        work()
        times.append((time.perf_counter() - started) * 1e3)
    return statistics.median(times)


def unique_names(models: list[Path]) -> list[str]:
    """How the table calls the models: the last part of each path, the whole where two share it."""
    short = [model.name for model in models]
    return [
        str(model) if short.count(name) > 1 else name
        for model, name in zip(models, short, strict=True)
    ]


def show(document: dict[str, Any]) -> None:
    """Prints what the models cost and how well they do."""
    from edge_malaria.cli.output import print_table
    from edge_malaria.records import RESEARCH_USE

    rows = document["models"]
    print_table(
        "cost · latency in ms a cell on one thread",
        ("model", "runs on", "parameters", "MACs", "bytes", "batch 1", "batch 64"),
        [
            (
                row["model"],
                f"{row['variant']} {row['engine']}",
                *("-" if row[key] is None else f"{row[key]:,}" for key in COSTS),
                *(f"{row['latency_ms_per_cell'][f'batch_{batch}']:.3f}" for batch in BATCHES),
            )
            for row in rows
        ],
    )
    print_table(
        f"{rows[0]['n']} cells, split {document['split']} · 95 % intervals",
        ("model", "threshold", *SHOWN),
        [
            (row["model"], f"{row['threshold']:.3f}", *(_with_interval(row, key) for key in SHOWN))
            for row in rows
        ],
    )
    if document["exclude_suspect"]:
        print_table(
            "without suspect labels",
            ("model", "cells", *SHOWN),
            [
                (
                    row["model"],
                    row["without_suspect_labels"]["n"],
                    *(_with_interval(row["without_suspect_labels"], key) for key in SHOWN),
                )
                for row in rows
            ],
        )
    print(RESEARCH_USE)


COSTS = ("parameters", "macs", "bytes")


def _with_interval(row: dict[str, Any], key: str) -> str:
    if row[key] is None:
        return "undefined"
    interval = row["ci95"][key]
    tail = "" if interval is None else f" ({interval[0]:.3f}-{interval[1]:.3f})"
    return f"{row[key]:.4f}{tail}"
