"""RAM by its regions: where blocks that live together lie in a heap that is not one piece.

A chip's free RAM is several regions with gaps between them, so a network may need less than there is and
still not fit. Arithmetic only; what lives when is the plan's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.portable.memory import Buffer, align, overlap_in_time

BLOCK_OVERHEAD_BYTES = 16
"""Of a heap block: its header, and what an aligned address costs."""


@dataclass(frozen=True)
class Placement:
    """`used` per region at its fullest. `lost`: the first block that found no room; `gap_bytes`: the largest
    gap there was for it, its overhead taken off, beside what `alive` says was in use, per region.
    """

    used: tuple[int, ...]
    lost: Buffer | None = None
    gap_bytes: int = 0
    alive: tuple[int, ...] = ()


def place(buffers: Sequence[Buffer], regions: Sequence[int]) -> Placement:
    """Allocates each buffer when its first step begins and frees it after its last, as firmware does.

    A block goes to the first region with a gap for it, at the lowest address there.
    """
    held: list[list[tuple[Buffer, int]]] = [[] for _ in regions]
    used = [0] * len(regions)
    for buffer in sorted(buffers, key=lambda each: each.first):
        size = _taken(buffer)
        gaps = [_gaps(buffer, room, blocks) for room, blocks in zip(regions, held, strict=True)]
        found = next(((i, at) for i, free in enumerate(gaps) for at, width in free if width >= size), None)
        if found is None:
            widest = max((width for free in gaps for _, width in free), default=0)
            alive = (
                sum(_taken(other) for other, _ in blocks if overlap_in_time(buffer, other)) for blocks in held
            )
            return Placement(tuple(used), buffer, max(widest - BLOCK_OVERHEAD_BYTES, 0), tuple(alive))
        region, offset = found
        held[region].append((buffer, offset))
        used[region] = max(used[region], offset + size)
    return Placement(tuple(used))


def _taken(buffer: Buffer) -> int:
    return align(buffer.size_bytes) + BLOCK_OVERHEAD_BYTES


def _gaps(buffer: Buffer, room: int, blocks: Sequence[tuple[Buffer, int]]) -> list[tuple[int, int]]:
    """Offset and width of each piece of a region that nothing alive beside `buffer` lies in."""
    gaps, end = [], 0
    for other, offset in sorted(blocks, key=lambda each: each[1]):
        if overlap_in_time(buffer, other):
            gaps.append((end, offset - end))
            end = max(end, offset + _taken(other))
    return [*gaps, (end, room - end)]
