"""Where each activation tensor lies in the arena: a static plan that reuses memory.

Greedy: buffers are placed one by one, largest first and in a few other orders, each at
the lowest offset that no buffer alive at the same time occupies. Not always optimal, so
the plan also states a lower bound: the most bytes that are alive at once.

A layer that is done with its input row by row may write its output over it: see `Leads`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

ALIGNMENT_BYTES = 16

Leads = Mapping[tuple[int, int], int]
"""(output, input) of a layer, both as positions among the buffers: the two may share memory, the output
beginning at least so many bytes before the input. Without an entry they may not."""


@dataclass(frozen=True)
class Buffer:
    """Alive from step `first` to step `last`, both included; -1 is before the first layer."""

    size_bytes: int
    first: int
    last: int


@dataclass(frozen=True)
class MemoryPlan:
    """`offsets` in bytes, one for each buffer, in the order they were given."""

    offsets: tuple[int, ...]
    peak_bytes: int
    lower_bound_bytes: int


def align(size_bytes: int) -> int:
    """`size_bytes` rounded up to the arena's alignment."""
    return -(-size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def overlap_in_time(a: Buffer, b: Buffer) -> bool:
    """Whether some step needs both."""
    return a.first <= b.last and b.first <= a.last


def plan_memory(buffers: Sequence[Buffer], leads: Leads | None = None) -> MemoryPlan:
    """Offsets for `buffers` such that none overlaps another while both are alive, but as `leads` allows.

    Orders that tend to do well are tried until one reaches the lower bound; the best result is taken.
    """
    leads = leads or {}
    indices = range(len(buffers))
    alive = [_bytes_alive(buffers, leads, buffer.first) for buffer in buffers]
    # The most bytes alive at once at any step that a buffer lives through.
    busiest = [max(alive[j] for j in indices if overlap_in_time(buffers[i], buffers[j])) for i in indices]
    orders = [
        sorted(indices, key=lambda i: (-buffers[i].size_bytes, buffers[i].first, i)),
        sorted(indices, key=lambda i: (buffers[i].first - buffers[i].last, -buffers[i].size_bytes, i)),
        sorted(indices, key=lambda i: (-busiest[i], -buffers[i].size_bytes, i)),
        sorted(indices, key=lambda i: (buffers[i].first, -buffers[i].size_bytes, i)),
    ]
    if leads:  # an output finds room below its input only where it is placed first
        orders += [
            sorted(indices, key=lambda i: (-buffers[i].first, -buffers[i].size_bytes, i)),
            sorted(indices, key=lambda i: (-buffers[i].size_bytes, -buffers[i].first, i)),
            sorted(indices, key=lambda i: (-busiest[i], -buffers[i].first, -buffers[i].size_bytes, i)),
        ]
    lower_bound_bytes = max(alive, default=0)
    best = _place(buffers, leads, orders[0])
    for order in orders[1:]:
        if best[0] == lower_bound_bytes:
            break
        best = min(best, _place(buffers, leads, order), key=lambda result: result[0])
    peak_bytes, offsets = best
    plan = MemoryPlan(tuple(offsets), peak_bytes, lower_bound_bytes)
    if leads:  # an output below its input can also stand in the way of what is placed next
        plain = replace(plan_memory(buffers), lower_bound_bytes=plan.lower_bound_bytes)
        plan = min(plan, plain, key=lambda each: each.peak_bytes)
    return plan


def _place(buffers: Sequence[Buffer], leads: Leads, order: Sequence[int]) -> tuple[int, list[int]]:
    """Peak and offsets when buffers are placed in `order`, each as low as it fits."""
    offsets = [0] * len(buffers)
    placed: list[int] = []
    peak_bytes = 0
    for index in order:
        neighbours = [other for other in placed if overlap_in_time(buffers[index], buffers[other])]
        offset = 0
        # Between the two of each pair, both excluded, `index` may not begin.
        for after, before in sorted(
            (
                offsets[other] - _distance(buffers, leads, index, other),
                offsets[other] + _distance(buffers, leads, other, index),
            )
            for other in neighbours
        ):
            if offset <= after:
                break
            offset = max(offset, before)
        offsets[index] = offset
        placed.append(index)
        peak_bytes = max(peak_bytes, offset + align(buffers[index].size_bytes))
    return peak_bytes, offsets


def _distance(buffers: Sequence[Buffer], leads: Leads, lower: int, upper: int) -> int:
    """From the beginning of one buffer to that of another that lies above it, at least."""
    return align(min(leads.get((lower, upper), buffers[lower].size_bytes), buffers[lower].size_bytes))


def _bytes_alive(buffers: Sequence[Buffer], leads: Leads, step: int) -> int:
    """Bytes of all buffers that `step` finds alive, what two of them may share counted once."""
    alive = {
        i: align(buffer.size_bytes) for i, buffer in enumerate(buffers) if buffer.first <= step <= buffer.last
    }
    shared = 0
    for lower, upper in leads:
        if lower in alive and upper in alive:
            together = max(alive[lower], _distance(buffers, leads, lower, upper) + alive[upper])
            shared += alive[lower] + alive[upper] - together
    return sum(alive.values()) - shared
