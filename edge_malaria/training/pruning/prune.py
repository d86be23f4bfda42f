"""Iterative structured pruning: score, remove a few channels, fine-tune, repeat.

Whole filters go and the network is built again without them, so that every engine is faster and
every file smaller; nothing is left at zero. The target is a share of filters, of
multiply-accumulates, of weight bytes or of measured latency.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edge_malaria.errors import UsageError
from edge_malaria.records import Image
from edge_malaria.training.architectures.registry import count_macs, layer_macs
from edge_malaria.training.classifier.fit import fit
from edge_malaria.training.classifier.recipe import Examples, Recipe
from edge_malaria.training.pruning.channels import (
    ChannelMap,
    Numbers,
    map_channels,
    without_channels,
)
from edge_malaria.training.pruning.criteria import CRITERIA, mean_loss, score_channels

Counted = Literal["filters", "macs", "bytes"]
Target = Literal["filters", "macs", "bytes", "latency"]
# What can be counted from the network alone; latency takes a clock.
TARGETS: tuple[Counted, ...] = ("filters", "macs", "bytes")
# A network -> its time on an engine, ms.
Clock = Callable[[Any], float]


@dataclass(frozen=True)
class Schedule:
    """How far and how fast.

    Attributes:
        criterion: see ``criteria.CRITERIA``.
        keep: share of the target's measure that stays, in (0, 1).
        target: what ``keep`` is a share of.
        rounds: score-remove-tune rounds; the measure falls by the same factor in each.
        epochs: fine-tuning passes after each round.
        least_channels: no layer falls below this many.
        scored_cells: training cells that data-driven criteria look at.
    """

    criterion: str = "taylor2"
    keep: float = 0.5
    target: Target = "macs"
    rounds: int = 4
    epochs: int = 2
    least_channels: int = 4
    scored_cells: int = 256

    def __post_init__(self) -> None:
        if self.criterion not in CRITERIA:
            raise UsageError(f"unknown criterion {self.criterion!r}: expected one of {CRITERIA}.")
        if not (0.0 < self.keep < 1.0):
            raise UsageError(f"--keep: expected a share in (0, 1), got {self.keep}.")
        if self.target not in (*TARGETS, "latency"):
            known = (*TARGETS, "latency")
            raise UsageError(f"unknown target {self.target!r}: expected one of {known}.")
        if not (self.rounds >= 1 and self.epochs >= 0 and self.least_channels >= 1):
            raise UsageError("expected rounds >= 1, epochs >= 0 and least channels >= 1.")


def measure(model: Any, target: Counted) -> int:
    """The network's size in the target's unit: filters, multiply-accumulates or int8 bytes."""
    if target == "macs":
        return count_macs(model)
    if target == "bytes":
        return int(model.count_params())
    channels = map_channels(model)
    return len(channels.prunable)


def measure_without(model: Any, channels: ChannelMap, removed: Numbers, target: Counted) -> float:
    """``measure`` of the network without ``removed``, without building it."""
    if target == "filters":
        return len(channels.prunable) - len(removed)
    total = 0.0
    for layer in model.layers:
        if not layer.weights:
            continue
        outgoing = float(np.mean(~np.isin(channels.outputs[layer.name], removed)))
        incoming = 1.0
        if layer.name in channels.inputs:
            incoming = float(np.mean(~np.isin(channels.inputs[layer.name], removed)))
        if target == "macs":
            total += layer_macs(layer) * incoming * outgoing
        else:
            kernel = int(np.prod(layer.kernel.shape)) if hasattr(layer, "kernel") else 0
            rest = int(layer.count_params()) - kernel
            total += (kernel * incoming + rest) * outgoing
    return total


def lowest_channels(
    channels: ChannelMap,
    scores: NDArray[np.float64],
    enough: Callable[[Numbers], bool],
    least: int,
) -> Numbers:
    """The lowest-scored channels, as few as satisfy ``enough``; no layer falls below ``least``.

    Args:
        channels: of the network.
        scores: one a prunable channel.
        enough: whether removing these numbers reaches the round's goal.
        least: channels that each layer keeps.

    Raises:
        UsageError: the goal cannot be reached with that many channels a layer.
    """
    left: dict[str, int] = {}
    for number in channels.prunable.tolist():
        for name, _ in channels.producers[number]:
            left[name] = left.get(name, 0) + 1
    order = []
    for index in np.argsort(scores, kind="stable").tolist():
        number = int(channels.prunable[index])
        names = [name for name, _ in channels.producers[number]]
        if all(left[name] > least for name in names):
            for name in names:
                left[name] -= 1
            order.append(number)
    low, high = 0, len(order)
    if not enough(np.array(order, np.int64)):
        raise UsageError(f"the target cannot be reached with {least} channels left in each layer.")
    while low < high:
        middle = (low + high) // 2
        if enough(np.array(order[:middle], np.int64)):
            high = middle
        else:
            low = middle + 1
    return np.array(order[:low], np.int64)


def prune(
    model: Any,
    train: Examples,
    val: tuple[Image, NDArray[np.int64]],
    schedule: Schedule,
    recipe: Recipe,
    *,
    report: Callable[[dict[str, float]], None] = lambda entry: None,
    clock: Clock | None = None,
) -> Any:
    """A smaller, fine-tuned network.

    Args:
        model: float network with or without batch norms; stays as it is.
        train: training patients' cells.
        val: inputs and labels of validation patients; decide the best fine-tuned epoch only.
        schedule: what and how much.
        recipe: of the fine-tuning; its epochs are the schedule's.
        report: called after each round.
        clock: measures a network, for the target ``latency``; the same machine, quiet, throughout.

    Returns:
        A new ``keras.Model``.

    Raises:
        UsageError: criterion and network do not fit, or the target cannot be reached.
    """
    start = _size(model, schedule, clock)
    rng = np.random.default_rng(recipe.seed)
    for number in range(1, schedule.rounds + 1):
        goal = start * schedule.keep ** (number / schedule.rounds)
        channels = map_channels(model)
        chosen = np.sort(rng.permutation(len(train))[: schedule.scored_cells])
        cells, targets = train.renderings[0][chosen], train.targets[chosen]
        scores = score_channels(schedule.criterion, model, channels, cells, targets)
        removed = _removed(model, channels, scores, schedule, goal, clock)
        model = without_channels(model, channels, removed)
        before = mean_loss(model, *val)
        if schedule.epochs:
            tuning = dataclasses.replace(
                recipe,
                epochs=schedule.epochs,
                bootstrap_from=0.0,
                patience=schedule.epochs,
                seed=recipe.seed + number,
            )
            model, _ = fit(model, train, *val, tuning)
        report(
            {
                "round": number,
                "removed": len(removed),
                schedule.target: _size(model, schedule, clock),
                "val_loss_before_tuning": before,
                "val_loss": mean_loss(model, *val),
            }
        )
    return model


def _size(model: Any, schedule: Schedule, clock: Clock | None) -> float:
    if schedule.target != "latency":
        return measure(model, schedule.target)
    if clock is None:
        raise UsageError("the target latency takes a clock that measures networks.")
    return clock(model)


def _removed(
    model: Any,
    channels: ChannelMap,
    scores: NDArray[np.float64],
    schedule: Schedule,
    goal: float,
    clock: Clock | None,
) -> Numbers:
    def enough(numbers: Numbers) -> bool:
        if schedule.target != "latency":
            return measure_without(model, channels, numbers, schedule.target) <= goal
        # No formula foretells time: the network is built without them and measured.
        smaller = without_channels(model, channels, numbers) if len(numbers) else model
        return _size(smaller, schedule, clock) <= goal

    if enough(np.array([], np.int64)):
        return np.array([], np.int64)
    return lowest_channels(channels, scores, enough, schedule.least_channels)


def layer_sensitivity(
    model: Any,
    inputs: Image,
    labels: NDArray[np.int64],
    scores: NDArray[np.float64],
    shares: tuple[float, ...] = (0.1, 0.25, 0.5, 0.75),
) -> dict[str, dict[str, float]]:
    """Layer -> share of its lowest channels silenced -> rise of the loss, nothing fine-tuned."""
    from edge_malaria.training.pruning.channels import set_gates, with_gates

    channels = map_channels(model)
    groups = np.array([channels.group_of(int(number)) for number in channels.prunable])
    gated = with_gates(model, channels)
    before = mean_loss(gated, inputs, labels)
    table: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(groups.tolist()):
        own = np.flatnonzero(groups == name)
        ordered = channels.prunable[own[np.argsort(scores[own], kind="stable")]]
        table[name] = {}
        for share in shares:
            set_gates(gated, channels, ordered[: max(1, int(share * len(ordered)))])
            table[name][f"{share:g}"] = mean_loss(gated, inputs, labels) - before
    return table
