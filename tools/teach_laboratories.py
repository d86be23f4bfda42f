"""Teaches the classifiers other laboratories' cells: a study; what ships is not made by it.

    python -m tools.teach_laboratories --data DATA [--runs runs/laboratories]
        [--only default,micro] [--start DIR] [--without LABORATORY] [--ship]

Every cell is shown in the home laboratory's stain (``prepare/stain.py``). One pool of augmented
cells is drawn (resumable by pass): train patients' cells, healthy cells of the fitting thirds of
the laboratories in ``data/laboratories.py``, parasites of train patients grafted on those. Each
model starts from the weights in ``--start`` (what ``build_models.py`` made), is fitted to the pool
in rounds, each looking anew for false alarms, is put between the network before and what it became,
rounded to int8, and gets its operating points from networks of the same architecture that had not
seen the patient. ``--without`` stops after fitting: a network for leave-one-laboratory-out. Test
rows, report thirds and sets that only report are never opened.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.shipped import SHIPPED_MODELS, shipped_bundle
from edge_malaria.data.dataset import Dataset, open_dataset
from edge_malaria.data.laboratories import LABORATORIES, SETS, TEACHING
from edge_malaria.files import sha256_of, write_bytes, write_json
from edge_malaria.keras_layers import keras, load_model
from edge_malaria.prepare.contract import Preparation
from edge_malaria.prepare.stain import StainScaling
from edge_malaria.runtime.classify.classifier import probability
from edge_malaria.runtime.detect.opening import default_finder
from edge_malaria.training.architectures import build
from edge_malaria.training.architectures.registry import count_macs
from edge_malaria.training.classifier.calibrate import CrossFitted, fit_platt
from edge_malaria.training.classifier.cells import (
    RENDERINGS,
    CellSet,
    default_cache,
    load_renderings,
)
from edge_malaria.training.classifier.fit import fit, predict
from edge_malaria.training.classifier.foreign_cells import ForeignCells, teaching_cells
from edge_malaria.training.classifier.pool import (
    Before,
    PoolCells,
    PooledExamples,
    PoolPlan,
    draw_pool,
)
from edge_malaria.training.classifier.recipe import Recipe, versions
from edge_malaria.training.classifier.run_files import save_model
from edge_malaria.training.classifier.session import decide, quantize
from edge_malaria.training.classifier.transplant import extract
from edge_malaria.training.pruning.pruned import load_prunable

STAIN = StainScaling()
# (a pass's folder, part) -> logits.
Says = Callable[[Path, str], NDArray[np.float32]]
SIZE_PX = 48
# Cells of home, of other laboratories, and grafted, in a batch.
BATCH = (96, 44, 20)
# A host must look healthy to the network that was there before: below its balanced point.
HOST_LOGIT = 0.8


@dataclasses.dataclass(frozen=True)
class Plan:
    """How one model is taught.

    Attributes:
        arch: architecture.
        rounds: of the float stage; ``batch`` counts home cells.
        fine_tune_epochs: passes with rounding.
        share: of the way from the network before to the fitted one, at which the result lies.
        cross_recipe: of the networks that leave patients out, from random weights, without teacher.
        cross_parts: groups of folds left out in turn.
    """

    arch: str
    rounds: tuple[Recipe, ...]
    cross_recipe: Recipe
    share: float = 0.7
    fine_tune_epochs: int = 2
    cross_parts: int = 3


def _recipe(epochs: int, rate: float, seed: int = 0) -> Recipe:
    return Recipe(
        epochs=epochs,
        batch=BATCH[0],
        learning_rate=rate,
        weight_decay=1e-4,
        label_smoothing=0.0,
        patience=epochs,
        seed=seed,
    )


PLANS = {
    "default": Plan("compact", (_recipe(4, 1.5e-4), _recipe(6, 1.5e-4, 7)), _recipe(8, 3e-3)),
    "micro": Plan("micro", (_recipe(4, 3e-4), _recipe(6, 3e-4, 7)), _recipe(8, 3e-3)),
}


def log(line: str) -> None:
    """One line on stderr."""
    print(line, file=sys.stderr, flush=True)


def log_epoch(stage: str, entry: dict[str, float]) -> None:
    """One line on stderr."""
    log(f"{stage} epoch {entry['epoch'] + 1:.0f}: AUC {entry['val_auc']:.4f}")


class Material:
    """What everything is made of; read when it is first asked for."""

    def __init__(self, data: Path, runs: Path, start: Path) -> None:
        self.data, self.runs, self.start = data, runs, start
        self.dataset: Dataset = open_dataset(data / "nih" / "cell_images.zip")

    @cached_property
    def home(self) -> dict[Any, CellSet]:
        """Train and val cells in every rendering; test rows are not even selected."""
        part = self.dataset.select(("train", "val"))
        return load_renderings(part, SIZE_PX, RENDERINGS, cache=default_cache(), stain=STAIN)

    @cached_property
    def foreign(self) -> ForeignCells:
        """Other laboratories' healthy cells, cut by the shipped finder."""
        bundle = read_bundle(shipped_bundle())
        finder = default_finder(bundle)
        assert bundle.finder is not None
        key = bundle.finder.file("int8", "litert").sha256
        return teaching_cells(
            self.data / "fields", finder, SIZE_PX, STAIN, self.runs, key, TEACHING, log
        )

    @cached_property
    def before(self) -> Any:
        """The float network that was there before."""
        return load_prunable(self.start / "default.keras")

    @property
    def first(self) -> Says:
        """What it says."""
        return self.says(self.before, "before")

    def split(self, name: str) -> NDArray[np.bool_]:
        """bool [N] of ``home``."""
        return np.array([row.split == name for row in self.home["full"].rows])

    @cached_property
    def val(self) -> CellSet:
        """Validation cells."""
        return self.home["full"].take(self.split("val"))

    def draw(self, plan: PoolPlan) -> Path:
        """The pool's directory, drawn as far as it is not there."""
        directory = self.runs / "pool"
        if len(list(directory.glob("pass-*"))) < plan.passes:
            draw_pool(self._pool_cells(), plan, directory, lambda done: log(f"pool pass {done}"))
        return directory

    def _pool_cells(self) -> PoolCells:
        full, train = self.home["full"], self.split("train")
        chosen = np.flatnonzero(train & (full.labels == 1) & ~full.suspect)
        parasites = [found for i in chosen if (found := extract(full.inputs[i])) is not None]
        logits = predict(self.before, self.foreign.inputs)
        looks = 1.0 / (1.0 + np.exp(-(logits.astype(np.float64) + 1.5) / 1.2)) + 0.02
        return PoolCells(
            np.stack([self.home[name].inputs for name in RENDERINGS]),
            self.foreign.inputs,
            self.foreign.laboratory,
            looks,
            self.foreign.hosts(logits, HOST_LOGIT),
            parasites,
        )

    def says(self, network: Any, key: str) -> Says:
        """Gives a network's logits of a part of a pass; stored beside it under ``key``."""

        def logits(folder: Path, part: str) -> NDArray[np.float32]:
            stored = folder / f"says-{key}-{part}.npy"
            if not stored.is_file():
                np.save(stored, predict(network, np.load(folder / f"{part}.npy", mmap_mode="r")))
            return np.asarray(np.load(stored), np.float32)

        return logits

    def examples(
        self,
        pool: Path,
        taught: NDArray[np.bool_],
        without: tuple[str, ...] = (),
        says: Says | None = None,
    ) -> PooledExamples:
        """Batches for one network; ``says``: see ``pool.Before``."""
        return PooledExamples(
            pool,
            self.home["full"].labels.astype(np.float32),
            taught,
            self.foreign.laboratory,
            without,
            BATCH,
            None if says is None else Before(says),
        )


