"""How much a channel is worth: criteria for structured pruning.

All return one score a prunable channel; the lowest go first. Scores of weight norms are made
comparable between layers by the layer's own root mean square, Taylor scores as in Molchanov et al.
2017 (arXiv 1611.06440) likewise, so that a schedule may compare them globally.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.errors import UsageError
from edge_malaria.keras_layers import keras
from edge_malaria.records import Image
from edge_malaria.training.pruning.channels import ChannelMap, Numbers, set_gates, with_gates

Scores = NDArray[np.float64]
CRITERIA = ("l1", "l2", "bn-scale", "taylor1", "taylor2", "learned")


def score_channels(
    criterion: str, model: Any, channels: ChannelMap, inputs: Image, targets: Any
) -> Scores:
    """One score for each of ``channels.prunable``.

    Args:
        criterion: one of ``CRITERIA``.
        model: the network.
        channels: its channels.
        inputs: training cells, uint8 [N, S, S, 3]; read by the Taylor and learned criteria only.
        targets: [N], likewise.

    Raises:
        UsageError: unknown criterion, or batch-norm scales of a network without batch norms.
    """
    if criterion in ("l1", "l2"):
        return per_layer(channels, _norms(model, channels, 1 if criterion == "l1" else 2))
    if criterion == "bn-scale":
        return per_layer(channels, _bn_scales(model, channels))
    if criterion in ("taylor1", "taylor2"):
        first, second = gate_derivatives(model, channels, inputs, targets)
        if criterion == "taylor1":
            return per_layer(channels, np.abs(first))
        # Closing a gate moves it by -1: dL = -g + h / 2, with Gauss-Newton's h.
        return -first + 0.5 * second
    if criterion == "learned":
        return learned_scores(model, channels, inputs, targets)
    raise UsageError(f"unknown criterion {criterion!r}: expected one of {CRITERIA}.")


def per_layer(channels: ChannelMap, scores: Scores) -> Scores:
    """Scores divided by the root mean square of their layer's."""
    groups = np.array([channels.group_of(int(number)) for number in channels.prunable])
    result = scores.astype(np.float64).copy()
    for name in set(groups.tolist()):
        own = groups == name
        result[own] /= max(float(np.sqrt(np.mean(result[own] ** 2))), 1e-12)
    return result


def _norms(model: Any, channels: ChannelMap, order: int) -> Scores:
    kernels = {name: np.abs(np.asarray(model.get_layer(name).kernel)) for name in channels.inputs}
    scores = []
    for number in channels.prunable.tolist():
        parts = [kernels[name][..., index].ravel() for name, index in channels.producers[number]]
        weights = np.concatenate(parts)
        scores.append(weights.sum() if order == 1 else np.sqrt((weights**2).sum()))
    return np.array(scores, np.float64)


def _bn_scales(model: Any, channels: ChannelMap) -> Scores:
    totals = dict.fromkeys(channels.prunable.tolist(), 0.0)
    found = False
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization) and layer.gamma is not None:
            found = True
            scales = np.abs(np.asarray(layer.gamma))
            for number, scale in zip(channels.outputs[layer.name].tolist(), scales, strict=True):
                if number in totals:
                    totals[number] += float(scale)
    if not found:
        raise UsageError("criterion bn-scale needs a network with batch norms; this one has none.")
    return np.array(list(totals.values()), np.float64)


