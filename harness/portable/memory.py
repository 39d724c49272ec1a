"""Where each activation tensor lies in the arena: a static plan that reuses memory.

Greedy by size: the largest buffer first, each at the lowest offset that no buffer
alive at the same time occupies. Not optimal, so the plan also states a lower bound:
the most bytes that are alive at once.
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
    """Offsets for `buffers` such that none overlaps another while both are alive."""
    offsets = [0] * len(buffers)
    placed: list[int] = []
    for index in sorted(range(len(buffers)), key=lambda i: (-buffers[i].size_bytes, buffers[i].first, i)):
        buffer = buffers[index]
        offset = 0
        neighbours = [other for other in placed if overlap_in_time(buffer, buffers[other])]
        for other in sorted(neighbours, key=lambda i: offsets[i]):
            if offsets[other] - offset >= align(buffer.size_bytes):
                break
            offset = max(offset, offsets[other] + align(buffers[other].size_bytes))
        offsets[index] = offset
        placed.append(index)
    ends = (offset + align(buffer.size_bytes) for offset, buffer in zip(offsets, buffers, strict=True))
    return MemoryPlan(tuple(offsets), max(ends, default=0), _lower_bound(buffers))


def _lower_bound(buffers: Sequence[Buffer]) -> int:
    """Bytes alive at the busiest step; it is one at which some buffer begins."""
    return max(
        (
            sum(align(other.size_bytes) for other in buffers if other.first <= buffer.first <= other.last)
            for buffer in buffers
        ),
        default=0,
    )
