"""Loop nests over strided arrays: what transposes, slices, broadcasts and reductions share.

Adjacent dimensions that every operand walks alike become one loop, so that the common
cases come out as one or two.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.portable.c_text import END, loop


@dataclass(frozen=True)
class Nest:
    """Loops `i0`, `i1`, ... over `extents`; `strides[k]` are those of operand k, in elements."""

    extents: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]

    def head(self, first: int = 0, last: int | None = None) -> list[str]:
        """The `for` lines of the loops from `first` up to `last`."""
        return [loop(f"i{i}", extent) for i, extent in enumerate(self.extents)][first:last]

    def tail(self, first: int = 0, last: int | None = None) -> list[str]:
        return [END] * len(self.extents[first:last])

    def index(self, operand: int, base: int = 0, last: int | None = None) -> str:
        """C expression: the element of `operand` at the loops' position."""
        text = str(base) if base else ""
        for i, stride in enumerate(self.strides[operand][:last]):
            if stride:
                term = f"i{i}" if abs(stride) == 1 else f"i{i} * {abs(stride)}"
                sign = "-" if stride < 0 else "+"
                text = f"{text} {sign} {term}" if text else (term if stride > 0 else f"-{term}")
        return text or "0"


def contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    """Row-major strides in elements."""
    strides: list[int] = []
    step = 1
    for extent in reversed(shape):
        strides.insert(0, step)
        step *= extent
    return tuple(strides)


def merge(extents: Sequence[int], *strides: Sequence[int]) -> Nest:
    """A nest over `extents` without unit dimensions, neighbours fused where all operands allow."""
    kept = [i for i, extent in enumerate(extents) if extent != 1]
    merged: list[int] = []
    columns: list[list[int]] = []
    for i in kept:
        column = [operand[i] for operand in strides]
        if columns and all(
            outer == inner * extents[i] for outer, inner in zip(columns[-1], column, strict=True)
        ):
            merged[-1] *= extents[i]
            columns[-1] = column
        else:
            merged.append(extents[i])
            columns.append(column)
    return Nest(tuple(merged), tuple(tuple(column[k] for column in columns) for k in range(len(strides))))


def product(extents: Iterable[int]) -> int:
    """Of integers; 1 when there are none."""
    result = 1
    for extent in extents:
        result *= extent
    return result
