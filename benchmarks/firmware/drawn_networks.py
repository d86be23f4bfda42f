"""Random single-operator networks for the firmware generator.

Shapes, strides, paddings, dilations, zero points, scales and fused activations are drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.firmware.models import OperatorSketch, TensorSketch, build_tflite

Rng = np.random.Generator
Int8 = NDArray[np.int8]


@dataclass(frozen=True)
class Case:
    """One network of the sweep: file bytes, input shape without the batch, what it is."""

    title: str
    tflite: bytes
    shape: tuple[int, ...]

    @property
    def operator(self) -> str:
        """The operator's name."""
        return self.title.split()[0]


def _scale(rng: Rng, low: float = 0.002, high: float = 0.2) -> float:
    return float(np.float32(np.exp(rng.uniform(np.log(low), np.log(high)))))


def _zero(rng: Rng) -> int:
    return int(rng.choice([-128, 0, 127, int(rng.integers(-128, 128))]))


def _weights(rng: Rng, shape: tuple[int, ...]) -> Int8:
    return rng.integers(-127, 128, shape).astype(np.int8)


def _window(rng: Rng, size: int, taps: int, gap: int, stride: int, same: bool) -> int:
    room = size if same else size - (taps - 1) * gap
    return -(-room // stride)


def _layer(
    rng: Rng,
    source: TensorSketch,
    weights: Int8,
    axis: int,
    per_channel: bool,
    out: tuple[int, ...],
    relu: bool,
) -> list[TensorSketch]:
    """Source, weights, bias and output of a layer whose outputs use the whole int8 range."""
    channels = weights.shape[axis]
    taps = weights.size // channels
    scales = [_scale(rng, 0.0005, 0.02) for _ in range(channels if per_channel else 1)]
    spread = source.scales[0] * float(np.mean(scales)) * 74 * 74 * np.sqrt(taps)
    out_scale = float(np.float32(spread * rng.uniform(0.3, 2.0) / 60))
    bias = rng.integers(-1, 2, channels) * rng.integers(0, 60, channels) * taps * 20
    products = tuple(float(np.float32(source.scales[0]) * np.float32(s)) for s in scales)
    return [
        source,
        TensorSketch(weights.shape, tuple(scales), 0, values=weights, channel_axis=axis),
        TensorSketch((channels,), products, 0, "int32", bias.astype(np.int32)),
        TensorSketch(out, (out_scale,), -128 if relu else _zero(rng)),
    ]


def convolution(rng: Rng, kind: str = "CONV_2D") -> Case:
    """A convolution or depthwise convolution."""
    h, w, c = (int(v) for v in rng.integers(1, (13, 13, 20)))
    ky, kx = (int(v) for v in rng.integers(1, 5, 2)) if rng.random() < 0.5 else (3, 3)
    sy, sx = (int(v) for v in rng.integers(1, 4, 2)) if rng.random() < 0.4 else (1, 1)
    dilated = rng.random() < 0.15
    dy, dx = (int(v) for v in rng.integers(1, 3, 2)) if dilated else (1, 1)
    if dilated:
        sy = sx = 1
    same = bool(rng.random() < 0.6) or (ky - 1) * dy >= h or (kx - 1) * dx >= w
    oh, ow = _window(rng, h, ky, dy, sy, same), _window(rng, w, kx, dx, sx, same)
    relu = int(rng.choice([0, 0, 1, 3]))
    source = TensorSketch((1, h, w, c), (_scale(rng),), _zero(rng))
    options: dict[str, Any] = {
        "padding": 0 if same else 1, "strideH": sy, "strideW": sx,
        "dilationHFactor": dy, "dilationWFactor": dx, "fusedActivationFunction": relu,
    }  # fmt: skip
    if kind == "CONV_2D":
        o = int(rng.integers(1, 14))
        weights, axis = _weights(rng, (o, ky, kx, c)), 0
    else:
        multiplier = int(rng.choice([1, 1, 1, 2, 3]))
        o = c * multiplier
        weights, axis = _weights(rng, (1, ky, kx, o)), 3
        options["depthMultiplier"] = multiplier
    tensors = _layer(rng, source, weights, axis, bool(rng.random() < 0.8), (1, oh, ow, o), relu > 0)
    model = build_tflite(tensors, [OperatorSketch(kind, (0, 1, 2), (3,), options)], (0,), (3,))
    return Case(f"{kind} {h}x{w}x{c}->{oh}x{ow}x{o} k{ky}x{kx}", model, (h, w, c))


def depthwise(rng: Rng) -> Case:
    """A depthwise convolution."""
    return convolution(rng, "DEPTHWISE_CONV_2D")


def fully_connected(rng: Rng) -> Case:
    """A fully connected layer, per tensor or per channel."""
    n, o = int(rng.integers(1, 200)), int(rng.integers(1, 12))
    relu = int(rng.choice([0, 0, 1]))
    source = TensorSketch((1, n), (_scale(rng),), _zero(rng))
    per_channel = bool(rng.random() < 0.5)
    tensors = _layer(rng, source, _weights(rng, (o, n)), 0, per_channel, (1, o), relu > 0)
    options = {"fusedActivationFunction": relu}
    operator = OperatorSketch("FULLY_CONNECTED", (0, 1, 2), (3,), options)
    return Case(f"FULLY_CONNECTED {n}->{o}", build_tflite(tensors, [operator], (0,), (3,)), (n,))


def pool(rng: Rng) -> Case:
    """Average or maximum pooling."""
    kind = str(rng.choice(["AVERAGE_POOL_2D", "MAX_POOL_2D"]))
    h, w, c = (int(v) for v in rng.integers(2, (12, 12, 12)))
    ky, kx, sy, sx = (int(v) for v in rng.integers(1, 4, 4))
    same = bool(rng.random() < 0.5) or ky > h or kx > w
    oh, ow = _window(rng, h, ky, 1, sy, same), _window(rng, w, kx, 1, sx, same)
    scale, zero = (_scale(rng),), _zero(rng)
    options = {
        "padding": 0 if same else 1, "strideH": sy, "strideW": sx,
        "filterHeight": ky, "filterWidth": kx,
    }  # fmt: skip
    tensors = [TensorSketch((1, h, w, c), scale, zero), TensorSketch((1, oh, ow, c), scale, zero)]
    model = build_tflite(tensors, [OperatorSketch(kind, (0,), (1,), options)], (0,), (1,))
    return Case(f"{kind} {h}x{w}x{c} k{ky}x{kx}", model, (h, w, c))


def mean(rng: Rng) -> Case:
    """Mean over height and width."""
    h, w, c = (int(v) for v in rng.integers(1, (14, 14, 24)))
    si = _scale(rng)
    same = bool(rng.random() < 0.4)
    so = si if same else float(np.float32(si * rng.uniform(0.2, 1.3)))
    zi = _zero(rng)
    keep = bool(rng.random() < 0.5)
    tensors = [
        TensorSketch((1, h, w, c), (si,), zi),
        TensorSketch((2,), dtype="int32", values=np.array([1, 2], np.int32)),
        TensorSketch((1, 1, 1, c) if keep else (1, c), (so,), zi if same else _zero(rng)),
    ]
    operator = OperatorSketch("MEAN", (0, 1), (2,), {"keepDims": keep})
    return Case(f"MEAN {h}x{w}x{c}", build_tflite(tensors, [operator], (0,), (2,)), (h, w, c))


def add(rng: Rng) -> Case:
    """Sum of the input and a constant, or of the input and itself on another scale."""
    shape = (1, *(int(v) for v in rng.integers(1, (8, 8, 16))))
    a, b = _scale(rng), _scale(rng)
    out = TensorSketch(shape, (float(np.float32(max(a, b) * rng.uniform(0.5, 2.5))),), _zero(rng))
    relu = {"fusedActivationFunction": int(rng.choice([0, 1]))}
    source = TensorSketch(shape, (a,), _zero(rng))
    if rng.random() < 0.5:
        other = TensorSketch(shape, (b,), _zero(rng), values=_weights(rng, shape))
        operators = [OperatorSketch("ADD", (0, 1), (2,), relu)]
    else:
        other = TensorSketch(shape, (b,), _zero(rng))
        operators = [
            OperatorSketch("QUANTIZE", (0,), (1,)),
            OperatorSketch("ADD", (0, 1), (2,), relu),
        ]
    return Case(
        f"ADD {shape}", build_tflite([source, other, out], operators, (0,), (2,)), shape[1:]
    )


def pointwise(rng: Rng) -> Case:
    """Logistic, requantization, multiplication by a number or reshape."""
    kind = str(rng.choice(["LOGISTIC", "QUANTIZE", "MUL", "RESHAPE"]))
    n = 256
    si, zi = _scale(rng), _zero(rng)
    source = TensorSketch((1, n), (si,), zi)
    if kind == "LOGISTIC":
        tensors = [source, TensorSketch((1, n), (1 / 256,), -128)]
        operator = OperatorSketch(kind, (0,), (1,))
    elif kind == "QUANTIZE":
        tensors = [source, TensorSketch((1, n), (si * float(rng.uniform(0.4, 2)),), _zero(rng))]
        operator = OperatorSketch(kind, (0,), (1,))
    elif kind == "MUL":
        k = _scale(rng)
        factor = TensorSketch((1,), (k,), _zero(rng), values=_weights(rng, (1,)))
        so = float(np.float32(si * k * 60 * rng.uniform(0.5, 2)))
        tensors = [source, TensorSketch((1, n), (so,), _zero(rng)), factor]
        operator = OperatorSketch(kind, (0, 2), (1,), {})
    else:
        target = np.array([1, 16, 16], np.int32)
        shape = TensorSketch((3,), dtype="int32", values=target)
        tensors = [source, TensorSketch((1, 16, 16), (si,), zi), shape]
        operator = OperatorSketch(kind, (0, 2), (1,), {"newShape": list(target)})
    return Case(f"{kind}", build_tflite(tensors, [operator], (0,), (1,)), (n,))


def softmax(rng: Rng) -> Case:
    """Softmax of 1 to 20 values."""
    n = int(rng.integers(1, 21))
    tensors = [
        TensorSketch((1, n), (_scale(rng, 0.002, 0.5),), _zero(rng)),
        TensorSketch((1, n), (1 / 256,), -128),
    ]
    operator = OperatorSketch("SOFTMAX", (0,), (1,), {"beta": float(rng.choice([1.0, 0.5]))})
    return Case(f"SOFTMAX {n}", build_tflite(tensors, [operator], (0,), (1,)), (n,))


def network(rng: Rng) -> Case:
    """A small residual network: convolution, two branches added, a pool, a dense layer."""
    size, c, classes = int(rng.integers(8, 15)), int(rng.integers(2, 9)), int(rng.integers(2, 6))
    half = -(-size // 2)
    shape, small = (1, size, size, c), (1, half, half, c)
    source = TensorSketch((1, size, size, 3), (1.0,), -128)
    tensors = _layer(rng, source, _weights(rng, (c, 3, 3, 3)), 0, True, shape, True)
    first = tensors[3]
    branch = _layer(rng, first, _weights(rng, (1, 3, 3, c)), 3, True, shape, False)
    tensors += branch[1:]  # 4 weights, 5 bias, 6 output
    wider = max(first.scales[0], branch[3].scales[0]) * float(rng.uniform(0.8, 1.6))
    tensors.append(TensorSketch(shape, (float(np.float32(wider)),), -128))  # 7: the sum
    pooled = TensorSketch(small, tensors[7].scales, -128)
    tensors.append(pooled)  # 8
    n = pooled.shape[1] * pooled.shape[2] * c
    tensors += [TensorSketch((1, n), pooled.scales, -128)]  # 9: flat
    tensors += [TensorSketch((2,), dtype="int32", values=np.array([1, n], np.int32))]  # 10
    dense = _layer(rng, tensors[9], _weights(rng, (classes, n)), 0, True, (1, classes), False)
    tensors += dense[1:]  # 11 weights, 12 bias, 13 output
    window = {"padding": 0, "strideH": 1, "strideW": 1}
    same = {**window, "dilationHFactor": 1, "dilationWFactor": 1}
    halving = {"padding": 0, "strideH": 2, "strideW": 2, "filterHeight": 2, "filterWidth": 2}
    pool_kind = str(rng.choice(["AVERAGE_POOL_2D", "MAX_POOL_2D"]))
    operators = [
        OperatorSketch("CONV_2D", (0, 1, 2), (3,), {**same, "fusedActivationFunction": 1}),
        OperatorSketch("DEPTHWISE_CONV_2D", (3, 4, 5), (6,), {**same, "depthMultiplier": 1}),
        OperatorSketch("ADD", (3, 6), (7,), {"fusedActivationFunction": 1}),
        OperatorSketch(pool_kind, (7,), (8,), halving),
        OperatorSketch("RESHAPE", (8, 10), (9,), {"newShape": [1, n]}),
        OperatorSketch("FULLY_CONNECTED", (9, 11, 12), (13,), {}),
    ]
    model = build_tflite(tensors, operators, (0,), (13,))
    return Case(f"NETWORK {size}x{size}x{c}", model, source.shape[1:])


KINDS: tuple[Callable[[Rng], Case], ...] = (
    convolution, depthwise, fully_connected, pool, mean, add, pointwise, softmax, network,
)  # fmt: skip
