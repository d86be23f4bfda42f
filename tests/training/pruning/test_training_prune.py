"""Removing channels: masked and rebuilt networks agree, criteria point at what matters."""

from __future__ import annotations

import numpy as np
import pytest

from edge_malaria.errors import ModelShapeError, UsageError
from edge_malaria.keras_layers import keras
from edge_malaria.training.architectures import build
from edge_malaria.training.classifier.fit import predict
from edge_malaria.training.classifier.recipe import Examples, Recipe
from edge_malaria.training.pruning.channels import (
    map_channels,
    set_gates,
    with_gates,
    without_channels,
)
from edge_malaria.training.pruning.criteria import (
    CRITERIA,
    gate_derivatives,
    score_channels,
    true_loss_changes,
)
from edge_malaria.training.pruning.prune import (
    Schedule,
    layer_sensitivity,
    measure,
    measure_without,
    prune,
)
from edge_malaria.training.quantization.fold import fold, with_input_scale
from tests.training.classifier.test_training_data import BATCH

TARGETS = (np.arange(16) % 2).astype(np.float32)
layers = keras.layers


def _start() -> tuple[object, object]:
    inputs = keras.Input((48, 48, 3))
    return inputs, layers.Rescaling(1 / 255.0)(inputs)


def linear() -> object:
    inputs, x = _start()
    x = layers.Conv2D(8, 3, strides=4, padding="same", activation="relu")(x)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Conv2D(12, 3, padding="same", activation="relu")(x)
    x = layers.Flatten()(x)
    x = layers.Dense(16, activation="relu")(x)
    return keras.Model(inputs, layers.Dense(1)(x))


def residual() -> object:
    inputs, x = _start()
    x = layers.Conv2D(8, 3, strides=4, padding="same")(x)
    for _ in range(2):
        y = layers.BatchNormalization()(x)
        y = layers.ReLU()(y)
        y = layers.Conv2D(8, 3, padding="same")(y)
        x = layers.Add()([x, y])
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(x))
    return keras.Model(inputs, layers.Dense(1)(x))


def inception() -> object:
    inputs, x = _start()
    x = layers.Conv2D(6, 3, strides=4, padding="same")(x)
    branches = [layers.Conv2D(4, size, padding="same", activation="relu")(x) for size in (1, 3, 5)]
    branches.append(layers.MaxPooling2D(3, strides=1, padding="same")(x))
    x = layers.Concatenate()(branches)
    x = layers.BatchNormalization()(x)
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(x))
    return keras.Model(inputs, layers.Dense(1)(x))


def separable() -> object:
    """Two blocks as ``micro`` has more of: no more paths than these, but much sooner built."""
    inputs, x = _start()
    x = _normed(layers.Conv2D(8, 3, strides=4, padding="same", use_bias=False)(x))
    for filters in (16, 24):
        x = _normed(layers.DepthwiseConv2D(3, strides=2, padding="same", use_bias=False)(x))
        x = _normed(layers.Conv2D(filters, 1, use_bias=False)(x))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(1)(x))


def _normed(x: object) -> object:
    return layers.ReLU()(layers.BatchNormalization()(x))


def micro() -> object:
    return build("micro")


KINDS = {"linear": linear, "residual": residual, "inception": inception, "separable": separable}


def lively(kind: str) -> object:
    keras.utils.set_random_seed(3)
    model = {**KINDS, "micro": micro}[kind]()
    rng = np.random.default_rng(4)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    return model