def between(before: Any, after: Any, share: float) -> None:
    """Sets ``after`` to the weights between two networks, ``share`` of the way from ``before``.

    A network between the one that knows home best and the one that was taught elsewhere ranks
    foreign cells as well as the second and loses less at home (Wortsman et al. 2022, "Robust
    fine-tuning of zero-shot models", arXiv 2109.01903).
    """
    pairs = zip(before.get_weights(), after.get_weights(), strict=True)
    after.set_weights([(1.0 - share) * old + share * new for old, new in pairs])


def fitted(
    material: Material, name: str, pool: Path, run: Path, without: tuple[str, ...] = ()
) -> Any:
    """The float network of ``name`` after its passes over the pool."""
    file, plan, val = run / "float.keras", PLANS[name], material.val
    if file.is_file():
        return load_model(file)
    start = load_prunable(material.start / f"{name}.keras")
    network, first = load_prunable(material.start / f"{name}.keras"), material.first
    for number, recipe in enumerate(plan.rounds):
        # False alarms are looked for anew with what the round before has made of the network.
        mined = material.says(network, f"{run.name}-{number}") if number else first
        keras.utils.set_random_seed(recipe.seed)
        network, _ = fit(
            network,
            material.examples(pool, material.split("train"), without, _either(first, mined)),
            val.inputs,
            val.labels,
            recipe,
            run / f"round{number}",
            resume=True,
            report=partial(log_epoch, f"{run.name} round {number}"),
        )
    between(start, network, plan.share)
    save_model(network, file)
    return network


def _either(home: Says, foreign: Says) -> Says:
    """Foreign cells by the second, all others by the first."""
    return lambda folder, part: (foreign if part == "foreign" else home)(folder, part)


def cross_part(material: Material, name: str, pool: Path, run: Path, number: int) -> CrossPart:
    """A network of ``name``'s architecture that has not seen the patients of one part."""
    plan, full = PLANS[name], material.home["full"]
    part = np.array([(row.fold or 0) % plan.cross_parts for row in full.rows])
    file, apart = run / f"part{number}" / "float.keras", part == number
    # Of the patients outside the part, val's decide the best epoch and the calibration.
    inner = full.take(~apart & material.split("val"))
    if not file.is_file():
        recipe = dataclasses.replace(plan.cross_recipe, seed=plan.cross_recipe.seed + number)
        keras.utils.set_random_seed(recipe.seed)
        network, _ = fit(
            build(plan.arch, SIZE_PX),
            material.examples(pool, ~apart & material.split("train")),
            inner.inputs,
            inner.labels,
            recipe,
            file.parent,
            resume=True,
            report=lambda entry: log_epoch(f"{name} part {number}", entry),
        )
        save_model(network, file)
    return CrossPart(load_model(file), apart, inner)


