"""Several networks as one: mean or weighted, over logits or probabilities, in one .keras file.

Members speak with different confidence, so each logit is calibrated first by its own temperature
and bias. Weights are chosen on validation patients. The result takes pixels 0-255 and gives one
logit like any other network: it can be evaluated, exported, or teach (``train --teacher``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edge_malaria.errors import ModelShapeError, UsageError
from edge_malaria.keras_inputs import LogOdds
from edge_malaria.keras_layers import keras, load_model, strip_fake_quant
from edge_malaria.metrics import auc
from edge_malaria.runtime.classify.classifier import probability
from edge_malaria.training.classifier.calibrate import fit_platt
from edge_malaria.training.classifier.cells import CellSet
from edge_malaria.training.classifier.fit import predict

Floats = NDArray[np.float64]
Mode = Literal["mean", "weighted"]
Space = Literal["logit", "probability"]
CLIP = 1e-6


@dataclass(frozen=True, eq=False)
class Member:
    """One network of an ensemble.

    Attributes:
        name: for a person, the file's folder and stem.
        model: float ``keras.Model``, pixels [N, S, S, 3] -> logit [N, 1].
        temperature, bias: p = sigmoid((logit + bias) / temperature), fitted on val patients.
    """

    name: str
    model: Any
    temperature: float
    bias: float


def load_members(paths: Sequence[Path], val: CellSet | None = None) -> list[Member]:
    """Loads and, given ``val``, calibrates networks.

    Raises:
        UsageError: fewer than two.
        ModelFileError: missing, corrupt or unsafe.
        ModelShapeError: not pixels to one logit, or not all of one input side.
    """
    if len(paths) < 2:
        raise UsageError(f"an ensemble needs at least 2 models, got {len(paths)}.")
    models = [strip_fake_quant(load_model(path)) for path in paths]
    shapes = [tuple(model.input.shape[1:]) for model in models]
    for path, model, shape in zip(paths, models, shapes, strict=True):
        if tuple(model.output.shape[1:]) != (1,):
            raise ModelShapeError(f"{path}: expected one logit, got {tuple(model.output.shape)}.")
        if shape != shapes[0]:
            raise ModelShapeError(
                f"{path} takes {shape}, {paths[0]} takes {shapes[0]}: members need one input side "
                "(train --input-size)."
            )
    members: list[Member] = []
    for path, model in zip(paths, models, strict=True):
        fitted = (1.0, 0.0)
        if val is not None:
            fitted = fit_platt(predict(model, val.inputs), val.labels)
        # Many runs call their file model.keras: the folder tells them apart.
        name = f"{path.parent.name}/{path.stem}".lstrip("/")
        taken = sum(member.name.partition("#")[0] == name for member in members)
        members.append(Member(f"{name}#{taken + 1}" if taken else name, model, *fitted))
    return members


def member_chances(members: Sequence[Member], val: CellSet) -> Floats:
    """Calibrated probabilities, float64 [N, members]."""
    columns = [
        probability(predict(member.model, val.inputs), member.temperature, member.bias)
        for member in members
    ]
    return np.column_stack(columns)


def log_odds(chances: Floats) -> Floats:
    """log(p / (1 - p)), finite."""
    kept = np.clip(chances, CLIP, 1.0 - CLIP)
    return np.asarray(np.log(kept / (1.0 - kept)))


def blended(chances: Floats, weights: Floats, space: Space) -> Floats:
    """The ensemble's probability, float64 [N]."""
    if space == "probability":
        return np.asarray(chances @ weights)
    return np.asarray(1.0 / (1.0 + np.exp(-(log_odds(chances) @ weights))))


def log_loss(chances: Floats, labels: NDArray[np.int64]) -> float:
    """Mean negative log-likelihood, nats a cell."""
    kept = np.clip(chances, CLIP, 1.0 - CLIP)
    return float(-np.mean(np.where(labels == 1, np.log(kept), np.log(1.0 - kept))))


