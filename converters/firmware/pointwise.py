"""Lowers what is not a layer with weights: add, mean, reshape, tables and softmax."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from converters.firmware import fixed_point
from converters.firmware.steps import (
    Array,
    Step,
    activation_range,
    label,
    output,
    refuse,
    tensor,
)
from converters.tflite_graph import Graph, Operator, Tensor


def add(graph: Graph, operator: Operator) -> Step:
    """ADD of two tensors of equal shape; one may be a constant."""
    a, b, out = tensor(graph, operator, 0), tensor(graph, operator, 1), output(graph, operator)
    if a.shape != b.shape or a.shape != out.shape:
        raise refuse(operator, f"broadcasts {list(a.shape)} and {list(b.shape)}: not supported")
    if a.values is not None:
        a, b = b, a
    if a.values is not None:
        raise refuse(operator, "both inputs are constants")
    low, high = activation_range(operator, out)
    constant = b.values is not None
    arrays = () if b.values is None else (Array("constant", b.values.reshape(-1)),)
    fields = (out.elements, a.zero_point, b.zero_point, out.zero_point, low, high)
    return Step(
        operator=label(operator),
        kernel="add",
        struct="em_add_t",
        fields=(*map(str, fields), *_add_rounding(operator, a, b, out)),
        inputs=(a.index,) if constant else (a.index, b.index),
        output=out.index,
        call="&{step}, {in0}, {constant}, {out}" if constant else "&{step}, {in0}, {in1}, {out}",
        arrays=arrays,
        in_place=True,
        shape=out.shape,
    )


def _add_rounding(operator: Operator, a: Tensor, b: Tensor, out: Tensor) -> tuple[str, ...]:
    """The initializers of both rounding modes, divided by a preprocessor line."""
    twice = 2.0 * max(a.scale, b.scale)
    real = (a.scale / twice, b.scale / twice, twice / ((1 << 20) * out.scale))
    pairs = [fixed_point.quantize_multiplier(value) for value in real]
    if not (real[2] < 1.0 and pairs[2][1] <= 0):
        raise refuse(operator, f"output scale {out.scale} is too small for its inputs")
    # XNNPACK: the larger factor becomes an integer in [2**20, 2**21).
    ratios = [np.float32(x.scale) / np.float32(out.scale) for x in (a, b)]
    exponent = math.frexp(float(max(ratios)))[1] - 1
    shift = 20 - exponent
    if not (12 <= shift < 31):
        raise refuse(operator, f"output scale {out.scale} is too far from its inputs'")
    factors = [round(math.ldexp(float(ratio), shift)) for ratio in ratios]
    bias = (1 << (shift - 1)) - factors[0] * a.zero_point - factors[1] * b.zero_point
    reference = (*(str(m) for m, _ in pairs), *(str(s) for _, s in pairs))
    return ("#0", *reference, "#1", *map(str, (*factors, bias, shift)), "#end")


def mean(graph: Graph, operator: Operator) -> Step:
    """MEAN over height and width."""
    source, axes, out = (
        tensor(graph, operator, 0),
        tensor(graph, operator, 1),
        output(graph, operator),
    )
    if axes.values is None or len(source.shape) != 4 or source.shape[0] != 1:
        raise refuse(operator, f"expected a mean over [1, H, W, C], got {list(source.shape)}")
    reduced = sorted(int(axis) % 4 for axis in axes.values.reshape(-1))
    if reduced != [1, 2]:
        raise refuse(operator, f"expected the mean over axes [1, 2], got {reduced}")
    pixels, channels = source.shape[1] * source.shape[2], source.shape[3]
    multiplier, shift = fixed_point.quantize_multiplier(source.scale / out.scale)
    # The reference kernel folds 1 / pixels into the multiplier.
    extra = min(pixels.bit_length() - 1, 32, 31 + shift)
    multiplier, shift = (multiplier << extra) // pixels, shift - extra
    factor = np.float32(source.scale) / np.float32(out.scale) / np.float32(pixels)
    offset = np.float32(out.zero_point) - factor * np.float32(source.zero_point * pixels)
    reference = (source.zero_point * pixels, multiplier, shift, out.zero_point)
    return Step(
        operator=label(operator),
        kernel="mean",
        struct="em_mean_t",
        fields=(
            *(str(pixels), str(channels), "#0", *map(str, reference)),
            *("#1", float_literal(factor), float_literal(offset), "#end"),
        ),
        inputs=(source.index,),
        output=out.index,
        call="&{step}, {in0}, {out}",
        shape=out.shape,
    )


def float_literal(value: np.float32) -> str:
    """A C99 hexadecimal constant: exactly this float32."""
    return float(value).hex() + "f"


def reshape(graph: Graph, operator: Operator) -> Step:
    """RESHAPE and other operators that leave every byte where it is."""
    source, out = tensor(graph, operator, 0), output(graph, operator)
    if source.elements != out.elements:
        raise refuse(operator, f"{list(source.shape)} does not become {list(out.shape)}")
    return Step(
        operator=label(operator),
        kernel="",
        struct="",
        fields=(),
        inputs=(source.index,),
        output=out.index,
        call="",
        alias=True,
        shape=out.shape,
    )


def _table(
    operator: Operator,
    source: Tensor,
    out: Tensor,
    reference: NDArray[np.int8],
    xnnpack: NDArray[np.int8],
) -> Step:
    identity = np.arange(-128, 128)
    alias = bool((reference == identity).all() and (xnnpack == identity).all())
    if (reference == xnnpack).all():
        arrays: tuple[Array, ...] = (Array("table", reference),)
    else:
        arrays = (Array("table", reference, 0), Array("table", xnnpack, 1))
    return Step(
        operator=label(operator),
        kernel="" if alias else "table",
        struct="",
        fields=(),
        inputs=(source.index,),
        output=out.index,
        call="{table}, " + f"{out.elements}, " + "{in0}, {out}",
        arrays=() if alias else arrays,
        in_place=True,
        alias=alias,
        shape=out.shape,
    )


def logistic(graph: Graph, operator: Operator) -> Step:
    """LOGISTIC as a table of 256 bytes."""
    source, out = tensor(graph, operator, 0), output(graph, operator)
    _expect_probability(operator, out)
    return _table(
        operator,
        source,
        out,
        fixed_point.logistic_table(source.scale, source.zero_point),
        fixed_point.float_logistic_table(source.scale, source.zero_point),
    )


def requantize(graph: Graph, operator: Operator) -> Step:
    """QUANTIZE from int8 to int8."""
    source, out = tensor(graph, operator, 0), output(graph, operator)
    scales = (source.scale, source.zero_point, out.scale, out.zero_point)
    return _table(
        operator,
        source,
        out,
        fixed_point.requantize_table(*scales),
        fixed_point.xnnpack_requantize_table(*scales),
    )


def scale_by(graph: Graph, operator: Operator) -> Step:
    """MUL by one constant number, as a 1/255 behind the input is."""
    source, factor = tensor(graph, operator, 0), tensor(graph, operator, 1)
    if source.values is not None:
        source, factor = factor, source
    out = output(graph, operator)
    if factor.values is None or factor.elements != 1:
        raise refuse(operator, "only a multiplication by one constant number is supported")
    low, high = activation_range(operator, out)
    k = int(factor.values.reshape(-1)[0]) - factor.zero_point
    products = (np.arange(-128, 128) - source.zero_point) * k
    real = np.float32(source.scale) * np.float32(factor.scale) / np.float32(out.scale)
    multiplier, shift = fixed_point.quantize_multiplier(float(real))
    exact = [fixed_point.multiply_by_quantized(int(p), multiplier, shift) for p in products]
    single = np.rint(products.astype(np.float32) * real)
    return _table(
        operator,
        source,
        out,
        np.clip(np.array(exact) + out.zero_point, low, high).astype(np.int8),
        np.clip(single + out.zero_point, low, high).astype(np.int8),
    )


def softmax(graph: Graph, operator: Operator) -> Step:
    """SOFTMAX over the last axis."""
    source, out = tensor(graph, operator, 0), output(graph, operator)
    _expect_probability(operator, out)
    depth = source.shape[-1] if source.shape else 1
    table = fixed_point.softmax_table(source.scale, float(operator.options.beta))
    return Step(
        operator=label(operator),
        kernel="softmax",
        struct="",
        fields=(),
        inputs=(source.index,),
        output=out.index,
        call="{exp_table}, " + f"{out.elements // depth}, {depth}, " + "{in0}, {out}",
        arrays=(Array("exp_table", table),),
        in_place=True,
        shape=out.shape,
    )


def _expect_probability(operator: Operator, out: Tensor) -> None:
    if not (abs(out.scale - 1 / 256) < 1e-9 and out.zero_point == -128):
        raise refuse(operator, f"expected output scale 1/256 and zero point -128, got {out.scale}")
