"""What one job of ``literature_evidence`` does, in its own process.

A network under the studies' own protocol, or trained briefly and put through the export.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evidence_file import commit


@dataclasses.dataclass(frozen=True)
class Brief:
    """How briefly an architecture is trained; chosen so that two cores need minutes.

    Attributes:
        arch: its name.
        size_px: input side.
        cells: of train patients, half of each class.
        epochs, batch, rate: of the study protocol.
        fall: by what each pass multiplies the rate. A network whose rate falls sees all of its
            passes; another stops after two without a lower validation loss, as the studies did.
    """

    arch: str
    size_px: int
    cells: int
    epochs: int
    batch: int = 32
    rate: float = 1e-3
    fall: float | None = None

    def plan(self, epochs: int = 0) -> Any:
        """As a ``StudyPlan``; ``epochs`` in place of its own, 0 for none."""
        from edge_malaria.training.classifier.study_plan import Fall, StudyPlan

        passes = epochs or self.epochs
        plan = StudyPlan(epochs=passes, batch=self.batch, learning_rate=self.rate)
        if self.fall is None:
            return plan
        return dataclasses.replace(plan, patience=passes, fall=Fall(self.fall, 1))


# Ascending by cost. Where the side is below the paper's the reason is two cores. Batches of 16 give
# the deepest ones enough steps, and the falling rate lets the averages of their batch norms settle.
BRIEFS = (
    Brief("lenet5", 32, 8000, 10),
    Brief("micro", 48, 8000, 8),
    Brief("compact", 48, 8000, 8),
    Brief("fast50", 50, 8000, 8),
    Brief("liang16", 44, 6000, 6),
    Brief("compact-wide", 48, 6000, 5),
    Brief("sequential3", 128, 4000, 4, 16),
    Brief("alexnet", 99, 3000, 5, 32, 1e-4),
    Brief("googlenet", 64, 2000, 4),
    Brief("senet", 64, 4000, 6, 16, 1e-3, 0.6),
    Brief("densenet121", 64, 4000, 7, 16, 1e-3, 0.6),
    Brief("resnet50", 64, 4000, 7, 16, 5e-4, 0.6),
    Brief("xception", 72, 1000, 3),
    Brief("vgg16", 48, 3000, 7, 16, 1e-4, 0.8),
)
# Cells of val patients for the export's gate and of test patients for the table.
GATE_CELLS, REPORT_CELLS = 1200, 1500
CALIBRATION_CELLS = 256


def cells_at(dataset: Any, size_px: int) -> Any:
    """The rendered cells of ``dataset`` at one size, cached."""
    from edge_malaria.training.classifier.cells import default_cache, load_renderings

    return load_renderings(dataset, size_px, cache=default_cache())["full"]


def state_of(name: str, run: Path, plan: Any, train: Any) -> Path:
    """Where a training keeps its checkpoint: another plan or other cells start afresh."""
    words = repr((plan, train.inputs.shape)).encode()
    return run / "states" / f"{name}-{hashlib.sha256(words).hexdigest()[:8]}.npz"


def protocol(name: str, dataset: Any, epochs: int, run: Path) -> dict[str, Any]:
    """``sequential3`` under its own protocol, or with another fifth held back.

    It ends as the protocol says, where the validation loss stays; ``epochs`` is for trials.
    """
    from edge_malaria.training.classifier.published import PUBLISHED
    from edge_malaria.training.classifier.study import first_of_each_class, random_of_each_class
    from edge_malaria.training.classifier.study_session import fit_as_studied

    _, split, seed = name.split("-")
    cells = cells_at(dataset, 128)
    if split == "own":
        held_out = first_of_each_class(cells.labels)
    elif split == "random":
        held_out = random_of_each_class(cells.labels, int(seed))
    else:
        held_out = np.array([row.split == "val" or row.split == "test" for row in cells.rows])
    val, train = cells.take(held_out), cells.take(~held_out)
    shared = len(set(val.patients.tolist()) & set(train.patients.tolist()))
    plan = dataclasses.replace(PUBLISHED["sequential3"].plan, seed=int(seed))
    plan = dataclasses.replace(plan, epochs=epochs or plan.epochs)
    state = state_of(name, run, plan, train)
    model, stages = fit_as_studied(
        "sequential3", train, val, plan, lambda stage, entry: tell(entry), state
    )
    history = stages["float"]
    best = max(history, key=lambda entry: entry["val_accuracy"])
    return {
        "split": split,
        "seed": int(seed),
        "parameters": int(model.count_params()),
        "train_cells": len(train),
        "val_cells": len(val),
        "patients_on_both_sides": shared,
        "best_val_accuracy": best["val_accuracy"],
        "best_epoch": int(best["epoch"]) + 1,
        "best_val_auc": max(entry["val_auc"] for entry in history),
        "history": history,
    }


def brief(name: str, dataset: Any, epochs: int, limit: int | None, run: Path) -> dict[str, Any]:
    """One architecture: trained briefly, exported to int8 and put through the parity gate."""
    from edge_malaria.parity.judges import PUBLISHED_PROTOCOL
    from edge_malaria.training.architectures.registry import count_macs
    from edge_malaria.training.classifier.run_files import Trained, write_outcome
    from edge_malaria.training.classifier.session import decide
    from edge_malaria.training.classifier.study_session import fit_as_studied

    how = next(entry for entry in BRIEFS if name == f"brief-{entry.arch}")
    count = min(how.cells, limit) if limit else how.cells
    train = cells_at(dataset.select("train").thinned(count), how.size_px)
    val_set = dataset.select("val").thinned(GATE_CELLS)
    val = cells_at(val_set, how.size_px)
    plan = how.plan(epochs)
    state = state_of(name, run, plan, train)
    model, stages = fit_as_studied(
        how.arch, train, val, plan, lambda stage, entry: tell(entry), state
    )
    history = stages["float"]
    row: dict[str, Any] = {
        **dataclasses.asdict(how),
        "cells": len(train),
        "epochs": len(history),
        "training_s": round(sum(entry["seconds"] for entry in history), 1),
        "parameters": int(model.count_params()),
        "macs": count_macs(model),
        "history": history,
    }
    place = run / "brief" / how.arch
    # Like a run of ``train --recipe own``: the gate then knows which cells the network is for.
    outcome = Trained(model, decide(model, val, train), stages)
    write_outcome(place, outcome, plan, {"arch": how.arch, "protocol": PUBLISHED_PROTOCOL})
    path = place / "model.keras"
    data = dataclasses.replace(dataset, rows=(*train.rows, *val_set.rows))
    report = dataset.select("test").thinned(min(REPORT_CELLS, limit or REPORT_CELLS))
    return row | exported(path, model, data, train.inputs, cells_at(report, how.size_px))


def exported(path: Path, model: Any, data: Any, inputs: Any, cells: Any) -> dict[str, Any]:
    """Exports ``path``; float Keras beside the int8 file on ``cells`` of test patients.

    Where the gate refuses the plain recipes, the network is trained on for three passes with int8
    rounding on the cells that it was trained on (``export``'s last recipe). An export that is
    refused all the same is converted once more without the gate, so that the table can say how far
    off the file is.
    """
    from converters.to_tflite import convert
    from edge_malaria.bundle.format import read_bundle
    from edge_malaria.errors import EdgeMalariaError
    from edge_malaria.export import Options, export_bundle
    from edge_malaria.runtime.engines.opening import open_engine
    from edge_malaria.training.classifier.fit import predict

    out = path.with_name("bundle")
    options = Options(force=True)
    variant = "int8"
    try:
        done = export_bundle(str(path), out, options, data, log=say)
        bundle = read_bundle(out)
        variant = "int8" if "int8" in bundle.classifier.variants else "int8-mixed"
        parity = {"passed": done.report.passed, "verdict": "passed"}
        parity |= {"cells": dict(done.report.cells), **bundle.classifier.record["int8"]}
        del parity["calibration_cells"]
        file = bundle.read(bundle.classifier.file(variant, "litert").file)
    except EdgeMalariaError as error:
        parity = {"passed": False, "verdict": "; ".join(str(error).splitlines()[:4])}
        file = convert(model, "int8", inputs[:: max(1, len(inputs) // CALIBRATION_CELLS)])
    engine = open_engine(file, "litert", 1)
    # Cell by cell: a file with a Flatten keeps the batch that it was converted with.
    logits = [engine.run(cell[None]).reshape(-1) for cell in cells.inputs]
    return {
        "parity": parity,
        "variant": variant,
        "int8_bytes": len(file),
        "test_cells": len(cells),
        "int8": figures(cells.labels, np.concatenate(logits)),
        "keras": figures(cells.labels, predict(model, cells.inputs, 64)),
    }


def figures(labels: Any, logits: Any) -> dict[str, Any]:
    """Accuracy and MCC at logit 0, and AUC."""
    from edge_malaria.metrics import auc, confusion

    table = confusion(labels, logits >= 0)
    return {"accuracy": table.accuracy, "auc": auc(labels, logits), "mcc": table.mcc}


def cells_zip(given: argparse.Namespace) -> Path:
    """The NIH cells under --data."""
    return Path(given.data) / "nih" / "cell_images.zip"


def tell(entry: dict[str, float]) -> None:
    """One line an epoch."""
    say("  ".join(f"{key} {value:.4f}" for key, value in entry.items()))


def say(line: str) -> None:
    """One line on stderr."""
    print(line, file=sys.stderr, flush=True)


def work(given: argparse.Namespace) -> None:
    """In a job's own process: does it and stores what came out."""
    from edge_malaria.data.dataset import open_dataset
    from edge_malaria.files import write_json

    import tensorflow as tf  # isort: skip

    tf.config.threading.set_intra_op_parallelism_threads(given.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    dataset = open_dataset(cells_zip(given))
    started = time.monotonic()
    if given.job.startswith("protocol-"):
        some = dataset.thinned(given.cells or 0)
        result = protocol(given.job, some, given.epochs, given.run)
    else:
        result = brief(given.job, dataset, given.epochs, given.cells, given.run)
    result |= {"seconds": round(time.monotonic() - started, 1), "commit": commit()}
    write_json(given.run / "jobs" / f"{given.job}.json", result)
    for state in (given.run / "states").glob(f"{given.job}-*.npz"):
        state.unlink()
