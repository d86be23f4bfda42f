"""The fixed-point arithmetic that int8 .tflite files are defined by, for the C generator.

Multipliers and tables are computed here once, so that the C file needs no exponential function.
The arithmetic is that of the TensorFlow Lite reference kernels (gemmlowp fixed point) on one side
and XNNPACK's single-precision requantization on the other.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_INT32_MAX = (1 << 31) - 1
_INT32_MIN = -(1 << 31)


def quantize_multiplier(real: float) -> tuple[int, int]:
    """A positive real factor as (multiplier, shift): real = multiplier / 2**31 * 2**shift.

    Returns:
        multiplier: 0 or in [2**30, 2**31); shift: > 0 shifts left, < 0 right; (0, 0) below 2**-32.
    """
    if real == 0.0:
        return 0, 0
    mantissa, shift = math.frexp(real)
    # C's round(): halves away from zero; Python's round() would go to even.
    multiplier = math.floor(mantissa * (1 << 31) + 0.5)
    if multiplier == 1 << 31:
        multiplier //= 2
        shift += 1
    if shift < -31:
        return 0, 0
    return multiplier, shift


def doubling_high_multiply(a: int, b: int) -> int:
    """round(a * b / 2**31), saturating: the product of two Q0.31 numbers."""
    if a == _INT32_MIN and b == _INT32_MIN:
        return _INT32_MAX
    return (a * b + (1 << 30)) >> 31


def rounding_shift_right(value: int, exponent: int) -> int:
    """round(value / 2**exponent), halves away from zero."""
    if exponent == 0:
        return value
    return (value + (1 << (exponent - 1)) - (1 if value < 0 else 0)) >> exponent


def multiply_by_quantized(value: int, multiplier: int, shift: int) -> int:
    """value * multiplier / 2**31 * 2**shift with the reference kernels' two roundings."""
    left, right = max(shift, 0), max(-shift, 0)
    return rounding_shift_right(doubling_high_multiply(value << left, multiplier), right)


def _saturating_shift_left(value: int, exponent: int) -> int:
    return min(max(value << exponent, _INT32_MIN), _INT32_MAX)


def _exp_last_quarter(a: int) -> int:
    """exp of a Q0.31 number in [-1/4, 0): a Taylor series around -1/8."""
    x = a + (1 << 28)
    x2 = doubling_high_multiply(x, x)
    x3 = doubling_high_multiply(x2, x)
    x4_over_4 = rounding_shift_right(doubling_high_multiply(x2, x2), 2)
    one_third = 715827883
    tail = rounding_shift_right(doubling_high_multiply(x4_over_4 + x3, one_third) + x2, 1)
    exp_of_minus_eighth = 1895147668
    return exp_of_minus_eighth + doubling_high_multiply(exp_of_minus_eighth, x + tail)


# exp(-2**k) as Q0.31 for k = -2 ... 4.
_EXP_OF_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)


def exp_on_negative(a: int, integer_bits: int) -> int:
    """exp of a fixed-point number <= 0 with ``integer_bits`` integer bits, as Q0.31."""
    if a == 0:
        return _INT32_MAX
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    last = (a & (quarter - 1)) - quarter
    result = _exp_last_quarter(_saturating_shift_left(last, integer_bits))
    remainder = last - a
    for power, factor in zip(range(-2, 5), _EXP_OF_POWERS, strict=True):
        if integer_bits > power and remainder & (1 << (fraction_bits + power)):
            result = doubling_high_multiply(result, factor)
    return result


def reciprocal_of_one_plus(a: int) -> int:
    """1 / (1 + a) of a Q0.31 number in [0, 1), as Q0.31: three Newton-Raphson steps."""
    total = a + _INT32_MAX
    half_denominator = (total + (1 if total >= 0 else -1)) // 2
    x = 1515870810 + doubling_high_multiply(half_denominator, -1010580540)
    for _ in range(3):
        one_minus = (1 << 29) - doubling_high_multiply(half_denominator, x)
        x += _saturating_shift_left(doubling_high_multiply(x, one_minus), 2)
    return _saturating_shift_left(x, 1)


