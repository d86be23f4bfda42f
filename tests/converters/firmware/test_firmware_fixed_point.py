"""The fixed-point arithmetic against exact rational numbers."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from converters.firmware import fixed_point

_REAL = st.floats(1e-8, 60.0, allow_nan=False, allow_infinity=False)


@given(_REAL)
def test_a_multiplier_is_the_real_factor_to_31_bits(real: float) -> None:
    multiplier, shift = fixed_point.quantize_multiplier(real)
    assert 1 << 30 <= multiplier < 1 << 31
    value = Fraction(multiplier, 1 << 31) * Fraction(2) ** shift
    assert abs(value / Fraction(real) - 1) <= Fraction(1, 1 << 31)


@given(st.integers(-(1 << 28), 1 << 28), st.floats(1e-5, 0.99))
def test_a_product_is_within_two_roundings(value: int, real: float) -> None:
    multiplier, shift = fixed_point.quantize_multiplier(real)
    exact = value * Fraction(multiplier, 1 << 31) * Fraction(2) ** shift
    got = fixed_point.multiply_by_quantized(value, multiplier, shift)
    assert abs(got - exact) <= 1
    opposite = fixed_point.multiply_by_quantized(-value, multiplier, shift)
    assert abs(got + opposite) <= 1


@given(st.integers(-(1 << 31), 0))
def test_exp_is_right_to_a_millionth(a: int) -> None:
    got = fixed_point.exp_on_negative(a, 5) / (1 << 31)
    assert abs(got - np.exp(a / (1 << 26))) < 1e-6


@given(st.integers(0, (1 << 31) - 1))
def test_reciprocal_is_right_to_a_millionth(a: int) -> None:
    got = fixed_point.reciprocal_of_one_plus(a) / (1 << 31)
    assert abs(got - 1 / (1 + a / (1 << 31))) < 1e-6


@given(st.floats(0.002, 0.3), st.integers(-128, 127))
def test_both_logistic_tables_rise_and_agree_to_a_step(scale: float, zero_point: int) -> None:
    fixed = fixed_point.logistic_table(float(np.float32(scale)), zero_point).astype(int)
    single = fixed_point.float_logistic_table(float(np.float32(scale)), zero_point).astype(int)
    assert (np.diff(fixed) >= 0).all()
    assert np.abs(fixed - single).max() <= 1
