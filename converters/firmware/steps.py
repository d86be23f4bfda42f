"""What a lowered network is made of: steps (one kernel call each) and their constant arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.firmware import fixed_point
from converters.tflite_graph import Graph, Operator, Tensor
from edge_malaria.errors import ModelShapeError

# em_multiply adds up to 2**30 to a sum, which must stay below 2**31.
MAX_SUM = 1 << 30


@dataclass(frozen=True)
class Array:
    """A constant array of the C file.

    Attributes:
        name: suffix of its C name, unique within the step.
        values: int8, uint8, int32 or float32, flat.
        rounding: 0 or 1 where only that rounding mode needs it, else None.
    """

    name: str
    values: NDArray[Any]
    rounding: int | None = None


@dataclass(frozen=True)
class Step:
    """One kernel call.

    Attributes:
        operator: the schema's name and number, for comments and messages.
        kernel: file in c_kernels without its suffix.
        struct: C type of its parameters, or "" where the call has plain arguments.
        fields: C initializers, in order; ``{name}`` stands for the array of that name.
        inputs, output: tensor numbers of activations.
        call: C arguments; ``{in0}``, ``{in1}``, ``{out}``, ``{scratch}``, ``{step}``, arrays.
        scratch_bytes: of working memory during the call.
        in_place: the output may lie on an input of equal size.
        alias: nothing is computed, the output is the input's bytes.
        macs: multiply-accumulates.
    """

    operator: str
    kernel: str
    struct: str
    fields: tuple[str, ...]
    inputs: tuple[int, ...]
    output: int
    call: str
    arrays: tuple[Array, ...] = ()
    scratch_bytes: int = 0
    in_place: bool = False
    alias: bool = False
    macs: int = 0
    shape: tuple[int, ...] = field(default=())


class Refused(ModelShapeError):
    """The generator does not build this network."""


def label(operator: Operator) -> str:
    """How messages name an operator."""
    return f"operator {operator.index} {operator.name}"


def refuse(operator: Operator, reason: str) -> Refused:
    """The error for an operator that cannot be lowered."""
    return Refused(f"{label(operator)}: {reason}.")


def tensor(graph: Graph, operator: Operator, position: int) -> Tensor:
    """The operator's input tensor at ``position``."""
    if position >= len(operator.inputs) or operator.inputs[position] < 0:
        raise refuse(operator, f"input {position} is missing")
    return graph.tensors[operator.inputs[position]]


def output(graph: Graph, operator: Operator) -> Tensor:
    """The operator's only output."""
    if len(operator.outputs) != 1:
        raise refuse(operator, f"expected 1 output, got {len(operator.outputs)}")
    return graph.tensors[operator.outputs[0]]


def activation_range(operator: Operator, out: Tensor) -> tuple[int, int]:
    """The int8 range that the fused activation leaves, as the reference kernels compute it."""
    code = int(getattr(operator.options, "fusedActivationFunction", 0) or 0)
    bounds = {0: (None, None), 1: (0.0, None), 2: (-1.0, 1.0), 3: (0.0, 6.0)}
    if code not in bounds:
        raise refuse(operator, f"fused activation {code} is not supported (RELU, RELU6 are)")
    low, high = bounds[code]

    def quantized(value: float) -> int:
        scaled = np.float32(value) / np.float32(out.scale)
        return out.zero_point + int(np.sign(scaled) * np.floor(abs(float(scaled)) + 0.5))

    least = -128 if low is None else max(-128, quantized(low))
    most = 127 if high is None else min(127, quantized(high))
    return least, most


def weight_scales(
    operator: Operator, weights: Tensor, channels: int, axis: int
) -> NDArray[np.float32]:
    """One scale a channel; refuses scales along another axis."""
    scales = weights.scales
    if len(scales) == 1:
        return np.repeat(scales, channels)
    if len(scales) != channels or weights.shape[axis] != channels:
        raise refuse(operator, f"expected 1 or {channels} weight scales, got {len(scales)}")
    return scales


def requantization(multipliers: Sequence[float], factors: NDArray[np.float32]) -> tuple[Array, ...]:
    """The arrays of ``em_scale_t`` in both rounding modes."""
    pairs = [fixed_point.quantize_multiplier(real) for real in multipliers]
    return (
        Array("multiplier", np.array([pair[0] for pair in pairs], np.int32), 0),
        Array("shift", np.array([pair[1] for pair in pairs], np.int8), 0),
        Array("factor", factors.astype(np.float32), 1),
    )


def check_sums(operator: Operator, bias: NDArray[np.int64], weights: NDArray[np.int64]) -> None:
    """Refuses a layer whose int32 sums could leave the range that the kernels are exact in.

    Args:
        operator: named where it is refused.
        bias: int64 [channels].
        weights: int64 [channels, taps].
    """
    worst = int(np.max(np.abs(bias) + 255 * np.abs(weights).sum(axis=1)))
    if not (worst < MAX_SUM):
        raise refuse(operator, f"its sums may reach {worst}, expected below {MAX_SUM}")


def bias_values(graph: Graph, operator: Operator, channels: int) -> NDArray[np.int64]:
    """The int32 bias as int64 [channels]; zeros where there is none."""
    if len(operator.inputs) < 3 or operator.inputs[2] < 0:
        return np.zeros(channels, np.int64)
    bias = graph.tensors[operator.inputs[2]]
    if bias.values is None or bias.dtype != "int32" or bias.elements != channels:
        raise refuse(operator, f"expected a constant int32 bias of {channels}")
    return bias.values.astype(np.int64).reshape(-1)


def constant_weights(graph: Graph, operator: Operator, rank: int) -> Tensor:
    """The operator's constant int8 weights (input 1)."""
    weights = tensor(graph, operator, 1)
    if weights.values is None or weights.dtype != "int8":
        raise refuse(operator, f"expected constant int8 weights, got {weights.dtype}")
    if len(weights.shape) != rank:
        raise refuse(operator, f"expected weights of {rank} dimensions, got {weights.shape}")
    return weights
