"""The arena planner: nothing alive together overlaps, whatever the lifetimes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from converters.firmware.plan import ALIGNMENT, Lifetime, plan_arena


@st.composite
def lifetimes(draw: st.DrawFn) -> list[Lifetime]:
    spans = draw(
        st.lists(
            st.tuples(st.integers(1, 5000), st.integers(-1, 12), st.integers(0, 6)),
            min_size=1,
            max_size=14,
        )
    )
    return [Lifetime(f"b{i}", size, first, first + n) for i, (size, first, n) in enumerate(spans)]


@given(lifetimes())
def test_buffers_alive_together_never_share_bytes(buffers: list[Lifetime]) -> None:
    plan = plan_arena(buffers)
    for a in buffers:
        start = plan.offsets[a.name]
        assert start % ALIGNMENT == 0
        assert start + a.size_bytes <= plan.arena_bytes
        for b in buffers:
            if a is not b and a.overlaps(b):
                other = plan.offsets[b.name]
                assert start + a.size_bytes <= other or other + b.size_bytes <= start


@given(lifetimes())
def test_the_arena_is_between_the_floor_and_no_reuse(buffers: list[Lifetime]) -> None:
    plan = plan_arena(buffers)
    aligned = [-(-b.size_bytes // ALIGNMENT) * ALIGNMENT for b in buffers]
    assert plan.floor_bytes <= plan.arena_bytes <= sum(aligned)


def test_a_chain_of_layers_needs_only_its_two_largest_neighbours() -> None:
    sizes = [6912, 9216, 9216, 18432, 4608, 6912, 96]
    chain = [Lifetime(f"t{i}", size, i - 1, i) for i, size in enumerate(sizes)]
    plan = plan_arena(chain)
    assert plan.arena_bytes == plan.floor_bytes == 9216 + 18432
