"""Packs the tensors of a graph, each with its lifetime, into one static arena."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

# Word loads of the Arm DSP path are fastest on aligned data.
ALIGNMENT = 4


@dataclass(frozen=True)
class Lifetime:
    """A buffer that must keep its bytes from step ``first`` to step ``last``, both included."""

    name: str
    size_bytes: int
    first: int
    last: int

    def overlaps(self, other: Lifetime) -> bool:
        """Whether both are alive at some step."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Plan:
    """Where each buffer lies.

    Attributes:
        offsets: buffer name -> byte offset, a multiple of ``ALIGNMENT``.
        arena_bytes: size of the arena.
        floor_bytes: the largest sum of buffers alive at one step; no plan is smaller.
    """

    offsets: Mapping[str, int]
    arena_bytes: int
    floor_bytes: int


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _place(order: Iterable[Lifetime]) -> tuple[dict[str, int], int]:
    """Puts each buffer, in the given order, at the lowest offset that is free over its lifetime."""
    placed: list[tuple[int, Lifetime]] = []
    offsets: dict[str, int] = {}
    top = 0
    for buffer in order:
        offset = 0
        for start, other in sorted(placed, key=lambda item: item[0]):
            if not buffer.overlaps(other):
                continue
            if offset + _aligned(buffer.size_bytes) <= start:
                break
            offset = max(offset, start + _aligned(other.size_bytes))
        placed.append((offset, buffer))
        offsets[buffer.name] = offset
        top = max(top, offset + _aligned(buffer.size_bytes))
    return offsets, top


def plan_arena(buffers: Sequence[Lifetime]) -> Plan:
    """The smallest of several greedy packings; deterministic."""
    floor = max(
        (
            sum(_aligned(b.size_bytes) for b in buffers if b.first <= step <= b.last)
            for step in {b.first for b in buffers}
        ),
        default=0,
    )
    orders = [
        sorted(buffers, key=lambda b: (-b.size_bytes, b.first, b.name)),
        sorted(buffers, key=lambda b: (b.first, -b.size_bytes, b.name)),
        sorted(buffers, key=lambda b: (-b.last, -b.size_bytes, b.name)),
        sorted(buffers, key=lambda b: (-b.size_bytes * (b.last - b.first + 1), b.first, b.name)),
    ]
    # A buffer next to the step where memory peaks first: it meets the floor in a chain of layers.
    peak = max(
        range(-1, max((b.last for b in buffers), default=0) + 1),
        key=lambda step: sum(b.size_bytes for b in buffers if b.first <= step <= b.last),
    )
    orders.append(
        sorted(
            buffers,
            key=lambda b: (max(b.first - peak, peak - b.last, 0), -b.size_bytes, b.first, b.name),
        )
    )
    offsets, top = min((_place(order) for order in orders), key=lambda result: result[1])
    return Plan(offsets, top, floor)
