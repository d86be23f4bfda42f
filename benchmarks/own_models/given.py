"""Five networks that other people published: through every command, with times and bytes.

    python -m benchmarks.own_models.given --models FOLDER --data DATASET [--work runs/own-models]
        [--only FILE] [--prune]

FOLDER holds the files; each one's contract stands below. Every command runs as a user's would, in a
process of its own, whose peak of memory is noted. With ``--prune`` the networks are pruned instead,
and what was measured before stays. Resumable: a model that is done is read from the work folder.
Writes docs/evidence/own_models.json.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.evidence_file import EVIDENCE, commit, write_evidence
from benchmarks.own_models import pruned
from benchmarks.own_models.commands import timed
from edge_malaria.data.dataset import Dataset, open_dataset
from edge_malaria.files import write_image, write_json


@dataclass(frozen=True)
class Given:
    """One network, its contract, and the accuracy under its author's own preprocessing."""

    file: str
    contract: tuple[str, ...]
    accuracy: float


def _contract(input_range: str, resize: str, classes: str) -> tuple[str, ...]:
    pairs = ("--input-range", input_range, "--colour", "rgb", "--resize", resize)
    return (*pairs, "--classes", classes)


COMMAND = "python -m benchmarks.own_models.given --models FOLDER --data DATASET"
_ALPHABETICAL, _OTHER = "Parasitized,Uninfected", "Uninfected,Parasitized"
MODELS = (
    Given("parth.keras", _contract("0-1", "linear", _ALPHABETICAL), 0.981),
    Given("kamran.h5", _contract("0-1", "linear", _OTHER), 0.966),
    Given("camzate.onnx", _contract("0-1", "linear", _ALPHABETICAL), 0.969),
    Given("ademipeju.tflite", _contract("0-1", "linear", _ALPHABETICAL), 0.964),
    Given("jayem.h5", _contract("0-255", "pad", _ALPHABETICAL), 0.962),
)


def measured(given: Given, models: Path, data: Path, dataset: Dataset, work: Path) -> Any:
    """One network through export, parity, evaluate, classify and firmware."""
    model, bundle = models / given.file, work / f"{given.file}-bundle"
    export = timed(
        "export",
        model,
        "--int8",
        "--data",
        data,
        *given.contract,
        "-o",
        bundle,
        "--force",
        "--no-fine-tune",
        "--json",
    )
    row: dict[str, Any] = {"commit": commit(), "true_accuracy": given.accuracy, "export": export}
    if export["exit"]:
        return _shortened(row, work)
    document = json.loads(export["out"])
    row["judged_variant"] = document["evaluation"]["variant"]
    row["judging_cells"] = document["evaluation"]["n"]
    row["bytes"] = {file["file"]: file["bytes"] for file in document["files"]}
    variant = row["judged_variant"]
    cells = work / "cells"
    for index, cell in enumerate(dataset.select("val").thinned(6).rows):
        write_image(cells / f"{index}.png", dataset.read(cell))
    row["classify"] = timed(
        "classify", *sorted(cells.glob("*.png")), "--bundle", bundle, "--variant", variant, "--json"
    )
    row["evaluate"] = timed(
        "evaluate", bundle, data, "--split", "val", "--variant", variant, "--json"
    )
    if row["evaluate"]["exit"] == 0:
        measures = json.loads(row["evaluate"]["out"])
        row |= {key: measures[key] for key in ("accuracy", "auc")}
        row["val_cells"] = measures["n"]
    row["firmware"] = timed("firmware", bundle, "-o", work / f"{given.file}-firmware", "--force")
    row["parity"] = timed("parity", bundle, "--reference", model, "--json")
    return _shortened(row, work)


def measured_pruning(given: Given, models: Path, data: Path, dataset: Dataset, work: Path) -> Any:
    """One network through ``prune`` and the export of what it wrote."""
    cells = work / "pruning-cells"
    if not (cells / "patients.csv").is_file():
        pruned.thinned(dataset, cells)
    row = pruned.measured(models / given.file, given.contract, data, cells, work)
    return {"commit": commit(), **_shortened(row, work)}


def _shortened(row: dict[str, Any], work: Path) -> dict[str, Any]:
    """Without what was printed, and without this machine's paths."""
    for value in row.values():
        if isinstance(value, dict) and "said" in value:
            value.pop("out", None)
            value["said"] = value["said"].replace(f"{work}/", "")
    return row


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/own-models"))
    parser.add_argument("--only", metavar="FILE", help="Measure this network alone.")
    parser.add_argument("--prune", action="store_true", help="Prune them; keep all other figures.")
    parser.add_argument("--finished", action="store_true", help="Write what is done, run nothing.")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    dataset = open_dataset(given.data)
    stored = EVIDENCE / "own_models.json"
    earlier = json.loads(stored.read_text(encoding="utf-8"))["models"] if stored.is_file() else {}
    part, measure = ("-pruned", measured_pruning) if given.prune else ("", measured)
    for one in MODELS:
        kept = given.work / f"{one.file}{part}.json"
        wanted = not given.finished and given.only in (None, one.file)
        if not wanted and not kept.is_file():
            continue
        if not kept.is_file():
            write_json(kept, measure(one, given.models, given.data, dataset, given.work))
        row = json.loads(kept.read_text(encoding="utf-8"))
        before = earlier.get(one.file, {})
        keep = {key: before[key] for key in ("pruning",) if key in before}
        earlier[one.file] = {**before, "pruning": row} if given.prune else {**row, **keep}
        print(one.file, json.dumps(row)[:400], flush=True)
        # After each; networks that were not measured now keep what was measured before.
        models = {m.file: earlier[m.file] for m in MODELS if m.file in earlier}
        write_evidence("own_models", COMMAND, {"models": models}, seed=0)


if __name__ == "__main__":
    main()
