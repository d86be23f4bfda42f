"""The networks of the literature, trained and exported here -> docs/evidence/literature.json.

    python -m benchmarks.literature_evidence --data DATA --run RUN [--cells N] [--only PREFIX,...]
        [--threads T] [--nice N] [--list]

Groups of jobs, the cheapest first; ``--list`` names them:

- ``protocol-*``: ``sequential3`` under its own protocol (128 x 128, Adam, batch 16, at most 7
  epochs, the first fifth of each class by sorted file name held back), three seeds; beside it a
  random fifth and the split by patient;
- ``brief-*``: every architecture, trained briefly on train patients at a size that two cores
  manage (the table states size, cells and epochs), exported to float32 and int8 with calibration
  cells, with the verdict of the parity gate;
- ``folds-*``: five folds by patient of ``sequential3`` and ``fast50`` by ``edge-malaria crossval``;
  ``leak-*``: five folds of ``fast50`` made of cells, the difference being the leak.

Each job is a process of its own and leaves RUN/jobs/<name>.json, so that a run that was stopped
(Ctrl-C, SIGTERM, SIGKILL) goes on with the next job. The evidence is written after every job from
what is there; what is missing is listed in ``not_run``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evidence_file import ROOT, write_evidence

PROTOCOL_TARGET = 0.945
PROTOCOL_EPOCHS = 7
FOLDS = 5
TIMED_OUT = 124
OWN_SEEDS = (0, 1, 2)


@dataclasses.dataclass(frozen=True)
class Brief:
    """How briefly an architecture is trained; chosen so that two cores need minutes.

    Attributes:
        arch: its name.
        size_px: input side.
        cells: of train patients, half of each class.
        epochs, batch, rate: of the study protocol.
    """

    arch: str
    size_px: int
    cells: int
    epochs: int
    batch: int = 32
    rate: float = 1e-3


# Ascending by cost. Where the side is below the paper's the reason is two cores.
BRIEFS = (
    Brief("lenet5", 32, 8000, 10),
    Brief("micro", 48, 8000, 8),
    Brief("compact", 48, 8000, 8),
    Brief("fast50", 50, 8000, 8),
    Brief("liang16", 44, 6000, 6),
    Brief("compact-wide", 48, 6000, 5),
    Brief("sequential3", 128, 4000, 4, 16),
    Brief("alexnet", 99, 3000, 5, 32, 1e-4),
    Brief("googlenet", 64, 3000, 4),
    Brief("senet", 64, 2500, 3),
    Brief("resnet50", 64, 2500, 3),
    Brief("densenet121", 64, 2500, 3),
    Brief("xception", 72, 2000, 3),
    Brief("vgg16", 64, 1500, 3, 32, 1e-4),
)
FOLD_ARCHITECTURES = {"fast50": 64, "sequential3": 16}
# Cells of val patients for the export's gate and of test patients for the table.
GATE_CELLS, REPORT_CELLS = 1200, 1500
CALIBRATION_CELLS = 256


def jobs() -> list[str]:
    """Names of all jobs, the cheapest first."""
    names = [f"brief-{brief.arch}" for brief in BRIEFS[:6]]
    names += [f"folds-fast50-{fold}" for fold in range(FOLDS)]
    names += [f"leak-fast50-{fold}" for fold in range(FOLDS)]
    names += [f"protocol-own-{seed}" for seed in OWN_SEEDS]
    names += [f"brief-{brief.arch}" for brief in BRIEFS[6:]]
    names += ["protocol-random-0", "protocol-patient-0"]
    return names + [f"folds-sequential3-{fold}" for fold in range(FOLDS)]


def cells_at(dataset: Any, size_px: int) -> Any:
    """The rendered cells of ``dataset`` at one size, cached."""
    from edge_malaria.training.cells import default_cache, load_renderings

    return load_renderings(dataset, size_px, cache=default_cache())["full"]


def protocol(name: str, dataset: Any, epochs: int) -> dict[str, Any]:
    """``sequential3`` under its own protocol, or with another fifth held back."""
    from edge_malaria.keras_layers import keras
    from edge_malaria.training.architectures import build
    from edge_malaria.training.study import (
        StudyPlan,
        first_of_each_class,
        fit_study,
        random_of_each_class,
    )

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
    keras.utils.set_random_seed(int(seed))
    model = build("sequential3")
    plan = StudyPlan(epochs=epochs, seed=int(seed))
    history = fit_study(
        model, (train.inputs, train.labels), (val.inputs, val.labels), plan, report=tell
    )
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
    from edge_malaria.keras_layers import keras
    from edge_malaria.training.architectures import build, count_macs
    from edge_malaria.training.session import save_model
    from edge_malaria.training.study import StudyPlan, fit_study

    how = next(entry for entry in BRIEFS if name == f"brief-{entry.arch}")
    count = min(how.cells, limit) if limit else how.cells
    train = cells_at(dataset.select("train").thinned(count), how.size_px)
    val_set = dataset.select("val").thinned(GATE_CELLS)
    val = cells_at(val_set, how.size_px)
    keras.utils.set_random_seed(0)
    model = build(how.arch, how.size_px)
    plan = StudyPlan(epochs=epochs or how.epochs, batch=how.batch, learning_rate=how.rate)
    started = time.monotonic()
    history = fit_study(
        model, (train.inputs, train.labels), (val.inputs, val.labels), plan, report=tell
    )
    row: dict[str, Any] = {
        **dataclasses.asdict(how),
        "cells": len(train),
        "epochs": len(history),
        "training_s": round(time.monotonic() - started, 1),
        "parameters": int(model.count_params()),
        "macs": count_macs(model),
        "history": history,
    }
    path = run / "brief" / f"{how.arch}.keras"
    save_model(model, path)
    data = dataclasses.replace(dataset, rows=(*train.rows, *val_set.rows))
    report = dataset.select("test").thinned(min(REPORT_CELLS, limit or REPORT_CELLS))
    return row | exported(path, model, data, train.inputs, cells_at(report, how.size_px))


def exported(path: Path, model: Any, data: Any, inputs: Any, cells: Any) -> dict[str, Any]:
    """Exports ``path``; float Keras beside the int8 file on ``cells`` of test patients.

    An export that the gate refused is converted once more without it, so that the table can say
    how far off the refused file is.
    """
    from converters.to_tflite import convert
    from edge_malaria.bundle import read_bundle
    from edge_malaria.errors import EdgeMalariaError
    from edge_malaria.export import Options, export_bundle
    from edge_malaria.runtime.engines import open_engine
    from edge_malaria.training.fit import predict

    out = path.with_name(f"{path.stem}-bundle")
    variant = "int8"
    try:
        done = export_bundle(str(path), out, Options(force=True), data, log=say)
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


def fold_command(name: str, given: argparse.Namespace) -> list[str]:
    """``edge-malaria crossval`` for one fold."""
    kind, arch, fold = name.split("-")
    epochs = given.epochs or PROTOCOL_EPOCHS
    return [
        *(sys.executable, "-m", "edge_malaria.cli.app", "crossval", str(cells_zip(given))),
        *("-o", str(given.run / f"folds-{arch}"), "--arch", arch, "--protocol", "study"),
        *("--epochs", str(epochs), "--batch", str(FOLD_ARCHITECTURES[arch])),
        *("--only", fold, "--threads", str(given.threads), "--json"),
        *("--by", "cell" if kind == "leak" else "patient"),
        *(("--cells", str(given.cells)) if given.cells else ()),
    ]


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
    from edge_malaria.dataset import open_dataset
    from edge_malaria.files import write_json

    import tensorflow as tf  # isort: skip

    tf.config.threading.set_intra_op_parallelism_threads(given.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    dataset = open_dataset(cells_zip(given))
    started = time.monotonic()
    if given.job.startswith("protocol-"):
        some = dataset.thinned(given.cells or 0)
        result = protocol(given.job, some, given.epochs or PROTOCOL_EPOCHS)
    else:
        result = brief(given.job, dataset, given.epochs, given.cells, given.run)
    result["seconds"] = round(time.monotonic() - started, 1)
    write_json(given.run / "jobs" / f"{given.job}.json", result)


def start(name: str, given: argparse.Namespace) -> int:
    """Runs one job in its own process and returns its exit code; it dies with this one."""
    by_command = name.startswith(("folds-", "leak-"))
    if by_command:
        command = fold_command(name, given)
    else:
        words = ["-m", "benchmarks.literature_evidence", *sys.argv[1:], "--job", name]
        command = [sys.executable, *words]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    out = subprocess.PIPE if by_command else None
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, text=True) as child:
        try:
            text, _ = child.communicate(timeout=60 * given.job_minutes)
        except subprocess.TimeoutExpired:
            child.kill()
            return TIMED_OUT
        except BaseException:
            child.kill()
            raise
    if out and child.returncode == 0:
        path = given.run / "jobs" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return int(child.returncode)


def collected(run: Path) -> dict[str, Any]:
    """What the jobs that are done have found, one table a group."""
    done = {
        name: json.loads((run / "jobs" / f"{name}.json").read_text(encoding="utf-8"))
        for name in jobs()
        if (run / "jobs" / f"{name}.json").is_file()
    }
    path = run / "failed.json"
    reasons = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    own = [done[n] for n in (f"protocol-own-{seed}" for seed in OWN_SEEDS) if n in done]
    best = [entry["best_val_accuracy"] for entry in own]
    whole = len(best) == len(OWN_SEEDS)
    return {
        "sequential3_protocol": {
            "target": PROTOCOL_TARGET,
            "median_of_best_val_accuracy": statistics.median(best) if best else None,
            "seeds": [entry["seed"] for entry in own],
            "met": bool(whole and statistics.median(best) >= PROTOCOL_TARGET),
            "runs": [value for name, value in done.items() if name.startswith("protocol-")],
        },
        "architectures": [value for name, value in done.items() if name.startswith("brief-")],
        "five_fold_by_patient": {arch: folds("folds", arch, done) for arch in FOLD_ARCHITECTURES},
        "five_fold_by_cell": {"fast50": folds("leak", "fast50", done)},
        "not_run": {name: reasons.get(name, "not started") for name in jobs() if name not in done},
    }


def folds(kind: str, arch: str, done: dict[str, Any]) -> dict[str, Any]:
    """Per fold, and mean and standard deviation over the folds that are there."""
    found = [done[n] for n in (f"{kind}-{arch}-{fold}" for fold in range(FOLDS)) if n in done]
    rows = [entry["per_fold"][0] for entry in found]
    keys = ("accuracy", "sensitivity", "specificity", "precision", "f1", "mcc", "auc")
    summary = {}
    for key in keys:
        values = [row[key] for row in rows if row.get(key) is not None]
        if len(values) > 1:
            summary[key] = {"mean": statistics.mean(values), "sd": statistics.stdev(values)}
    return {"folds": [row["fold"] for row in rows], "mean_sd": summary, "per_fold": rows}


def write(given: argparse.Namespace) -> None:
    """docs/evidence/literature.json, or RUN/literature.json for a limited run."""
    from edge_malaria.files import write_json

    found = collected(given.run)
    if given.cells or given.epochs:
        write_json(given.run / "literature.json", {"cells": given.cells, **found})
        return
    command = 'python -m benchmarks.literature_evidence --data "$EDGE_MALARIA_DATA" --run RUN'
    write_evidence("literature", command, found, seed=0)


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, default=ROOT / "runs" / "literature")
    parser.add_argument("--only", default="", help="comma-separated beginnings of job names")
    parser.add_argument("--cells", type=int, help="at most so many cells a job: a quick trial")
    parser.add_argument("--epochs", type=int, default=0, help="instead of each job's own")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--nice", type=int, default=10)
    parser.add_argument("--job-minutes", type=float, default=60.0, help="a job is stopped then")
    parser.add_argument("--list", action="store_true", help="name the jobs, and which are done")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.run = given.run.resolve()
    return given


def main() -> int:
    """Runs what is missing; 1 where a job failed."""
    from edge_malaria.files import write_json

    given = parsed()
    if given.job:
        work(given)
        return 0
    beginnings = tuple(part for part in given.only.split(",") if part) or ("",)
    names = [name for name in jobs() if name.startswith(beginnings)]
    stored = given.run / "jobs"
    if given.list:
        print(
            "\n".join(f"{'done' if (stored / f'{n}.json').is_file() else '-':5}{n}" for n in names)
        )
        return 0
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    os.nice(max(0, given.nice - os.nice(0)))
    failed: dict[str, str] = {}
    for name in names:
        if (stored / f"{name}.json").is_file():
            continue
        say(f"{name} ...")
        started = time.monotonic()
        code = start(name, given)
        say(f"{name}: {'ok' if code == 0 else f'exit {code}'}, {time.monotonic() - started:.0f} s")
        if code:
            failed[name] = (
                f"stopped after {given.job_minutes:g} minutes"
                if code == TIMED_OUT
                else f"ended with exit code {code} after {time.monotonic() - started:.0f} s"
            )
            write_json(given.run / "failed.json", failed)
        write(given)
    write(given)
    print(f"failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