def logistic_table(scale: float, zero_point: int) -> NDArray[np.int8]:
    """The reference kernel's int8 logistic for all 256 inputs; output scale 1/256, zero point -128.

    Args:
        scale: the input's scale (float32 value).
        zero_point: the input's zero point.

    Returns:
        int8 [256], indexed by input + 128.
    """
    integer_bits = 4
    multiplier, shift = quantize_multiplier(scale * (1 << (31 - integer_bits)))
    radius_real = ((1 << integer_bits) - 1) * (1 << (31 - integer_bits)) / (1 << shift)
    radius = math.floor(radius_real)
    table = np.empty(256, np.int8)
    for index in range(256):
        centred = index - 128 - zero_point
        if centred <= -radius:
            table[index] = -128
        elif centred >= radius:
            table[index] = 127
        else:
            value = multiply_by_quantized(centred, multiplier, shift)
            table[index] = _logistic(value, integer_bits)
    return table


def _logistic(value: int, integer_bits: int) -> int:
    if value == 0:
        probability = 1 << 30
    else:
        positive = reciprocal_of_one_plus(exp_on_negative(-abs(value), integer_bits))
        probability = positive if value > 0 else _INT32_MAX - positive
    return max(min(rounding_shift_right(probability, 23) - 128, 127), -128)


def float_logistic_table(scale: float, zero_point: int) -> NDArray[np.int8]:
    """XNNPACK's int8 logistic for all 256 inputs; output scale 1/256, zero point -128."""
    x = (np.arange(-128, 128) - zero_point).astype(np.float32) * np.float32(scale)
    y = np.rint(np.float32(256) / (np.float32(1) + np.exp(-x))) - 128
    return np.asarray(np.clip(y, -128, 127), np.int8)


def requantize_table(
    scale: float, zero_point: int, out_scale: float, out_zero_point: int
) -> NDArray[np.int8]:
    """The reference kernel's int8 -> int8 requantization for all 256 inputs."""
    multiplier, shift = quantize_multiplier(float(scale) / float(out_scale))
    values = [multiply_by_quantized(q - zero_point, multiplier, shift) for q in range(-128, 128)]
    return np.asarray(np.clip(np.array(values) + out_zero_point, -128, 127), np.int8)


def xnnpack_requantize_table(
    scale: float, zero_point: int, out_scale: float, out_zero_point: int
) -> NDArray[np.int8]:
    """XNNPACK's int8 -> int8 requantization (an 8-bit multiplier) for all 256 inputs."""
    factor = np.float32(256) * (np.float32(scale) / np.float32(out_scale))
    multiplier = int(np.rint(factor))
    bias = (out_zero_point << 8) - multiplier * zero_point + 0x80
    values = (np.arange(-128, 128) * multiplier + bias) >> 8
    return np.asarray(np.clip(values, -128, 127), np.int8)


def softmax_table(scale: float, beta: float) -> NDArray[np.int32]:
    """exp(-beta * scale * d) as Q0.31 for d = 0 ... 255 steps below the row's maximum.

    A difference that the reference kernel leaves out of its sum is stored as -1.

    Returns:
        int32 [256].
    """
    integer_bits = 5
    real = min(beta * scale * (1 << (31 - integer_bits)), float(_INT32_MAX))
    multiplier, shift = quantize_multiplier(real)
    radius = math.floor(((1 << integer_bits) - 1) * (1 << (31 - integer_bits)) / 2.0**shift)
    table = np.full(256, -1, np.int32)
    for steps in range(256):
        if steps <= radius:
            value = multiply_by_quantized(-steps, multiplier, shift)
            table[steps] = exp_on_negative(value, integer_bits)
    return table


def xnnpack_scale(
    input_scale: float, weight_scales: NDArray[np.float32], out_scale: float
) -> NDArray[np.float32]:
    """XNNPACK's per-channel requantization factor, in its order of float32 operations."""
    product = np.float32(input_scale) * weight_scales.astype(np.float32)
    return np.asarray(product / np.float32(out_scale), np.float32)
