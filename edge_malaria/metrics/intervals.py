"""Intervals of a share, and exact tests of two shares and of two paired classifiers."""

from __future__ import annotations

import math
from statistics import NormalDist

from edge_malaria.records import Interval, expect


def wilson_interval(hits: int, n: int, level: float = 0.95) -> Interval | None:
    """Wilson score interval of a share (Wilson 1927); None with n = 0."""
    expect(0 <= hits <= n, f"hits between 0 and {n}", hits)
    if n == 0:
        return None
    z = NormalDist().inv_cdf(0.5 + level / 2.0)
    share, z2 = hits / n, z * z
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    low = 0.0 if hits == 0 else max(0.0, centre - half)
    return low, 1.0 if hits == n else min(1.0, centre + half)


def _beta_fraction(a: float, b: float, x: float) -> float:
    # Continued fraction of the incomplete beta function by the modified Lentz method
    # (NIST DLMF 8.17.22); converges in O(sqrt(max(a, b))) steps for x < (a + 1) / (a + b + 2).
    tiny = 1e-300
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > tiny else tiny)
    value = d
    for m in range(1, 100_000):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 + numerator * d
            d = 1.0 / (d if abs(d) > tiny else tiny)
            c = 1.0 + numerator / c
            c = c if abs(c) > tiny else tiny
            value *= c * d
        if abs(c * d - 1.0) < 1e-15:
            return value
    raise ArithmeticError(f"incomplete beta did not converge for a={a}, b={b}, x={x}")


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Regularised incomplete beta function I_x(a, b) for a, b > 0 and 0 <= x <= 1."""
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _beta_fraction(a, b, x) / a
    return 1.0 - front * _beta_fraction(b, a, 1.0 - x) / b


def _beta_quantile(a: float, b: float, share: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(200):
        middle = (low + high) / 2.0
        if middle in (low, high):
            break
        if incomplete_beta(a, b, middle) < share:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0


def clopper_pearson_interval(hits: int, n: int, level: float = 0.95) -> Interval | None:
    """Exact interval of a share (Clopper and Pearson 1934); None with n = 0."""
    expect(0 <= hits <= n, f"hits between 0 and {n}", hits)
    if n == 0:
        return None
    tail = (1.0 - level) / 2.0
    low = 0.0 if hits == 0 else _beta_quantile(hits, n - hits + 1, tail)
    high = 1.0 if hits == n else _beta_quantile(hits + 1, n - hits, 1.0 - tail)
    return low, high


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Two-sided exact McNemar p-value of two paired classifiers.

    Args:
        only_first: cells that only the first classifier decides rightly.
        only_second: cells that only the second decides rightly.

    Returns:
        2 P(X <= min) under Binomial(b + c, 1/2), at most 1; 1.0 without discordant cells.
    """
    expect(min(only_first, only_second) >= 0, "counts >= 0", (only_first, only_second))
    n, k = only_first + only_second, min(only_first, only_second)
    if only_first == only_second:
        return 1.0
    return min(1.0, 2.0 * incomplete_beta(n - k, k + 1, 0.5))


def fisher_exact(first_hits: int, first: int, second_hits: int, second: int) -> float:
    """One-sided exact p-value that two shares are equal (Fisher 1935).

    Args:
        first_hits: of the first group.
        first: its size.
        second_hits: of the second group.
        second: its size.

    Returns:
        The chance that, with the hits dealt out at random, the first group has so many or more;
        1.0 where a group is empty.
    """
    expect(0 <= first_hits <= first, f"hits between 0 and {first}", first_hits)
    expect(0 <= second_hits <= second, f"hits between 0 and {second}", second_hits)
    hits = first_hits + second_hits
    most = min(hits, first)
    ways = sum(
        math.comb(first, k) * math.comb(second, hits - k) for k in range(first_hits, most + 1)
    )
    return ways / math.comb(first + second, hits)
