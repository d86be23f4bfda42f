"""From a trained network to a pruned one that ships: prune, round to int8, calibrate, save."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edge_malaria.files import write_json
from edge_malaria.keras_layers import load_model, strip_fake_quant
from edge_malaria.metrics import auc
from edge_malaria.training.classifier.cells import CellSet, Rendering, origin
from edge_malaria.training.classifier.fit import predict
from edge_malaria.training.classifier.recipe import Recipe, versions
from edge_malaria.training.classifier.run_files import save_model
from edge_malaria.training.classifier.session import Report, decide, examples_of, quantize
from edge_malaria.training.pruning.prune import TARGETS, Clock, Schedule, measure, prune
from edge_malaria.training.quantization.fold import with_input_scale


def load_prunable(path: Path) -> Any:
    """A .keras file as a float network that can be fine-tuned.

    Raises:
        ModelFileError: missing, corrupt or unsafe.
    """
    return with_input_scale(strip_fake_quant(load_model(path)))


def prune_and_quantize(
    network: Any,
    train: dict[Rendering, CellSet],
    val: CellSet,
    schedule: Schedule,
    recipe: Recipe,
    output: Path,
    *,
    fine_tune_epochs: int,
    report: Report,
    clock: Clock | None = None,
    pruned_from: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Prunes ``network``, writes ``output`` and its JSON; returns sizes and validation figures.

    Args:
        network: float network with its Rescaling.
        train: renderings of training cells.
        val: validation cells.
        schedule: how channels go.
        recipe: how the rest is trained again.
        output: the .keras file; the decision is written beside it.
        fine_tune_epochs: passes with rounding.
        report: called with a stage and its entry.
        clock: measures networks, for the target ``latency``.
        pruned_from: where a network of somebody else came from, and its contract; kept in the
            provenance, because it was made for other cells than this project's drawn ones.
    """
    examples = examples_of(train)
    smaller = prune(
        network,
        examples,
        (val.inputs, val.labels),
        schedule,
        recipe,
        report=lambda entry: report("prune", entry),
        clock=clock,
    )
    quantized, _ = quantize(
        smaller, examples, val, recipe, fine_tune_epochs=fine_tune_epochs, report=report
    )
    decision = decide(quantized, val, train["full"])
    logits = predict(quantized, val.inputs)
    result = {
        "after": {target: measure(smaller, target) for target in TARGETS}
        | ({"latency": clock(smaller)} if clock else {}),
        "val_auc": auc(val.labels, logits),
        "val_accuracy": float(np.mean((logits >= 0) == (val.labels == 1))),
    }
    save_model(quantized, output)
    provenance = {
        "pruned": dataclasses.asdict(schedule),
        "recipe": dataclasses.asdict(recipe),
        "versions": versions(),
        "seed": recipe.seed,
        **origin(train["full"]),
        **({} if pruned_from is None else {"pruned_from": dict(pruned_from)}),
    }
    write_json(
        output.with_suffix(".json"),
        {"decision": decision, "provenance": provenance, "measured": {"val": result}},
    )
    return result