def choose_weights(
    chances: Floats, labels: NDArray[np.int64], space: Space, steps: int = 600
) -> Floats:
    """Weights >= 0 with sum 1 that make the labels most probable; float64 [members].

    Exponentiated gradient (Kivinen, Warmuth, Information and Computation 132(1), 1997): the
    likelihood is concave in the weights in both spaces, so there is one best.

    Args:
        chances: float64 [N, members] of validation patients.
        labels: int64 [N].
        space: what is averaged.
        steps: of the descent.
    """
    count = chances.shape[1]
    weights = np.full(count, 1.0 / count)
    odds = log_odds(chances)
    for step in range(steps):
        chance = np.clip(blended(chances, weights, space), CLIP, 1.0 - CLIP)
        if space == "logit":
            gradient = odds.T @ (chance - labels) / len(labels)
        else:
            slope = np.where(labels == 1, -1.0 / chance, 1.0 / (1.0 - chance))
            gradient = chances.T @ slope / len(labels)
        weights = weights * np.exp(-(gradient - gradient.min()) / np.sqrt(1.0 + 0.1 * step))
        weights = weights / weights.sum()
    return np.asarray(weights)


def _prefixed(member: Member, inputs: Any, prefix: str) -> Any:
    """The member's logit on ``inputs``, every layer's name behind ``prefix``."""

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        return type(layer).from_config({**config, "name": f"{prefix}_{layer.name}"})

    copy = keras.models.clone_model(member.model, input_tensors=inputs, clone_function=clone)
    sources = {layer.name: layer for layer in member.model.layers}
    for layer in copy.layers:
        if layer.weights:
            layer.set_weights(sources[layer.name.removeprefix(f"{prefix}_")].get_weights())
    return copy.output


def combine(members: Sequence[Member], weights: Floats, space: Space, name: str) -> Any:
    """One network whose logit is the weighted mean of the members' calibrated answers.

    Args:
        members: of one input shape.
        weights: float64 [members], sum 1.
        space: ``logit``, or ``probability`` (whose log-odds come out).
        name: of the model.

    Returns:
        ``keras.Model``: float32 [N, S, S, 3] in 0-255 -> logit [N, 1]; layers of member i are
        called ``m<i>_...``.
    """
    inputs = keras.Input(tuple(members[0].model.input.shape[1:]), name="cell")
    logits = [_prefixed(member, inputs, f"m{index}") for index, member in enumerate(members)]
    joined = keras.layers.Concatenate(name="members")(logits)
    temperatures = np.array([member.temperature for member in members])
    shifts = np.array([member.bias for member in members]) / temperatures
    if space == "logit":
        blend = keras.layers.Dense(1, name="logit")
        model = keras.Model(inputs, blend(joined), name=name)
        blend.set_weights([(weights / temperatures)[:, None], np.array([weights @ shifts])])
        return model
    calibrated = keras.layers.Dense(len(members), activation="sigmoid", name="calibrated")
    blend = keras.layers.Dense(1, use_bias=False, name="blend")
    outputs = LogOdds(name="logit")(blend(calibrated(joined)))
    model = keras.Model(inputs, outputs, name=name)
    calibrated.set_weights([np.diag(1.0 / temperatures), shifts])
    blend.set_weights([weights[:, None]])
    return model


@dataclass(frozen=True, eq=False)
class Ensemble:
    """What came out.

    Attributes:
        model: the one network.
        weights: by member's name, in order.
        figures: AUC and log loss on val cells, of each member and of the ensemble.
    """

    model: Any
    weights: tuple[tuple[str, float], ...]
    figures: tuple[tuple[str, dict[str, float]], ...]


def build_ensemble(
    paths: Sequence[Path], val: CellSet, mode: Mode = "mean", space: Space = "logit"
) -> Ensemble:
    """Loads, calibrates, weighs and joins networks.

    Args:
        paths: .keras files of one input side.
        val: validation cells at that side; nothing else is read.
        mode: ``mean``, or ``weighted`` by the validation cells' likelihood.
        space: what is averaged.

    Raises:
        UsageError, ModelFileError, ModelShapeError: see ``load_members``.
        DatasetError: a member's logits do not rise with the label.
    """
    members = load_members(paths, val)
    chances = member_chances(members, val)
    weights = np.full(len(members), 1.0 / len(members))
    if mode == "weighted":
        weights = choose_weights(chances, val.labels, space)
    model = combine(members, weights, space, "ensemble")
    columns = [*chances.T, blended(chances, weights, space)]
    names = [*(member.name for member in members), "ensemble"]
    figures = tuple(
        (name, {"val_auc": auc(val.labels, p) or 0.5, "val_log_loss": log_loss(p, val.labels)})
        for name, p in zip(names, columns, strict=True)
    )
    named = tuple(zip(names[:-1], map(float, weights), strict=True))
    return Ensemble(model, named, figures)
