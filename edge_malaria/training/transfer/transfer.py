"""Transfer learning: a body that knows something already, a new top, then perhaps both.

The body is everything up to the features (the flatten or the global mean); the top is what comes
behind. First the top is trained with the body frozen, its batch norms at rest; then, with
``unfreeze_epochs``, everything at a tenth of the rate (Yosinski et al., "How transferable are
features in deep neural networks?", NeurIPS 2014).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_malaria.errors import ConfigError, ModelShapeError
from edge_malaria.keras_inputs import Whitening
from edge_malaria.keras_layers import keras
from edge_malaria.training.architectures import build
from edge_malaria.training.classifier.cells import CellSet
from edge_malaria.training.classifier.fit import fit
from edge_malaria.training.classifier.preprocessing import expect_option, with_preprocessing
from edge_malaria.training.classifier.recipe import Examples, Recipe
from edge_malaria.training.quantization.fold import obstacle
from edge_malaria.training.transfer.weights import load_weights

History = list[dict[str, float]]

_FEATURES = (
    keras.layers.Flatten,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalMaxPooling2D,
)


@dataclass(frozen=True)
class Start:
    """What a network starts from, and how it is fitted in float.

    Attributes:
        weights: ``imagenet`` or a file (``weights.load_weights``); None for random ones.
        freeze_body: train the top alone first.
        unfreeze_epochs: passes over everything after that; 0 leaves the body as it came.
        preprocess: of ``preprocessing.OPTIONS``; None for plain pixels.
    """

    weights: str | None = None
    freeze_body: bool = False
    unfreeze_epochs: int = 0
    preprocess: str | None = None

    def __post_init__(self) -> None:
        if not (self.unfreeze_epochs >= 0):
            raise ConfigError(f"expected unfreeze epochs >= 0, got {self.unfreeze_epochs}.")
        if self.unfreeze_epochs and not self.freeze_body:
            raise ConfigError("unfreezing comes after freezing: add --freeze-body.")
        if self.preprocess is not None:
            expect_option(self.preprocess)

    def network(self, arch: str, examples: Examples, seed: int = 0) -> Any:
        """A fresh ``arch`` of the examples' side with these weights and this preprocessing.

        Raises:
            UsageError, EnvironmentProblem, ModelFileError: see ``weights.load_weights``.
        """
        model = build(arch, int(examples.renderings[0].shape[1]))
        if self.weights is not None:
            load_weights(model, arch, self.weights)
        if self.preprocess is not None:
            model = with_preprocessing(model, self.preprocess, examples.renderings[0], seed)
        return model

    def obstacle(self, arch: str, size: int | None) -> str | None:
        """Why what this gives cannot be fine-tuned with int8 rounding; None where it can."""
        model = build(arch, size)
        if self.preprocess is not None:
            blank = np.zeros((1, *model.input.shape[1:]), np.uint8)
            model = with_preprocessing(model, self.preprocess, blank)
        return obstacle(model)


# A network with random weights on plain pixels, all of it trained at once.
PLAIN = Start()


def body_layers(model: Any) -> list[Any]:
    """The layers before the features: all up to the last flatten or global mean.

    Raises:
        ModelShapeError: the network has neither.
    """
    places = [index for index, layer in enumerate(model.layers) if _ends_body(layer)]
    if not places:
        raise ModelShapeError(f"{model.name} has no flatten or global mean: no body to freeze.")
    return list(model.layers[: places[-1] + 1])


def _ends_body(layer: Any) -> bool:
    # A squeeze inside a network keeps its dimensions; the features are flat.
    return isinstance(layer, _FEATURES) and len(layer.output.shape) == 2


def freeze_body(model: Any) -> int:
    """Makes the body untrainable in place (batch norms then rest); returns its weights' number."""
    frozen = 0
    for layer in body_layers(model):
        layer.trainable = False
        frozen += sum(int(np.prod(weight.shape)) for weight in layer.weights)
    return frozen


def unfreeze(model: Any) -> None:
    """Makes every layer trainable again in place, but the whitening, which is fixed by its fit.

    A body that stays frozen through the rounding stage is released by this before it is saved.
    """
    for layer in model.layers:
        layer.trainable = not isinstance(layer, Whitening)


def unfrozen_recipe(recipe: Recipe, epochs: int) -> Recipe:
    """The recipe of the second stage: a tenth of the rate, other random numbers."""
    return dataclasses.replace(
        recipe,
        epochs=epochs,
        patience=epochs,
        learning_rate=recipe.learning_rate / 10.0,
        seed=recipe.seed + 500_009,
    )


def fit_float(
    model: Any,
    train: Examples,
    val: CellSet,
    recipe: Recipe,
    start: Start,
    run: Path | None = None,
    *,
    resume: bool = False,
    report: Callable[[str, dict[str, float]], None] = lambda stage, entry: None,
    **more: Any,
) -> tuple[Any, dict[str, History]]:
    """The float stages: ``float`` alone, or ``top`` and perhaps ``float`` with the body frozen.

    Args:
        model: from ``start.network``; trained in place.
        train: what to fit to.
        val: what decides the best epoch.
        recipe: how.
        start: whether to freeze.
        run: directory whose sub-directories keep each stage's checkpoint; None keeps nothing.
        resume: continue from them.
        report: called after each epoch with the stage and its entry.
        more: passed on to ``fit`` (for example its teachers).

    Returns:
        (model with the best weights, history by stage).
    """

    def stage(name: str, how: Recipe) -> History:
        directory = run / name if run else None
        # The moving average rounds: what is frozen is put back bit for bit.
        frozen = {x.name: x.get_weights() for x in model.layers if not x.trainable}
        _, history = fit(
            model,
            train,
            val.inputs,
            val.labels,
            how,
            directory,
            resume=resume,
            report=lambda entry: report(name, entry),
            **more,
        )
        for layer_name, weights in frozen.items():
            model.get_layer(layer_name).set_weights(weights)
        return history

    if not start.freeze_body:
        return model, {"float": stage("float", recipe)}
    freeze_body(model)
    stages = {"top": stage("top", recipe)}
    if start.unfreeze_epochs:
        unfreeze(model)
        stages["float"] = stage("float", unfrozen_recipe(recipe, start.unfreeze_epochs))
    return model, stages
