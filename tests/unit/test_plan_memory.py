"""The memory planner: no two living buffers share a byte, and the stated figures are true."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.portable.memory import ALIGNMENT_BYTES, Buffer, align, overlap_in_time, plan_memory

unhurried = settings(deadline=None)


@st.composite
def buffers(draw: st.DrawFn) -> list[Buffer]:
    def one() -> Buffer:
        first = draw(st.integers(-1, 20))
        return Buffer(draw(st.integers(1, 5000)), first, first + draw(st.integers(0, 8)))

    return [one() for _ in range(draw(st.integers(0, 24)))]


@unhurried
@given(buffers())
def test_living_buffers_never_overlap(buffers: list[Buffer]) -> None:
    plan = plan_memory(buffers)
    for (a, at), (b, bt) in itertools.combinations(zip(buffers, plan.offsets, strict=True), 2):
        if overlap_in_time(a, b):
            assert at + a.size_bytes <= bt or bt + b.size_bytes <= at


@unhurried
@given(buffers())
def test_figures(buffers: list[Buffer]) -> None:
    plan = plan_memory(buffers)
    ends = [at + align(b.size_bytes) for b, at in zip(buffers, plan.offsets, strict=True)]
    assert plan.peak_bytes == max(ends, default=0)
    assert plan.lower_bound_bytes <= plan.peak_bytes <= sum(align(b.size_bytes) for b in buffers)
    assert all(offset % ALIGNMENT_BYTES == 0 for offset in plan.offsets)


@unhurried
@given(buffers())
def test_lower_bound_is_what_is_alive_at_the_busiest_step(buffers: list[Buffer]) -> None:
    steps = range(-1, 30)
    alive = [sum(align(b.size_bytes) for b in buffers if b.first <= step <= b.last) for step in steps]
    assert plan_memory(buffers).lower_bound_bytes == max(alive)


def test_a_chain_needs_its_two_largest_neighbours() -> None:
    sizes = [784, 6272, 1568, 3136, 784]
    chain = [Buffer(size, step - 1, step) for step, size in enumerate(sizes)]
    plan = plan_memory(chain)
    assert plan.peak_bytes == plan.lower_bound_bytes == 6272 + 1568
