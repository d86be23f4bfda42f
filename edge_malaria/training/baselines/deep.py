"""A network's last features: what stands before its last dense layer, for an SVM to decide on.

"AlexNet to SVM" and "VGG to SVM" of the studies (Rajaraman et al., PeerJ 6:e4568, 2018, take
features of trained networks). The network is fitted on the training patients of the split or fold;
a network that has seen the held-out patients would leak.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.errors import ModelShapeError
from edge_malaria.keras_layers import keras, load_model, strip_fake_quant
from edge_malaria.records import Image
from edge_malaria.training.architectures import build
from edge_malaria.training.classifier.cells import CellSet
from edge_malaria.training.classifier.fit import fit
from edge_malaria.training.classifier.recipe import Examples, Recipe
from edge_malaria.training.classifier.run_files import save_model
from edge_malaria.training.classifier.session import Report, silent

Floats = NDArray[np.float32]


def penultimate(model: Any) -> Any:
    """The network up to the input of its last dense layer: pixels -> features [N, F].

    Raises:
        ModelShapeError: it does not end in a dense layer on a flat input.
    """
    plain = strip_fake_quant(model)
    last = plain.layers[-1]
    if not (isinstance(last, keras.layers.Dense) and len(last.input.shape) == 2):
        raise ModelShapeError(
            f"{model.name}: expected a dense layer on flat features at the end, "
            f"got {type(last).__name__}."
        )
    return keras.Model(plain.input, last.input)


def features(model: Any, inputs: Image, batch: int = 64) -> Floats:
    """Penultimate features of ``model`` for uint8 [N, S, S, 3]; float32 [N, F]."""
    body = penultimate(model)
    parts = [
        np.asarray(body(inputs[start : start + batch].astype(np.float32), training=False))
        for start in range(0, len(inputs), batch)
    ]
    width = int(body.output.shape[-1])
    return np.concatenate(parts) if parts else np.zeros((0, width), np.float32)


def fitted_network(
    arch: str,
    train: CellSet,
    inner: CellSet,
    recipe: Recipe,
    run: Path,
    report: Report = silent,
) -> Any:
    """``arch`` fitted in float on ``train``, its best epoch by ``inner``; kept in ``run``.

    Args:
        arch: a registered architecture.
        train: cells at the wanted input side.
        inner: other patients' cells of that side.
        recipe: how.
        run: directory for checkpoint and model.keras; a finished one is reused.
        report: progress.
    """
    stored = run / "model.keras"
    if stored.is_file():
        return load_model(stored)
    keras.utils.set_random_seed(recipe.seed)
    model, _ = fit(
        build(arch, int(train.inputs.shape[1])),
        Examples((train.inputs,), train.labels.astype(np.float32)),
        inner.inputs,
        inner.labels,
        recipe,
        run,
        resume=True,
        report=lambda entry: report(arch, entry),
    )
    save_model(model, stored)
    return model
