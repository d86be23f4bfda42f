"""The files of a training's run: model.keras, model.json, history.json, learning curves."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from edge_malaria.files import storage_errors, write_json
from edge_malaria.training.architectures.registry import count_macs
from edge_malaria.training.classifier.recipe import Recipe, versions
from edge_malaria.training.classifier.study_plan import StudyPlan
from edge_malaria.training.curves import plot_learning_curve


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """The outcome.

    Attributes:
        model: quantization-aware ``keras.Model`` with its ranges, ready to save and export; a
            float one where ``history`` has no stage ``int8``.
        decision: the bundle's decision block (temperature, operating points, ...).
        history: per-epoch entries of each stage.
    """

    model: Any
    decision: dict[str, Any]
    history: dict[str, list[dict[str, float]]]


def write_outcome(
    run: Path, outcome: Trained, recipe: Recipe | StudyPlan, settings: dict[str, Any]
) -> None:
    """model.keras, model.json, history.json and the learning curves of a finished run."""
    save_model(outcome.model, run / "model.keras")
    record = {
        "decision": outcome.decision,
        "provenance": {
            **settings,
            "parameters": int(outcome.model.count_params()),
            "macs": count_macs(outcome.model),
            "seed": recipe.seed,
            "recipe": dataclasses.asdict(recipe),
            "versions": versions(),
        },
    }
    write_json(run / "model.json", record)
    write_json(run / "history.json", outcome.history)
    for stage, entries in outcome.history.items():
        suffix = "" if stage == "float" else f"-{stage}"
        plot_learning_curve(entries, run / f"learning-curve{suffix}")


def save_model(model: Any, path: Path) -> None:
    """Writes a .keras file (no optimizer state) whole or not at all."""
    temporary = path.with_name(f".{path.stem}.tmp.keras")
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        model.save(temporary)
        temporary.replace(path)