@pytest.mark.parametrize(
    ("kind", "share"), [*((kind, share) for kind in KINDS for share in (0.2, 0.6)), ("micro", 0.6)]
)
def test_masked_and_rebuilt_networks_agree(kind: str, share: float) -> None:
    model = lively(kind)
    channels = map_channels(model)
    rng = np.random.default_rng(9)
    count = int(share * len(channels.prunable))
    removed = rng.permutation(channels.prunable)[:count]
    gated = with_gates(model, channels)
    assert np.allclose(predict(gated, BATCH), predict(model, BATCH), atol=1e-6)
    set_gates(gated, channels, removed)
    rebuilt = without_channels(model, channels, removed)
    assert rebuilt.count_params() < model.count_params()
    assert np.abs(predict(gated, BATCH) - predict(rebuilt, BATCH)).max() < 1e-6
    assert np.abs(predict(model, BATCH) - predict(rebuilt, BATCH)).max() > 1e-6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", ["filters", "macs", "bytes"])
def test_the_size_of_a_pruned_network_is_known_beforehand(kind: str, target: str) -> None:
    model = lively(kind)
    channels = map_channels(model)
    removed = channels.prunable[1::3]
    rebuilt = without_channels(model, channels, removed)
    foreseen = measure_without(model, channels, removed, target)
    assert foreseen == pytest.approx(measure(rebuilt, target), rel=1e-9)


def test_skip_connections_tie_channels_together() -> None:
    channels = map_channels(lively("residual"))
    assert len(channels.prunable) == 8
    assert all(len(channels.producers[int(number)]) == 3 for number in channels.prunable)


def test_a_layer_keeps_at_least_one_channel() -> None:
    model = lively("linear")
    channels = map_channels(model)
    with pytest.raises(ModelShapeError, match="without channels"):
        without_channels(model, channels, channels.prunable)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("criterion", CRITERIA)
def test_every_criterion_scores_every_channel(kind: str, criterion: str) -> None:
    model = lively(kind)
    channels = map_channels(model)
    if criterion == "bn-scale" and kind == "linear":
        with pytest.raises(UsageError, match="batch norms"):
            score_channels(criterion, model, channels, BATCH, TARGETS)
        return
    scores = score_channels(criterion, model, channels, BATCH, TARGETS)
    assert scores.shape == channels.prunable.shape
    assert np.isfinite(scores).all()


def test_an_unknown_criterion_names_the_known_ones() -> None:
    model = lively("linear")
    with pytest.raises(UsageError, match="taylor2"):
        score_channels("luck", model, map_channels(model), BATCH, TARGETS)


@pytest.mark.parametrize("kind", ["linear", "residual"])
def test_gate_gradients_are_the_slopes_of_the_loss(kind: str) -> None:
    model = lively(kind)
    channels = map_channels(model)
    first, _ = gate_derivatives(model, channels, BATCH, TARGETS)
    gated = with_gates(model, channels)

    def loss(opening: float, number: int) -> float:
        set_gates(gated, channels, np.array([], np.int64))
        for name, numbers in channels.inputs.items():
            gate = gated.get_layer(f"{name}_gate").gate
            gate.assign(np.where(numbers == number, opening, 1.0).astype(np.float32))
        logits = predict(gated, BATCH).astype(np.float64)
        return float(np.mean(np.logaddexp(0.0, logits) - TARGETS * logits))

    for index in np.argsort(-np.abs(first))[:3]:
        number = int(channels.prunable[index])
        slope = (loss(1.02, number) - loss(0.98, number)) / 0.04
        assert slope == pytest.approx(first[index], rel=0.05, abs=1e-5)


def test_silencing_a_dead_channel_costs_nothing_and_criteria_know_it() -> None:
    model = lively("linear")
    kernel, bias = model.layers[2].get_weights()
    kernel[..., 3], bias[3] = 0.0, -1.0
    model.layers[2].set_weights([kernel, bias])
    channels = map_channels(model)
    dead = int(channels.outputs[model.layers[2].name][3])
    where = int(np.flatnonzero(channels.prunable == dead)[0])
    changes = true_loss_changes(model, channels, BATCH, TARGETS)
    assert abs(changes[where]) < 1e-7
    for criterion in ("l1", "l2", "taylor1", "taylor2"):
        scores = score_channels(criterion, model, channels, BATCH, TARGETS)
        own = [
            index
            for index, number in enumerate(channels.prunable.tolist())
            if channels.group_of(number) == channels.group_of(dead)
        ]
        assert abs(scores[where]) <= min(abs(scores[index]) for index in own) + 1e-9


