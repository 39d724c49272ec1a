"""Where each activation tensor lies in the arena: a static plan that reuses memory.

Greedy: buffers are placed one by one, largest first and in a few other orders, each at
the lowest offset that no buffer alive at the same time occupies. Not always optimal, so
the plan also states a lower bound: the most bytes that are alive at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ALIGNMENT_BYTES = 16


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


def plan_memory(buffers: Sequence[Buffer]) -> MemoryPlan:
    """Offsets for `buffers` such that none overlaps another while both are alive.

    Each order that tends to do well is tried, the best result taken.
    """
    indices = range(len(buffers))
    alive = [_bytes_alive(buffers, buffer.first) for buffer in buffers]
    # The most bytes alive at once at any step that a buffer lives through.
    busiest = [max(alive[j] for j in indices if overlap_in_time(buffers[i], buffers[j])) for i in indices]
    orders = (
        sorted(indices, key=lambda i: (-buffers[i].size_bytes, buffers[i].first, i)),
        sorted(indices, key=lambda i: (buffers[i].first - buffers[i].last, -buffers[i].size_bytes, i)),
        sorted(indices, key=lambda i: (-busiest[i], -buffers[i].size_bytes, i)),
        sorted(indices, key=lambda i: (buffers[i].first, -buffers[i].size_bytes, i)),
    )
    peak_bytes, offsets = min((_place(buffers, order) for order in orders), key=lambda placed: placed[0])
    return MemoryPlan(tuple(offsets), peak_bytes, max(alive, default=0))


def _place(buffers: Sequence[Buffer], order: Sequence[int]) -> tuple[int, list[int]]:
    """Peak and offsets when buffers are placed in `order`, each as low as it fits."""
    offsets = [0] * len(buffers)
    placed: list[int] = []
    peak_bytes = 0
    for index in order:
        size_bytes = align(buffers[index].size_bytes)
        offset = 0
        neighbours = [other for other in placed if overlap_in_time(buffers[index], buffers[other])]
        for other in sorted(neighbours, key=lambda i: offsets[i]):
            if offsets[other] - offset >= size_bytes:
                break
            offset = max(offset, offsets[other] + align(buffers[other].size_bytes))
        offsets[index] = offset
        placed.append(index)
        peak_bytes = max(peak_bytes, offset + size_bytes)
    return peak_bytes, offsets


def _bytes_alive(buffers: Sequence[Buffer], step: int) -> int:
    """Bytes of all buffers that `step` finds alive."""
    return sum(align(buffer.size_bytes) for buffer in buffers if buffer.first <= step <= buffer.last)
