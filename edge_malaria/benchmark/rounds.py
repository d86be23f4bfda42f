"""Timing that holds on a machine that does other things too: rounds in which everybody has a turn.

Each round runs every contestant once, in an order that moves by one from round to round, so that a
slow moment hits all alike. Ratios are taken within a round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_malaria.records import expect

WARM_UPS = 2


@dataclass(frozen=True, eq=False)
class Timing:
    """What one contestant needed.

    Attributes:
        seconds: wall time of each round, float64 [R].
        items: things done in one run (cells, fields).
    """

    seconds: NDArray[np.float64]
    items: int

    def __post_init__(self) -> None:
        expect(self.items >= 1, "at least one item", self.items)
        expect(len(self.seconds) >= 1, "at least one round", len(self.seconds))

    @property
    def median_us(self) -> float:
        """Microseconds an item, median of the rounds."""
        return float(np.median(self.seconds)) * 1e6 / self.items

    @property
    def p95_us(self) -> float:
        """Microseconds an item, 95th percentile of the rounds."""
        return float(np.percentile(self.seconds, 95)) * 1e6 / self.items

    @property
    def fastest_us(self) -> float:
        """Microseconds an item in the fastest round: what the machine can do when left alone."""
        return float(self.seconds.min()) * 1e6 / self.items

    @property
    def spread(self) -> float:
        """Interquartile range over median, a fraction: how far single rounds can be trusted."""
        low, middle, high = np.percentile(self.seconds, [25, 50, 75])
        return float((high - low) / middle)


def interleaved(
    runs: Mapping[str, tuple[Callable[[], object], int]],
    rounds: int,
    step: Callable[[], None] = lambda: None,
) -> dict[str, Timing]:
    """Times contestants against each other.

    Args:
        runs: name -> (what to run, how many items one run does).
        rounds: how often each runs, after two runs that are not timed.
        step: called after each timed run.

    Returns:
        name -> its times.
    """
    expect(rounds >= 1, "at least one round", rounds)
    names = list(runs)
    times: dict[str, list[float]] = {name: [] for name in names}
    for name in names:
        for _ in range(WARM_UPS):
            runs[name][0]()
    for number in range(rounds):
        shift = number % len(names) if names else 0
        for name in names[shift:] + names[:shift]:
            start = time.perf_counter()
            runs[name][0]()
            times[name].append(time.perf_counter() - start)
            step()
    return {name: Timing(np.array(times[name]), runs[name][1]) for name in names}


def ratio(slow: Timing, fast: Timing) -> float:
    """How many times longer ``slow`` takes an item than ``fast``: median of the rounds' ratios."""
    own, other = slow.seconds / slow.items, fast.seconds / fast.items
    count = min(len(own), len(other))
    return float(np.median(own[:count] / other[:count]))