def gate_derivatives(
    model: Any, channels: ChannelMap, inputs: Image, targets: Any, batch: int = 64
) -> tuple[Scores, Scores]:
    """(mean gradient, mean squared per-batch-scaled gradient) of the loss by each channel's gate.

    A channel that several layers read (a skip connection) has one gate: the gradients at its
    readers add up before they are squared. The second is the empirical Fisher estimate of the
    second derivative, from gradients of single cells.
    """
    import tensorflow as tf

    gated = with_gates(model, channels)
    names = list(channels.inputs)
    gates = [gated.get_layer(f"{name}_gate").gate.value for name in names]
    place = {number: index for index, number in enumerate(channels.prunable.tolist())}
    scatter = [np.array([place.get(n, -1) for n in channels.inputs[name]]) for name in names]

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def gradients(cells: Any, wanted: Any) -> Any:
        with tf.GradientTape() as tape:
            logits = gated(cells, training=False)
            loss = tf.nn.sigmoid_cross_entropy_with_logits(labels=wanted, logits=logits)
        return tape.gradient(loss, gates)

    count = len(channels.prunable)
    first, second = np.zeros(count), np.zeros(count)
    for start in range(len(inputs)):
        cells = inputs[start : start + 1].astype(np.float32)
        wanted = np.asarray(targets[start : start + 1], np.float32)[:, None]
        joint = np.zeros(count)
        for where, gradient in zip(scatter, gradients(cells, wanted), strict=True):
            known = where >= 0
            np.add.at(joint, where[known], np.asarray(gradient)[known])
        first += joint
        second += joint**2
    del batch
    return first / len(inputs), second / len(inputs)


def mean_loss(model: Any, inputs: Image, targets: Any, batch: int = 256) -> float:
    """Mean cross-entropy of the logits against targets in 0-1."""
    from edge_malaria.training.classifier.fit import predict

    logits = predict(model, inputs, batch).astype(np.float64)
    wanted = np.asarray(targets, np.float64)
    return float(np.mean(np.logaddexp(0.0, logits) - wanted * logits))


def true_loss_changes(
    model: Any, channels: ChannelMap, inputs: Image, targets: Any, chosen: Numbers | None = None
) -> Scores:
    """Leave-one-filter-out: the loss's change when one channel alone is silenced.

    Args:
        model: the network.
        channels: its channels.
        inputs: training cells, uint8 [N, S, S, 3].
        targets: [N].
        chosen: the channels to try; None for all prunable ones.
    """
    gated = with_gates(model, channels)
    numbers = channels.prunable if chosen is None else chosen
    before = mean_loss(gated, inputs, targets)
    changes = []
    for number in numbers:
        set_gates(gated, channels, np.array([number]))
        changes.append(mean_loss(gated, inputs, targets) - before)
    return np.array(changes)


def learned_scores(model: Any, channels: ChannelMap, inputs: Image, targets: Any) -> Scores:
    """Each layer with the criterion that measures best on it.

    The nearest to "Learning Filter Pruning Criteria" (He et al. 2020) that works on networks of a
    few hundred channels: instead of a differentiable mixture trained with the network, every
    layer's criteria are compared by the loss after silencing the third they like least, and the
    layer's scores are those of the winner, rescaled to the winner's measured loss so that layers
    compare. Said plainly: a discrete choice by measurement, not a gradient.
    """
    candidates: dict[str, Callable[[], Scores]] = {
        name: lambda name=name: score_channels(name, model, channels, inputs, targets)  # type: ignore[misc]
        for name in ("l1", "l2", "taylor1", "taylor2")
    }
    tables = {name: make() for name, make in candidates.items()}
    groups = np.array([channels.group_of(int(number)) for number in channels.prunable])
    gated = with_gates(model, channels)
    before = mean_loss(gated, inputs, targets)
    result = np.zeros(len(groups))
    for layer in sorted(set(groups.tolist())):
        own = np.flatnonzero(groups == layer)
        trials = {}
        for name, table in tables.items():
            least = own[np.argsort(table[own], kind="stable")[: max(1, len(own) // 3)]]
            set_gates(gated, channels, channels.prunable[least])
            trials[name] = mean_loss(gated, inputs, targets) - before
        winner = min(trials, key=lambda name: trials[name])
        order = np.argsort(np.argsort(tables[winner][own], kind="stable"), kind="stable")
        result[own] = (order + 1) / len(own) * max(trials[winner], 1e-6)
    return result
