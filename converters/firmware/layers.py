"""Lowers convolutions, depthwise and fully connected layers and pools to kernel calls."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from converters.firmware import fixed_point
from converters.firmware.steps import (
    Array,
    Step,
    activation_range,
    bias_values,
    check_sums,
    constant_weights,
    label,
    output,
    refuse,
    requantization,
    tensor,
    weight_scales,
)
from converters.tflite_graph import Graph, Operator, Tensor

_SAME = 0


def _picture(operator: Operator, value: Tensor) -> tuple[int, int, int]:
    if len(value.shape) != 4 or value.shape[0] != 1:
        raise refuse(operator, f"expected a tensor [1, H, W, C], got {list(value.shape)}")
    return value.shape[1], value.shape[2], value.shape[3]


def _pad(in_size: int, out_size: int, stride: int, extent: int, padding: int) -> int:
    """Rows (or columns) of padding before the picture."""
    if padding != _SAME:
        return 0
    return max((out_size - 1) * stride + extent - in_size, 0) // 2


def _window(
    operator: Operator,
    source: Tensor,
    out: Tensor,
    kernel: tuple[int, int],
    dilation: (tuple[int, int]),
) -> tuple[int, int, int, int]:
    """stride_h, stride_w, pad_top, pad_left; refuses an output shape that does not follow."""
    in_h, in_w, _ = _picture(operator, source)
    out_h, out_w, _ = _picture(operator, out)
    options = operator.options
    stride = int(options.strideH), int(options.strideW)
    found = []
    for in_size, out_size, step, taps, gap in zip(
        (in_h, in_w), (out_h, out_w), stride, kernel, dilation, strict=True
    ):
        extent = (taps - 1) * gap + 1
        room = in_size if options.padding == _SAME else in_size - extent + 1
        if step < 1 or -(-room // step) != out_size:
            raise refuse(operator, f"{in_size} px, kernel {taps}, stride {step} give no {out_size}")
        found.append(_pad(in_size, out_size, step, extent, int(options.padding)))
    return (*stride, found[0], found[1])


def _scales(
    operator: Operator, source: Tensor, weights: Tensor, out: Tensor, channels: int, axis: int
) -> tuple[Array, ...]:
    scales = weight_scales(operator, weights, channels, axis)
    real = [source.scale * float(scale) / out.scale for scale in scales]
    return requantization(real, fixed_point.xnnpack_scale(source.scale, scales, out.scale))


_EM_SCALE = "EM_SCALE({multiplier}, {shift}, {factor})"


def convolution(graph: Graph, operator: Operator) -> Step:
    """CONV_2D, per tensor or per channel."""
    source, out = tensor(graph, operator, 0), output(graph, operator)
    weights = constant_weights(graph, operator, 4)
    in_h, in_w, in_c = _picture(operator, source)
    out_h, out_w, out_c = _picture(operator, out)
    kernel_h, kernel_w = weights.shape[1], weights.shape[2]
    if weights.shape[3] != in_c or weights.shape[0] != out_c:
        raise refuse(operator, f"grouped or odd weights {list(weights.shape)} for {in_c} channels")
    dilation = int(operator.options.dilationHFactor), int(operator.options.dilationWFactor)
    stride_h, stride_w, top, left = _window(operator, source, out, (kernel_h, kernel_w), dilation)
    low, high = activation_range(operator, out)
    sizes = (in_h, in_w, in_c, out_h, out_w, out_c, kernel_h, kernel_w, stride_h, stride_w)
    step = _rows_times_input(
        operator,
        "conv",
        (*sizes, *dilation, top, left, source.zero_point, out.zero_point, low, high),
        (source, weights, out),
        bias_values(graph, operator, out_c),
        _scales(operator, source, weights, out, out_c, 0),
    )
    direct = (kernel_h, kernel_w, stride_h, stride_w) == (1, 1, 1, 1)
    return replace(
        step,
        call="&{step}, {in0}, {out}, {scratch}",
        scratch_bytes=0 if direct else 2 * kernel_h * kernel_w * in_c,
        macs=out_h * out_w * out_c * kernel_h * kernel_w * in_c,
    )


def _rows_times_input(
    operator: Operator,
    kernel: str,
    numbers: tuple[int, ...],
    tensors: tuple[Tensor, Tensor, Tensor],
    bias: NDArray[np.int64],
    scales: tuple[Array, ...],
) -> Step:
    """A step whose outputs are rows of weights times input, the zero point folded into the bias.

    Args:
        operator: of the network.
        kernel: the C function's name.
        numbers: the leading fields of the kernel's struct.
        tensors: input, weights [outputs, ...] and output.
        bias: int64 [outputs].
        scales: arrays of the requantization, one value an output each.
    """
    source, weights, out = tensors
    assert weights.values is not None
    rows = weights.values.reshape(len(bias), -1).astype(np.int64)
    check_sums(operator, bias, rows)
    return Step(
        operator=label(operator),
        kernel=kernel,
        struct=f"em_{kernel}_t",
        fields=(*map(str, numbers), "{weights}", "{bias}", _EM_SCALE),
        inputs=(source.index,),
        output=out.index,
        call="&{step}, {in0}, {out}",
        arrays=(
            Array("weights", weights.values.reshape(-1)),
            Array("bias", (bias - source.zero_point * rows.sum(axis=1)).astype(np.int32)),
            *scales,
        ),
        shape=out.shape,
    )


def depthwise(graph: Graph, operator: Operator) -> Step:
    """DEPTHWISE_CONV_2D with any multiplier."""
    source, out = tensor(graph, operator, 0), output(graph, operator)
    weights = constant_weights(graph, operator, 4)
    in_h, in_w, in_c = _picture(operator, source)
    out_h, out_w, out_c = _picture(operator, out)
    kernel_h, kernel_w = weights.shape[1], weights.shape[2]
    if weights.shape[0] != 1 or weights.shape[3] != out_c or out_c % in_c:
        raise refuse(operator, f"weights {list(weights.shape)} do not fit {in_c} channels")
    dilation = int(operator.options.dilationHFactor), int(operator.options.dilationWFactor)
    stride_h, stride_w, top, left = _window(operator, source, out, (kernel_h, kernel_w), dilation)
    assert weights.values is not None
    flat = weights.values.reshape(-1, out_c).astype(np.int64)
    bias = bias_values(graph, operator, out_c)
    check_sums(operator, bias, flat.T)
    low, high = activation_range(operator, out)
    sizes = (in_h, in_w, in_c, out_h, out_w, out_c, kernel_h, kernel_w, stride_h, stride_w)
    tail = (out_c // in_c, top, left, source.zero_point, out.zero_point, low, high)
    return Step(
        operator=label(operator),
        kernel="depthwise",
        struct="em_depthwise_t",
        fields=(
            *map(str, (*sizes, *dilation, *tail)),
            *("{weights}", "{bias}", "{bias_folded}", _EM_SCALE),
        ),
        inputs=(source.index,),
        output=out.index,
        call="&{step}, {in0}, {out}",
        arrays=(
            Array("weights", weights.values.reshape(-1)),
            Array("bias", bias.astype(np.int32)),
            Array("bias_folded", (bias - source.zero_point * flat.sum(axis=0)).astype(np.int32)),
            *_scales(operator, source, weights, out, out_c, 3),
        ),
        macs=out_h * out_w * out_c * kernel_h * kernel_w,
        shape=out.shape,
    )


def fully_connected(graph: Graph, operator: Operator) -> Step:
    """FULLY_CONNECTED, per tensor or per channel."""
    source, out = tensor(graph, operator, 0), output(graph, operator)
    weights = constant_weights(graph, operator, 2)
    out_n, in_n = weights.shape
    if source.elements % in_n or out.elements != source.elements // in_n * out_n:
        raise refuse(operator, f"weights {list(weights.shape)} do not fit {list(source.shape)}")
    low, high = activation_range(operator, out)
    rows = source.elements // in_n
    step = _rows_times_input(
        operator,
        "fully_connected",
        (rows, in_n, out_n, out.zero_point, low, high),
        (source, weights, out),
        bias_values(graph, operator, out_n),
        _fully_connected_scales(operator, source, weights, out),
    )
    return replace(step, macs=rows * in_n * out_n)


def _fully_connected_scales(
    operator: Operator, source: Tensor, weights: Tensor, out: Tensor
) -> tuple[Array, ...]:
    scales = weight_scales(operator, weights, weights.shape[0], 0)
    if len(weights.scales) > 1:
        return _scales(operator, source, weights, out, weights.shape[0], 0)
    # The reference kernel multiplies the two scales in float32 here, unlike in convolutions.
    product = np.float32(source.scale) * np.float32(weights.scale)
    real: list[float] = [float(product) / out.scale] * weights.shape[0]
    factors: NDArray[np.float32] = fixed_point.xnnpack_scale(source.scale, scales, out.scale)
    return requantization(real, factors)


def pool(graph: Graph, operator: Operator) -> Step:
    """AVERAGE_POOL_2D and MAX_POOL_2D."""
    source, out = tensor(graph, operator, 0), output(graph, operator)
    if (source.scale, source.zero_point) != (out.scale, out.zero_point):
        raise refuse(operator, "input and output have different scales")
    in_h, in_w, channels = _picture(operator, source)
    out_h, out_w, _ = _picture(operator, out)
    kernel = int(operator.options.filterHeight), int(operator.options.filterWidth)
    stride_h, stride_w, top, left = _window(operator, source, out, kernel, (1, 1))
    low, high = activation_range(operator, out)
    maximum = int(operator.name == "MAX_POOL_2D")
    numbers = (in_h, in_w, channels, out_h, out_w, *kernel, stride_h, stride_w, top, left)
    return Step(
        operator=label(operator),
        kernel="pool",
        struct="em_pool_t",
        fields=tuple(map(str, (*numbers, low, high, maximum))),
        inputs=(source.index,),
        output=out.index,
        call="&{step}, {in0}, {out}",
        shape=out.shape,
    )
