"""Fine-tunes what ``tools.build_models`` made on other laboratories' cells: what ships.

    python -m tools.fine_tune_laboratories --data DATA --start DIR [--runs runs/laboratories]
        [--only default] [--without LABORATORY[,LABORATORY]] [--ship]

One pool of augmented cells is drawn (resumable by pass): train patients' cells; healthy cells of
the fitting thirds of the laboratories in ``data/laboratories.py``; those with parasites of train
patients transplanted into them; and healthy cells with platelets or refractile spots on them.

Each model starts from the weights in ``--start`` (<name>.keras and .json, as ``tools.build_models``
made them). It is fitted to the pool in rounds, distilled from a larger network where its plan names
one, interpolated with the weights before, and rounded to int8. The second network that its plan
names is made with it. Operating points come from networks of the same architectures that had not
seen the patient. ``--without`` stops after fitting: networks that have not seen these laboratories.
docs/LABORATORIES.md says why, and what came of it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.slides.laboratory_scores import SourceScores, write_scores
from edge_malaria.bundle.shipped import SHIPPED_MODELS
from edge_malaria.data.dataset import Dataset
from edge_malaria.data.laboratories import LABORATORIES, SETS
from edge_malaria.errors import UsageError
from edge_malaria.files import sha256_of, write_bytes, write_json
from edge_malaria.keras_layers import load_model
from edge_malaria.prepare.contract import Preparation
from edge_malaria.training.architectures.registry import count_macs
from edge_malaria.training.classifier.asked_again import Asking, EightViews, SecondNetwork
from edge_malaria.training.classifier.calibrate import fit_platt
from edge_malaria.training.classifier.cross_fitted import CrossFitted, settled
from edge_malaria.training.classifier.drawn_cells import WithDrawn, draw_both
from edge_malaria.training.classifier.feed import OwnBatches
from edge_malaria.training.classifier.fit import predict
from edge_malaria.training.classifier.laboratory_material import (
    SIZE_PX,
    STAIN,
    Material,
    stored_logits,
)
from edge_malaria.training.classifier.laboratory_plans import PLANS, Plan
from edge_malaria.training.classifier.laboratory_rounds import (
    cross_fitted,
    cross_logits,
    examples,
    fine_tuned,
    home_by,
    run_of,
    teachers,
)
from edge_malaria.training.classifier.pool import PoolPlan
from edge_malaria.training.classifier.recipe import versions
from edge_malaria.training.classifier.run_files import save_model
from edge_malaria.training.classifier.session import answers, decide, quantize

# How every cell of these networks is prepared.
PREPARATION = Preparation(SIZE_PX, stain=STAIN)


def log(line: str) -> None:
    """One line on stderr."""
    print(line, file=sys.stderr, flush=True)


def log_epoch(stage: str, entry: dict[str, float]) -> None:
    """One line on stderr."""
    log(f"{stage} epoch {entry['epoch'] + 1:.0f}: AUC {entry['val_auc']:.4f}")


def record(material: Material, name: str, model: Any, decision: dict[str, Any]) -> dict[str, Any]:
    """What stands beside the .keras file: decision, contract and where the network comes from."""
    plan = PLANS[name]
    return {
        "decision": decision,
        "preprocessing": PREPARATION.as_json(),
        "provenance": {
            "arch": plan.arch,
            "input_size_px": SIZE_PX,
            "start": _start(material, plan),
            "reference": sha256_of(material.start / "default.keras"),
            "data": _home_counts(material),
            "laboratories": _laboratory_counts(material),
            "parameters": int(model.count_params()),
            "macs": count_macs(model),
            "seed": plan.rounds[0].seed,
            "rounds": [dataclasses.asdict(recipe) for recipe in plan.rounds],
            "share": plan.share,
            "turned": plan.turned,
            "distilled_from": dataclasses.asdict(PLANS[plan.distilled_from])
            if plan.distilled_from
            else None,
            "fine_tune_epochs": plan.fine_tune_epochs,
            "fine_tune_rate": plan.rounding.learning_rate,
            "drawn": plan.drawn,
            "pool": dataclasses.asdict(PoolPlan()),
            "versions": versions(),
        },
    }


def _start(material: Material, plan: Plan) -> dict[str, str] | None:
    """Which weights a network started from; None for random ones."""
    if not plan.start:
        return None
    return {"keras_sha256": sha256_of(material.start / f"{plan.start}.keras")}


def _home_counts(material: Material) -> dict[str, Any]:
    counts = {}
    for split in ("train", "val"):
        cells = material.home["full"].take(material.split(split))
        counts[split] = {
            "cells": len(cells),
            "parasitized": int(cells.labels.sum()),
            "patients": len(set(cells.patients.tolist())),
        }
    return counts


def _laboratory_counts(material: Material) -> dict[str, Any]:
    return {
        laboratory: {
            "cells": int((material.foreign.laboratory == laboratory).sum()),
            "terms": sorted({s.licence for s in SETS.values() if s.laboratory == laboratory}),
        }
        for laboratory in LABORATORIES
    }


def crossfit_scores(material: Material, crossed: CrossFitted, sha256: str) -> SourceScores:
    """What the error model reads of cross-fitted networks: cells of train and val patients."""
    rows = material.home["full"].rows
    names = sorted(set(crossed.patients.tolist()))
    place = {name: index for index, name in enumerate(names)}
    labels = [
        ("parasitized" if row.label else "plain") + ("-doubtful" if row.suspect else "")
        for row in rows
    ]
    return SourceScores(
        crossed.chances,
        np.array([place[name] for name in crossed.patients.tolist()], np.int64),
        np.array(labels, np.str_),
        np.array(names, np.str_),
        np.array([""] * len(names)),
        sha256,
    )


def rounded(material: Material, name: str, pool: Path, runs: Path) -> Any:
    """One network after its rounds and after rounding to int8; kept as RUNS/<name>/model.keras."""
    run, plan = runs / name, PLANS[name]
    network = fine_tuned(material, name, pool, run, report=log_epoch)
    if not (run / "model.keras").is_file():
        home = stored_logits(material.reference, "reference")
        logits = home_by(home, stored_logits(network, name))
        train = material.split("train")
        given: OwnBatches = examples(material, pool, train, logits=logits, turned=plan.turned)
        if plan.drawn:
            given = WithDrawn(given, network, *draw_both(PREPARATION), plan.drawn)
        made, _ = quantize(
            network,
            given,
            material.val,
            plan.rounding,
            run / "int8",
            fine_tune_epochs=plan.fine_tune_epochs,
            range_percentile=plan.range_percentile,
            teachers=teachers(material, name, pool, run),
            resume=True,
            keep_last=plan.drawn > 0,
            report=log_epoch,
        )
        save_model(made, run / "model.keras")
    return load_model(run / "model.keras")


def finished(material: Material, name: str, pool: Path, runs: Path) -> Path:
    """One model whole; returns its run directory with model.keras and model.json."""
    run, plan, val = runs / name, PLANS[name], material.val
    model = rounded(material, name, pool, runs)
    asking: Asking | None = EightViews(model) if plan.flagged_views else None
    parts = [cross_logits(material, name, pool, runs / f"{name}-crossfit", log_epoch)]
    if plan.second:
        asking = second_network(material, plan, pool, runs)
        folder = runs / f"{plan.second}-crossfit"
        parts.append(cross_logits(material, plan.second, pool, folder, log_epoch))
    crossfit = runs / f"{name}-crossfit"
    crossed = cross_fitted(material.home["full"], *parts)
    train_cells = material.home["full"].take(material.split("train"))
    decision = decide(model, val, train_cells, crossed, asking=asking)
    own = answers(model, val, asking)
    crossed, _ = settled(crossed, own, val.labels, val.patients)
    sha256 = sha256_of(run / "model.keras")
    write_scores(crossfit, "crossfit", crossfit_scores(material, crossed, sha256))
    write_json(run / "model.json", record(material, name, model, decision))
    if isinstance(asking, SecondNetwork):
        write_json(
            runs / plan.second / "model.json", second_record(material, plan, asking, decision)
        )
    return run


def second_network(material: Material, plan: Plan, pool: Path, runs: Path) -> SecondNetwork:
    """The network that ``plan`` asks about flagged cells, calibrated on validation cells."""
    network = rounded(material, plan.second, pool, runs)
    calibration = fit_platt(predict(network, material.val.inputs), material.val.labels)
    return SecondNetwork(network, calibration, plan.second_from)


def second_record(
    material: Material, plan: Plan, asking: SecondNetwork, first: dict[str, Any]
) -> dict[str, Any]:
    """What stands beside a second network's file: its calibration with the first one's points."""
    temperature, bias = (round(value, 6) for value in asking.calibration)
    points = {
        name: {
            "threshold": point["threshold"],
            "chosen": "that of the first network, for both together",
        }
        for name, point in first["operating_points"].items()
    }
    decision = {"temperature": temperature, "bias": bias, "operating_points": points}
    return record(material, plan.second, asking.network, decision)


def expect_not_fine_tuned(start: Path, names: list[str]) -> None:
    """Fine-tuning again what was fine-tuned would let it see everything twice.

    Raises:
        UsageError: ``start`` holds no networks of ``tools.build_models``.
    """
    for name in names:
        record = start / f"{name}.json"
        if not record.is_file():
            raise UsageError(f"no {record}: expected what tools.build_models made.")
        if "laboratories" in json.loads(record.read_text(encoding="utf-8"))["provenance"]:
            raise UsageError(f"{record} was fine-tuned already: start from what it started from.")


def install(run: Path, name: str, dataset: Dataset) -> None:
    """Puts a finished model where shipped ones stand and exports its bundle through the gate.

    Its second network goes with it.
    """
    from edge_malaria.export.convert import Options
    from edge_malaria.export.gate import export_bundle

    pairs = {name: run}
    if second := PLANS[name].second:
        pairs[second] = run.parent / second
    for stem, folder in pairs.items():
        write_bytes(SHIPPED_MODELS / f"{stem}.keras", (folder / "model.keras").read_bytes())
        write_bytes(SHIPPED_MODELS / f"{stem}.json", (folder / "model.json").read_bytes())
    options = Options(("float32", "float16", "dynamic", "int8"), force=True)
    export_bundle(name, SHIPPED_MODELS / name, options, dataset, lambda line: print(line))


def main() -> None:
    """Fine-tunes what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs/laboratories"))
    parser.add_argument("--only", default="default", help=f"plans, of {', '.join(PLANS)}")
    parser.add_argument("--start", type=Path, required=True)
    parser.add_argument("--without", metavar="LABORATORY[,LABORATORY]", default="")
    parser.add_argument("--ship", action="store_true", help="replace the shipped models")
    given = parser.parse_args()
    without = tuple(name for name in given.without.split(",") if name)
    if unknown := sorted(set(without) - set(LABORATORIES)):
        parser.error(f"unknown: {', '.join(unknown)}; expected some of {', '.join(LABORATORIES)}")
    plans = given.only.split(",")
    if unknown := sorted({name for name in plans if name not in PLANS}):
        parser.error(f"no plan: {', '.join(unknown)}; expected some of {', '.join(PLANS)}")
    expect_not_fine_tuned(given.start, [PLANS[name].start for name in plans if PLANS[name].start])
    material = Material(given.data, given.runs, given.start, log)
    pool = material.draw(PoolPlan())
    for name in plans:
        if without:
            run = run_of(given.runs, name, without)
            fine_tuned(material, name, pool, run, without, log_epoch)
            continue
        if not PLANS[name].start:
            # A second network has no points of its own: it is ready for the model that asks it.
            rounded(material, name, pool, given.runs)
            cross_logits(material, name, pool, given.runs / f"{name}-crossfit", log_epoch)
            continue
        run = finished(material, name, pool, given.runs)
        if given.ship:
            install(run, PLANS[name].start, material.dataset)


if __name__ == "__main__":
    main()
