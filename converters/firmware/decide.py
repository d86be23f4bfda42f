"""How the C file decides: a bundle's thresholds and probabilities by the network's outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.firmware.network import Network
from converters.firmware.steps import Refused
from edge_malaria.bundle.spec import ModelSpec
from edge_malaria.runtime.classify.classifier import Decision
from edge_malaria.runtime.classify.second_network import on_first_scale

_RAW = np.arange(-128, 128)
# How far the order of float32 roundings can move a probability.
_ROUNDING = 1e-6


def decide_by_second(
    spec: ModelSpec, second: ModelSpec, thresholds: Mapping[str, float], network: Network
) -> dict[str, Any]:
    """Thresholds, the unsure band and probabilities by the second network's raw output.

    Args:
        spec: of the first network.
        second: of the second.
        thresholds: operating point -> probability.
        network: the second, lowered.

    Returns:
        ``thresholds`` of ``Identity``; ``unsure`` and ``permille`` of ``Second``.

    Raises:
        Refused: a threshold lies below the probability from which on the second network is asked;
            the C file calls no cell without asking it.
    """
    asked_from = spec.decision.second_from or 0.0
    for point, value in thresholds.items():
        if value < asked_from:
            raise Refused(
                f"the threshold {value} of {point} lies below {asked_from}, from which on the "
                "second network is asked: the C file calls no cell without asking it."
            )
    logits = on_first_scale(_mean_logits(_RAW, 1, network), second.decision, spec.decision)
    chances = Decision(spec, thresholds["balanced"]).probabilities(logits)
    low, high = spec.decision.unsure_between or (1.0, 0.0)
    unsure = _RAW[(chances > low) & (chances < high)]
    return {
        "thresholds": {
            point: int(next(iter(_RAW[chances >= value]), 128))
            for point, value in thresholds.items()
        },
        "unsure": (int(unsure[0]), int(unsure[-1])) if len(unsure) else (127, -128),
        "permille": np.rint(chances * 1000).astype(np.uint16),
    }


def decide(spec: ModelSpec, thresholds: Mapping[str, float], network: Network) -> dict[str, Any]:
    """Thresholds, the unsure band and probabilities by raw output, through the runtime's own code.

    Where flagged cells are asked again, by the eighths of a raw output that their sum counts.

    Returns:
        Keyword arguments of ``Identity``.
    """
    decision = Decision(spec, thresholds["balanced"])
    views = spec.decision.flagged_views
    steps = np.arange(-128 * views, 127 * views + 1)
    chances = decision.probabilities(_mean_logits(steps, views, network))
    between = spec.decision.unsure_between
    low, high = between or (1.0, 0.0)
    if views > 1:
        band = {} if between is None else {"unsure from": low, "unsure to": high}
        _expect_apart(chances, {**thresholds, **band})
    unsure = steps[(chances > low) & (chances < high)]
    none = (int(steps[-1]), int(steps[0]))
    decided: dict[str, Any] = {
        "thresholds": {
            # One above every output: never positive.
            point: int(next(iter(steps[chances >= value]), steps[-1] + 1))
            for point, value in thresholds.items()
        },
        "unsure": (int(unsure[0]), int(unsure[-1])) if len(unsure) else none,
        "permille": np.rint(chances * 1000).astype(np.uint16),
    }
    if decision.asked_again_from is not None:
        again = _RAW[decision.asked_again(_mean_logits(_RAW, 1, network))]
        decided["asked_again_from"] = int(next(iter(again), 128))
    return decided


def _mean_logits(sums: NDArray[Any], views: int, network: Network) -> NDArray[np.float32]:
    """The mean logit of ``views`` raw outputs that add up to each of ``sums``; float32 [N].

    As the runtime computes it: each output dequantized to float32, added in float64, rounded once.
    Raw outputs are taken as near each other as their sum allows.
    """
    result = network.output
    below, more = sums // views, sums % views

    def dequantized(raw: NDArray[Any]) -> NDArray[np.float64]:
        shifted = (raw - result.zero_point).astype(np.int32)
        return (shifted * np.float32(result.scale)).astype(np.float32).astype(np.float64)

    total = more * dequantized(below + 1) + (views - more) * dequantized(below)
    return (total / views).astype(np.float32)


def _expect_apart(chances: NDArray[np.float64], values: Mapping[str, float]) -> None:
    """No threshold lies on an output: which outputs add up to it would then decide, by rounding."""
    for name, value in values.items():
        if not (np.abs(chances - value).min() > _ROUNDING):
            raise Refused(
                f"the threshold {value} of {name} lies on an output of eight views: the C file "
                "could decide otherwise than Python. Move it by 0.0001."
            )
