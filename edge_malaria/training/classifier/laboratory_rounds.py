"""Fine-tuning in rounds on other laboratories' cells, and the cross-fit for thresholds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.keras_layers import keras, load_model
from edge_malaria.runtime.classify.classifier import probability
from edge_malaria.training.architectures import build
from edge_malaria.training.classifier.asked_again import averaged_logits
from edge_malaria.training.classifier.calibrate import fit_platt
from edge_malaria.training.classifier.cells import CellSet
from edge_malaria.training.classifier.cross_fitted import CrossFitted
from edge_malaria.training.classifier.fit import fit, predict
from edge_malaria.training.classifier.laboratory_material import SIZE_PX, Material, stored_logits
from edge_malaria.training.classifier.laboratory_plans import BATCH, PLANS
from edge_malaria.training.classifier.pool_batches import PooledExamples, PoolLogits, Reference
from edge_malaria.training.classifier.recipe import Recipe
from edge_malaria.training.classifier.residual import residual_network
from edge_malaria.training.classifier.run_files import save_model
from edge_malaria.training.pruning.pruned import load_prunable

# Parts whose hard negatives are those of the network that is being fitted.
NEGATIVES = ("foreign", "artefacts")

Report = Callable[[str, dict[str, float]], None]


def examples(
    material: Material,
    pool: Path,
    allowed: NDArray[np.bool_],
    without: tuple[str, ...] = (),
    logits: PoolLogits | None = None,
    turned: bool = False,
) -> PooledExamples:
    """Batches for one network; ``logits``: of its reference, None for labels alone."""
    return PooledExamples(
        pool,
        material.home["full"].labels.astype(np.float32),
        allowed,
        material.foreign.laboratory,
        without,
        BATCH,
        None if logits is None else Reference(logits),
        turned,
    )


def interpolate(before: list[Any], after: Any, share: float) -> None:
    """Sets ``after`` to weights between ``before`` and its own, ``share`` of the way.

    Such a network ranks foreign cells as well as the fine-tuned one and loses less at home
    (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", arXiv 2109.01903).
    """
    pairs = zip(before, after.get_weights(), strict=True)
    after.set_weights([(1.0 - share) * old + share * new for old, new in pairs])


def home_by(home: PoolLogits, foreign: PoolLogits) -> PoolLogits:
    """Foreign cells and artefacts by the second network, all others by the first."""
    return lambda folder, part: (foreign if part in NEGATIVES else home)(folder, part)


def run_of(runs: Path, name: str, without: tuple[str, ...] = ()) -> Path:
    """Where the networks of a plan are kept, those without some laboratories apart."""
    return runs / (f"{name}-without-{'-'.join(without)}" if without else name)


def fine_tuned(
    material: Material,
    name: str,
    pool: Path,
    run: Path,
    without: tuple[str, ...] = (),
    report: Report = lambda stage, entry: None,
) -> Any:
    """The float network of ``name`` after its rounds; kept as ``run``/float.keras."""
    file, plan = run / "float.keras", PLANS[name]
    if file.is_file():
        return load_model(file)
    by = teachers(material, name, pool, run, without, report)
    network = _beginning(material, name)
    before = network.get_weights()
    home = stored_logits(material.reference, "reference")
    train = material.split("train")
    for number, recipe in enumerate(plan.rounds):
        foreign = stored_logits(network, f"{run.name}-{number}") if number else home
        logits = home_by(home, foreign)
        network = _round(
            network,
            examples(material, pool, train, without, logits, plan.turned),
            material.val,
            recipe,
            run / f"round{number}",
            by,
            partial(report, f"{run.name} round {number}"),
        )
    if plan.start:
        interpolate(before, network, plan.share)
    save_model(network, file)
    return network


def teachers(
    material: Material,
    name: str,
    pool: Path,
    run: Path,
    without: tuple[str, ...] = (),
    report: Report = lambda stage, entry: None,
) -> tuple[Any, ...]:
    """The networks that teach ``name``, fitted without the same laboratories, beside ``run``."""
    by = PLANS[name].distilled_from
    if not by:
        return ()
    return (fine_tuned(material, by, pool, run_of(run.parent, by, without), without, report),)


def _beginning(material: Material, name: str) -> Any:
    """The float network that a plan begins with."""
    plan = PLANS[name]
    if plan.start:
        return load_prunable(material.start / f"{plan.start}.keras")
    return _untrained(plan.arch, plan.rounds[0].seed)


def _untrained(arch: str, seed: int) -> Any:
    keras.utils.set_random_seed(seed)
    return residual_network(SIZE_PX) if arch == "residual" else build(arch, SIZE_PX)


def _round(
    network: Any,
    given: PooledExamples,
    val: CellSet,
    recipe: Recipe,
    run: Path,
    by: Sequence[Any],
    report: Callable[[dict[str, float]], None],
) -> Any:
    """One round; its last averaged weights.

    Val AUC at home falls while other laboratories are learned: the best epoch by it, which ``fit``
    gives back, is the one that learned least of them.
    """
    keras.utils.set_random_seed(recipe.seed)
    network, _ = fit(
        network,
        given,
        val.inputs,
        val.labels,
        recipe,
        run,
        teachers=by,
        resume=True,
        keep_last=True,
        report=report,
    )
    return network


@dataclasses.dataclass(frozen=True, eq=False)
class CrossPart:
    """A network, the cells it has not seen (bool [N]), and those that calibrate it."""

    network: Any
    apart: NDArray[np.bool_]
    inner: CellSet


def cross_part(
    material: Material, name: str, pool: Path, run: Path, number: int, report: Report
) -> CrossPart:
    """A network of ``name``'s architecture that has not seen the patients of one part."""
    plan, full = PLANS[name], material.home["full"]
    part = np.array([(row.fold or 0) % plan.cross_parts for row in full.rows])
    file, apart = run / f"part{number}" / "float.keras", part == number
    # Of the patients outside the part, val's decide the best epoch and the calibration.
    inner = full.take(~apart & material.split("val"))
    if not file.is_file():
        recipe = dataclasses.replace(plan.cross_recipe, seed=plan.cross_recipe.seed + number)
        network, _ = fit(
            _untrained(plan.arch, recipe.seed),
            examples(material, pool, ~apart & material.split("train"), turned=plan.turned),
            inner.inputs,
            inner.labels,
            recipe,
            file.parent,
            resume=True,
            report=partial(report, f"{name} part {number}"),
        )
        save_model(network, file)
    return CrossPart(load_model(file), apart, inner)


@dataclasses.dataclass(frozen=True, eq=False)
class PartLogits:
    """What a network says of the cells that it has not seen.

    Attributes:
        number: of the part.
        cells: int64 [n], indices of home cells.
        logits: float32 [n].
        views: float32 [n], mean logits of eight views; None where its plan asks for none.
        temperature, bias: fitted on the inner patients.
        inner_logits, inner_labels: the inner patients', [m].
    """

    number: int
    cells: NDArray[np.int64]
    logits: NDArray[np.float32]
    views: NDArray[np.float32] | None
    temperature: float
    bias: float
    inner_logits: NDArray[np.float32]
    inner_labels: NDArray[np.int64]


def cross_logits(
    material: Material, name: str, pool: Path, run: Path, report: Report
) -> list[PartLogits]:
    """Each part's logits by a network that had not seen its patients."""
    found, asks = [], PLANS[name].flagged_views
    for number in range(PLANS[name].cross_parts):
        made = cross_part(material, name, pool, run, number, report)
        inner = predict(made.network, made.inner.inputs)
        calibration = fit_platt(inner, made.inner.labels)
        cells = np.flatnonzero(made.apart)
        inputs = material.home["full"].inputs[cells]
        logits = predict(made.network, inputs)
        views = averaged_logits(made.network, inputs, logits) if asks else None
        part = PartLogits(number, cells, logits, views, *calibration, inner, made.inner.labels)
        found.append(part)
    return found


def cross_fitted(
    full: CellSet, parts: Sequence[PartLogits], second: Sequence[PartLogits] = ()
) -> CrossFitted:
    """Calibrated probabilities of train and val cells by networks that had not seen the patient.

    Of each cell's first answer, and of what is said when it is asked again: by ``second``, the
    parts of a second network, or in eight views.
    """
    again = None
    if second:
        again = _chances(full, [(part, part.logits) for part in second])
    elif parts[0].views is not None:
        again = _chances(full, [(p, p.views) for p in parts if p.views is not None])
    first = _chances(full, [(part, part.logits) for part in parts])
    return CrossFitted(first, full.labels, full.patients, again)


def _chances(
    full: CellSet, parts: Sequence[tuple[PartLogits, NDArray[np.float32]]]
) -> NDArray[np.float64]:
    """Probabilities float64 [N] of all cells, each by the part that left its patient out."""
    chances = np.full(len(full), np.nan)
    for part, logits in parts:
        chances[part.cells] = probability(logits, part.temperature, part.bias)
    return chances