def _examples() -> Examples:
    return Examples((BATCH,), TARGETS)


@pytest.mark.parametrize("target", ["filters", "macs", "bytes"])
def test_pruning_reaches_its_target_and_no_layer_starves(target: str) -> None:
    model = lively("separable")
    # Fine-tuning compiles a training step a round: once is enough here.
    epochs = int(target == "macs")
    schedule = Schedule("l1", keep=0.5, target=target, rounds=2, epochs=epochs, scored_cells=8)
    rounds: list[dict[str, float]] = []
    recipe = Recipe(batch=8, learning_rate=1e-4)
    labels = TARGETS.astype(np.int64)
    smaller = prune(model, _examples(), (BATCH, labels), schedule, recipe, report=rounds.append)
    assert measure(smaller, target) <= 0.5 * measure(model, target)
    assert [entry["round"] for entry in rounds] == [1, 2]
    widths = [layer.filters for layer in smaller.layers if type(layer) is layers.Conv2D]
    assert min(widths) >= schedule.least_channels
    assert smaller.output.shape == model.output.shape


def test_pruning_reaches_a_latency_that_a_clock_measures() -> None:
    """The clock is a stand-in that anybody can foretell; the command's own runs LiteRT."""
    model = lively("separable")
    asked: list[int] = []

    def clock(network: object) -> float:
        asked.append(network.count_params())  # type: ignore[attr-defined]
        return 0.02 + measure(network, "macs") / 1e6

    schedule = Schedule("l1", keep=0.7, target="latency", rounds=2, epochs=0, scored_cells=8)
    rounds: list[dict[str, float]] = []
    labels = TARGETS.astype(np.int64)
    recipe = Recipe(batch=8)
    smaller = prune(
        model, _examples(), (BATCH, labels), schedule, recipe, report=rounds.append, clock=clock
    )
    assert clock(smaller) <= 0.7 * clock(model)
    assert len(set(asked)) > 3
    assert rounds[-1]["latency"] == pytest.approx(clock(smaller))
    with pytest.raises(UsageError, match="clock"):
        prune(model, _examples(), (BATCH, labels), schedule, recipe)


@pytest.mark.timed
def test_the_clock_tells_small_networks_from_large_ones() -> None:
    pytest.importorskip("ai_edge_litert")
    from edge_malaria.cli.prune import int8_milliseconds

    assert int8_milliseconds(build("micro")) < int8_milliseconds(build("compact-wide"))


def test_an_unreachable_target_is_refused() -> None:
    model = lively("linear")
    schedule = Schedule("l2", keep=0.001, target="macs", rounds=1, epochs=0)
    with pytest.raises(UsageError, match="cannot be reached"):
        prune(model, _examples(), (BATCH, TARGETS.astype(np.int64)), schedule, Recipe(batch=8))


@pytest.mark.parametrize("wrong", [{"keep": 0.0}, {"keep": float("nan")}, {"criterion": "luck"}])
def test_a_wrong_schedule_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Schedule(**wrong)


def test_a_folded_network_gets_its_input_scale_back() -> None:
    folded = fold(lively("separable"))
    scaled = with_input_scale(folded)
    assert np.abs(predict(folded, BATCH) - predict(scaled, BATCH)).max() < 1e-4
    assert with_input_scale(scaled) is scaled


def test_sensitivity_rises_with_the_share_silenced() -> None:
    model = lively("linear")
    channels = map_channels(model)
    scores = score_channels("taylor1", model, channels, BATCH, TARGETS)
    table = layer_sensitivity(model, BATCH, TARGETS.astype(np.int64), scores)
    assert len(table) == 3
    assert all(list(row) == ["0.1", "0.25", "0.5", "0.75"] for row in table.values())
