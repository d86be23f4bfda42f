"""What ``edge-malaria train`` says: a line for each pass, and the figures at the end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_malaria.cli.output import log, print_json, print_table

if TYPE_CHECKING:
    from edge_malaria.training.classifier.run_files import Trained


def report_pass(stage: str, entry: dict[str, float]) -> None:
    """One line on stderr about a pass that ended."""
    log(
        f"{stage:5s} epoch {entry['epoch'] + 1:3.0f}  loss {entry['loss']:.4f}  "
        f"val AUC {entry['val_auc']:.4f}  val accuracy {entry['val_accuracy']:.4f}  "
        f"{entry['seconds']:.0f} s"
    )


def show(run: Path, outcome: Trained, figures: dict[str, Any] | None, as_json: bool) -> None:
    """The trained network's figures on stdout, as tables or as one JSON document.

    Args:
        run: the run directory.
        outcome: what the training gave.
        figures: of the validation patients with and without suspect labels, where asked for.
        as_json: whether as JSON.
    """
    aware = "int8" in outcome.history
    stage = list(outcome.history.values())[-1]
    # The weights that stay: a study keeps those of the lowest loss, the project the best AUC's.
    if "val_loss" in stage[0]:
        last = min(stage, key=lambda entry: entry["val_loss"])
    else:
        last = max(stage, key=lambda entry: entry["val_auc"])
    points = outcome.decision["operating_points"]
    if as_json:
        print_json(
            {
                "run": str(run),
                "model": str(run / "model.keras"),
                "int8_ranges": "in the model" if aware else "measured at export",
                "val_auc": last["val_auc"],
                "val_accuracy": last["val_accuracy"],
                "operating_points": points,
                "temperature": outcome.decision["temperature"],
                **({"val": figures} if figures else {}),
            }
        )
        return
    rows = [
        (name, f"{point['threshold']:.4f}", *(f"{point['val'][key]:.4f}" for key in point["val"]))
        for name, point in points.items()
    ]
    print_table(
        f"{run / 'model.keras'}: validation AUC {last['val_auc']:.4f}",
        ("operating point", "threshold", "sensitivity", "specificity"),
        rows,
    )
    if figures:
        sound = figures["without_suspect_labels"]
        rates = [
            (name, str(part["n"]), *(f"{part[key]:.4f}" for key in ("accuracy", "auc", "mcc")))
            for name, part in (("raw labels", figures), ("without suspect labels", sound))
        ]
        print_table("validation patients", ("labels", "cells", "accuracy", "AUC", "MCC"), rates)
    needed = "" if aware else " --data DATASET"
    print(f"next: edge-malaria export {run / 'model.keras'} --int8{needed} -o my-bundle")
