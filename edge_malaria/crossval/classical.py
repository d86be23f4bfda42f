"""Fitting and measuring a classical method by the networks' rules.

One pass fits on ``train`` patients, chooses temperature, bias and threshold on ``inner`` patients
(val, or a tenth of the patients outside the fold) and only predicts the ``held_out`` ones. The
fixed split is one pass; a cross-validation is one a fold.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_malaria.crossval.folds import fold_masks
from edge_malaria.crossval.results import FoldResult, read_result, write_result
from edge_malaria.data.dataset import Dataset, assert_patient_disjoint
from edge_malaria.errors import DatasetError, UsageError
from edge_malaria.files import write_json
from edge_malaria.run_settings import refuse_other_settings
from edge_malaria.training.architectures.registry import architecture
from edge_malaria.training.baselines import deep, words
from edge_malaria.training.baselines.features import load_features
from edge_malaria.training.baselines.methods import Method, method, scores
from edge_malaria.training.classifier.calibrate import fit_platt
from edge_malaria.training.classifier.cells import CellSet, fitting_rows, load_renderings
from edge_malaria.training.classifier.recipe import Recipe
from edge_malaria.training.classifier.session import Report, silent

Floats = NDArray[np.float32]
Masks = dict[str, NDArray[np.bool_]]
FIXED_SPLIT = -1


@dataclass(frozen=True)
class Settings:
    """What a run depends on besides its data.

    Attributes:
        method: of ``methods.METHODS``.
        seed: decides everything random.
        cells: at most so many training cells, drawn at random; None for all.
        input_size: of a network method, px; None for the architecture's own.
        epochs, batch: of a network method.
        network: of a network method: a .keras file that was trained on the same split, instead of
            training one.
    """

    method: str
    seed: int = 0
    cells: int | None = None
    input_size: int | None = None
    epochs: int = 10
    batch: int = 64
    network: str | None = None

    @property
    def size_px(self) -> int:
        """Side of the pictures that the method needs; 1 where it needs none."""
        chosen = method(self.method)
        if chosen.looks == "words":
            return words.SIDE_PX
        if chosen.looks == "handcrafted":
            return 1
        if self.network is not None:
            from edge_malaria.keras_layers import load_model

            return int(load_model(self.network).input.shape[1])
        return self.input_size or architecture(str(chosen.arch)).input_size_px


@dataclass(frozen=True, eq=False)
class Material:
    """The data set as a method sees it.

    Attributes:
        cells: pictures at the method's side, labels and rows.
        table: handcrafted features float32 [N, F]; None for the others.
    """

    cells: CellSet
    table: Floats | None


def load_material(
    dataset: Dataset,
    settings: Settings,
    cache: Path | None = None,
    step: Callable[[int], None] = lambda done: None,
) -> Material:
    """Reads every row of ``dataset`` once."""
    if method(settings.method).looks == "handcrafted":
        table = load_features(dataset, cache=cache, step=step)
        labels = np.array([row.label for row in dataset.rows], np.int64)
        blank = np.zeros((len(dataset.rows), 1, 1, 3), np.uint8)
        return Material(CellSet(blank, labels, dataset.rows), table)
    cells = load_renderings(dataset, settings.size_px, cache=cache, step=step)["full"]
    return Material(cells, None)


def split_masks(cells: CellSet) -> Masks:
    """bool [N] each for ``train``, ``inner`` (val) and ``held_out`` (test) of the fixed split.

    Raises:
        DatasetError: a patient in two splits, or a part without both classes.
    """
    assert_patient_disjoint(cells.rows)
    parts = {"train": "train", "inner": "val", "held_out": "test"}
    masks = {
        name: np.array([row.split == split for row in cells.rows]) for name, split in parts.items()
    }
    for name, mask in masks.items():
        if len(set(cells.labels[mask].tolist())) < 2:
            raise DatasetError(f"split {parts[name]} does not have cells of both classes.")
    return masks


def thinned(mask: NDArray[np.bool_], cells: int | None, seed: int) -> NDArray[np.bool_]:
    """At most ``cells`` of the True places of bool [N], drawn at random."""
    places = np.flatnonzero(mask)
    if cells is None or len(places) <= cells:
        return mask
    kept = np.zeros_like(mask)
    kept[np.random.default_rng(seed).permutation(places)[:cells]] = True
    return kept


def represent(
    chosen: Method,
    material: Material,
    masks: Masks,
    settings: Settings,
    run: Path,
    report: Report = silent,
) -> dict[str, Floats]:
    """Features of each part, whatever has to be fitted for them fitted on ``train`` alone."""
    if material.table is not None:
        return {name: material.table[mask] for name, mask in masks.items()}
    parts = {name: material.cells.take(mask) for name, mask in masks.items()}
    if chosen.looks == "words":
        codebook = words.fit_codebook(parts["train"].inputs, settings.seed)
        return {name: words.histograms(part.inputs, codebook) for name, part in parts.items()}
    if settings.network is not None:
        from edge_malaria.keras_layers import load_model

        model = load_model(settings.network)
    else:
        # The rate that deep networks without batch norm stand.
        recipe = Recipe(
            epochs=settings.epochs, batch=settings.batch, seed=settings.seed, learning_rate=3e-4
        )
        model = deep.fitted_network(
            str(chosen.arch), parts["train"], parts["inner"], recipe, run, report
        )
    return {name: deep.features(model, part.inputs) for name, part in parts.items()}


def run_pass(
    material: Material,
    masks: Masks,
    settings: Settings,
    run: Path,
    fold: int = FIXED_SPLIT,
    report: Report = silent,
) -> FoldResult:
    """Fits on ``train``, calibrates on ``inner``, predicts ``held_out``; reuses what ``run`` holds.

    Raises:
        DatasetError: the scores do not rise with the label on the inner patients.
    """
    stored = run / "predictions.npz"
    if stored.is_file():
        return read_result(stored)
    chosen = method(settings.method)
    masks = {**masks, "train": thinned(masks["train"], settings.cells, settings.seed)}
    table = represent(chosen, material, masks, settings, run, report)
    labels = material.cells.labels
    classifier = chosen.make(settings.seed).fit(table["train"], labels[masks["train"]])
    inner = scores(classifier, table["inner"])
    temperature, bias = fit_platt(inner, labels[masks["inner"]])
    held_out = scores(classifier, table["held_out"])
    result = FoldResult(
        fold=fold,
        held_out=np.flatnonzero(masks["held_out"]),
        logits=held_out,
        keras_logits=held_out,
        temperature=temperature,
        bias=bias,
        inner_logits=inner,
        inner_labels=labels[masks["inner"]],
    )
    write_result(stored, result)
    return result


def run_baseline(
    dataset: Dataset,
    settings: Settings,
    run: Path,
    folds: Sequence[int] = (),
    *,
    cache: Path | None = None,
    report: Report = silent,
    step: Callable[[int], None] = lambda done: None,
    done: Callable[[FoldResult], None] = lambda result: None,
) -> tuple[list[FoldResult], CellSet]:
    """The fixed split, or a cross-validation over ``folds``; resumable between passes.

    Args:
        dataset: with patients, and splits (or folds).
        settings: how.
        run: receives config.json and each pass's predictions.npz. No classifier is stored.
        folds: none for the fixed split.
        cache: for pictures and features.
        report: progress of a network's epochs.
        step: called with the number of cells just read.
        done: called with each finished pass.

    Raises:
        ConfigError: ``run`` was started with other settings.
        UsageError: a network that is given cannot be cross-validated.
    """
    if folds and settings.network is not None:
        raise UsageError("a given network has seen some folds' patients: leave out --crossval.")
    if not folds:
        fitting_rows(dataset)
    _same_settings(run, settings, folds)
    material = load_material(dataset, settings, cache, step)
    results = []
    for fold in folds or (FIXED_SPLIT,):
        masks = split_masks(material.cells) if fold == FIXED_SPLIT else None
        place = run / ("split" if masks is not None else f"fold{fold}")
        if masks is None:
            masks = fold_masks(material.cells, fold)
        result = run_pass(material, masks, settings, place, fold, report)
        results.append(result)
        done(result)
    return results, material.cells


def _same_settings(run: Path, settings: Settings, folds: Sequence[int]) -> None:
    """Refuses to mix runs; folds may be added to."""
    now = {**dataclasses.asdict(settings), "crossval": bool(folds)}
    path = run / "config.json"
    refuse_other_settings(path, now)
    write_json(path, now)
