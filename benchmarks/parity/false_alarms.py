"""Does the gate let honest models pass? Retrains briefly with five seeds, exports, gates.

    python -m benchmarks.parity.false_alarms --data DATASET [--work runs/false-alarms]

Each seed: the default architecture on every third train cell, a few epochs, int8 fine-tuning, then
the same export and gate as a user's, on val patients. A refusal is a false alarm. Resumable: a
seed that is done is read from the work folder. Writes docs/evidence/parity_false_alarms.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.evidence_file import write_evidence
from edge_malaria.bundle.format import read_bundle
from edge_malaria.data.dataset import Dataset, open_dataset
from edge_malaria.errors import GateFailed
from edge_malaria.files import write_json
from edge_malaria.parity import ParityReport

SEEDS = (1, 2, 3, 4, 5)
EPOCHS, FINE_TUNE, EVERY = 6, 3, 3


def train_briefly(dataset: Dataset, seed: int, run: Path) -> Path:
    """A short honest training; returns the .keras file."""
    from edge_malaria.training.classifier.cells import default_cache, fitting_rows
    from edge_malaria.training.classifier.recipe import Recipe
    from edge_malaria.training.classifier.session import train

    train_rows, val_rows = fitting_rows(dataset)
    fewer = replace(train_rows, rows=train_rows.rows[::EVERY])
    train(
        (fewer, val_rows),
        "compact",
        # A few hundred steps: an average over thousands would still be the random weights.
        Recipe(epochs=EPOCHS, averaging=0.98, seed=seed),
        run,
        fine_tune_epochs=FINE_TUNE,
        resume=(run / "config.json").is_file(),
        cache=default_cache(),
        report=lambda stage, entry: print(
            f"seed {seed} {stage} {entry['epoch'] + 1}: {entry['val_auc']:.4f}", flush=True
        ),
    )
    return run / "model.keras"


def export_and_gate(model: Path, dataset: Dataset) -> dict[str, Any]:
    """What the export's own gate says; a refusal is recorded, not raised."""
    from edge_malaria.export import Options, export_bundle

    variants = ("float32", "float16", "dynamic", "int8")
    with tempfile.TemporaryDirectory() as folder:
        options = Options(variants=variants, finder=False)
        out = Path(folder) / "bundle"
        try:
            exported = export_bundle(str(model), out, options, dataset)
        except GateFailed as error:
            return {"passed": False, "message": str(error)}
        recipe = read_bundle(out).classifier.record["int8"]["ranges"]
    return {"passed": True, "recipe": recipe, **_margins(exported.report)}


def _margins(report: ParityReport) -> dict[str, Any]:
    """The int8 figures that come closest to their limits."""
    int8 = [p for p in report.pairs if p.candidate.endswith("int8") and p.reference == "keras"]
    bounds = [
        interval[0]
        for pair in int8
        for interval in (pair.delta_sensitivity_ci95, pair.delta_specificity_ci95)
        if interval is not None
    ]
    return {
        "least_sqnr_db": min(pair.as_json()["sqnr_db"] for pair in int8),
        "largest_change_of_a_probability": max(pair.max_abs_diff for pair in int8),
        "least_same_call": min(pair.label_agreement for pair in int8),
        "lowest_bound_of_change": min(bounds) if bounds else None,
    }


def main() -> None:
    """Runs the seeds that are not done yet and writes the evidence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/false-alarms"))
    options = parser.parse_args()
    dataset = open_dataset(options.data)
    found = {}
    for seed in SEEDS:
        run = options.work / f"seed{seed}"
        done = run / "gate.json"
        if not done.is_file():
            write_json(done, export_and_gate(train_briefly(dataset, seed, run), dataset))
        found[str(seed)] = json.loads(done.read_text())
        print(f"seed {seed}: {found[str(seed)]}", flush=True)
    passed = sum(result["passed"] for result in found.values())
    figures = {
        "seeds": found,
        "passed": passed,
        "of": len(SEEDS),
        "false_alarms": len(SEEDS) - passed,
        "training": f"compact, every {EVERY}th train cell, {EPOCHS} + {FINE_TUNE} epochs",
    }
    command = "python -m benchmarks.parity.false_alarms --data DATASET"
    write_evidence("parity_false_alarms", command, figures, seed=SEEDS[0])


if __name__ == "__main__":
    main()