@dataclasses.dataclass(frozen=True, eq=False)
class CrossPart:
    """A network, the cells it has not seen (bool [N]), and those that calibrate it."""

    network: Any
    apart: NDArray[np.bool_]
    inner: CellSet


def cross_fitted(material: Material, name: str, pool: Path, run: Path) -> CrossFitted:
    """Calibrated probabilities of train and val cells by networks that had not seen the patient."""
    full = material.home["full"]
    chances = np.full(len(full), np.nan)
    for number in range(PLANS[name].cross_parts):
        made = cross_part(material, name, pool, run, number)
        calibration = fit_platt(predict(made.network, made.inner.inputs), made.inner.labels)
        logits = predict(made.network, full.inputs[made.apart])
        chances[made.apart] = probability(logits, *calibration)
    return CrossFitted(chances, full.labels, full.patients)


def record(material: Material, name: str, model: Any, decision: dict[str, Any]) -> dict[str, Any]:
    """What stands beside the .keras file: decision, contract and where the network comes from."""
    plan, home = PLANS[name], material.home["full"]
    foreign = material.foreign
    return {
        "decision": decision,
        "preprocessing": Preparation(SIZE_PX, stain=STAIN).as_json(),
        "provenance": {
            "arch": plan.arch,
            "input_size_px": SIZE_PX,
            "start": {"keras_sha256": sha256_of(material.start / f"{name}.keras")},
            "before": sha256_of(material.start / "default.keras"),
            "data": {
                split: {
                    "cells": int(material.split(split).sum()),
                    "parasitized": int(home.labels[material.split(split)].sum()),
                    "patients": len(set(home.patients[material.split(split)].tolist())),
                }
                for split in ("train", "val")
            },
            "laboratories": {
                laboratory: {
                    "cells": int((foreign.laboratory == laboratory).sum()),
                    "terms": sorted(
                        {s.licence for s in SETS.values() if s.laboratory == laboratory}
                    ),
                }
                for laboratory in LABORATORIES
            },
            "parameters": int(model.count_params()),
            "macs": count_macs(model),
            "seed": plan.rounds[0].seed,
            "rounds": [dataclasses.asdict(recipe) for recipe in plan.rounds],
            "share": plan.share,
            "fine_tune_epochs": plan.fine_tune_epochs,
            "pool": dataclasses.asdict(PoolPlan()),
            "versions": versions(),
        },
    }


def teach(material: Material, name: str, pool: Path, runs: Path) -> Path:
    """One model whole; returns its run directory with model.keras and model.json."""
    run, plan, val = runs / name, PLANS[name], material.val
    network = fitted(material, name, pool, run)
    says = _either(material.first, material.says(network, name))
    examples = material.examples(pool, material.split("train"), says=says)
    if not (run / "model.keras").is_file():
        shipped, _ = quantize(
            network,
            examples,
            val,
            plan.rounds[-1],
            run / "int8",
            fine_tune_epochs=plan.fine_tune_epochs,
            resume=True,
            report=log_epoch,
        )
        save_model(shipped, run / "model.keras")
    model = load_model(run / "model.keras")
    crossed = cross_fitted(material, name, pool, runs / f"{name}-crossfit")
    train_cells = material.home["full"].take(material.split("train"))
    decision = decide(model, val, train_cells, crossed)
    write_json(run / "model.json", record(material, name, model, decision))
    return run


def main() -> None:
    """Teaches what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs/laboratories"))
    parser.add_argument("--only", default=",".join(PLANS))
    parser.add_argument("--start", type=Path, default=SHIPPED_MODELS)
    parser.add_argument("--without", choices=LABORATORIES)
    parser.add_argument("--ship", action="store_true", help="replace the shipped models")
    given = parser.parse_args()
    material = Material(given.data, given.runs, given.start)
    pool = material.draw(PoolPlan())
    for name in given.only.split(","):
        if given.without:
            run = given.runs / f"{name}-without-{given.without}"
            fitted(material, name, pool, run, (given.without,))
            continue
        run = teach(material, name, pool, given.runs)
        if given.ship:
            install(run, name, material.dataset)


def install(run: Path, name: str, dataset: Dataset) -> None:
    """Puts a finished model where shipped ones stand and exports its bundle through the gate."""
    from edge_malaria.export.convert import Options
    from edge_malaria.export.gate import export_bundle

    write_bytes(SHIPPED_MODELS / f"{name}.keras", (run / "model.keras").read_bytes())
    write_bytes(SHIPPED_MODELS / f"{name}.json", (run / "model.json").read_bytes())
    options = Options(("float32", "float16", "dynamic", "int8"), force=True)
    export_bundle(name, SHIPPED_MODELS / name, options, dataset, lambda line: print(line))


if __name__ == "__main__":
    main()
