"""Quantization-aware training of a trained network: the last fallback recipe of int8."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from edge_malaria.data.dataset import Dataset
from edge_malaria.prepare.contract import Target
from edge_malaria.training.classifier.cells import RENDERINGS, fitting_rows, load_renderings
from edge_malaria.training.classifier.feed import batches
from edge_malaria.training.classifier.fit import fit
from edge_malaria.training.classifier.recipe import Recipe
from edge_malaria.training.classifier.session import RANGE_BATCHES, examples_of, fine_tuning
from edge_malaria.training.quantization.fold import with_input_scale
from edge_malaria.training.quantization.quantize_aware import finish, prepare

FINE_TUNE_EPOCHS = 3


def fine_tune(
    plain: Any,
    dataset: Dataset,
    epochs: int = FINE_TUNE_EPOCHS,
    seed: int = 0,
    target: Target | None = None,
) -> Any:
    """A float network -> the same with int8 ranges, tuned with rounding on train patients.

    Args:
        plain: Keras, pixels [N, S, S, 3] -> one logit; stays as it is.
        dataset: with splits by patient; test rows are never opened.
        epochs: passes over the train split.
        seed: of order and augmentation.
        target: how its cells are prepared; None for the usual way.

    Returns:
        A model for ``to_tflite.convert(model, "int8")`` without calibration.

    Raises:
        DatasetError: no patients or splits, or a patient in two of them.
    """
    way = int(plain.input_shape[1]) if target is None else target
    train_rows, val_rows = fitting_rows(dataset)
    train = examples_of(load_renderings(train_rows, way, RENDERINGS))
    val = load_renderings(val_rows, way)["full"]
    recipe = fine_tuning(Recipe(seed=seed), epochs)
    seen = [cells for cells, _ in itertools.islice(batches(train, recipe, 0), RANGE_BATCHES)]
    # With 1/255 in front: steps of equal size would wreck a first kernel 255 times smaller.
    scaled = with_input_scale(plain)
    rounding = prepare(scaled, np.concatenate(seen).astype(np.uint8))
    rounding, _ = fit(rounding, train, val.inputs, val.labels, recipe)
    return finish(rounding, scaled)
