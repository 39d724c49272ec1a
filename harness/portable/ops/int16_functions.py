"""Functions of one integer without a table of 256: ESP-DL's 16-bit LUT; limits with a change of exponent.

ESP-DL samples a 16-bit function every few steps and takes the nearest sample. Relu, Clip and
RequantizeLinear it computes; as they are monotone, limits can be put behind the shift.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.portable.c_text import C_TYPES, END, enum, loop
from harness.portable.fixed_point import INT32_MAX
from harness.portable.node import Node
from harness.portable.ops.shift import MAX_SHIFT, shifted
from harness.portable.step import Constant, Step

VALUES = 1 << 16


@dataclass(frozen=True, kw_only=True)
class NearestLookup(Step):
    """`table` holds every 2^shift-th result from that of -32768 up, and one behind the last."""

    table: NDArray[np.int16] = field(compare=False)
    shift: int
    half_even: bool

    @property
    def headers(self) -> tuple[str, ...]:
        return ("power_of_two.h",)

    def constants(self) -> list[Constant]:
        return [Constant("table", self.table)]

    def notes(self) -> list[str]:
        return [f"The table holds the results of every {1 << self.shift} values"] if self.shift else []

    def body(self) -> list[str]:
        place = shifted(f"input[i] + {VALUES // 2}", self.shift, half_even=self.half_even)
        return [
            loop("i", self.writes[0].info.elements),
            f"output[i] = {self.prefix}_table[{place}];",
            END,
        ]


def plan_nearest_lookup(node: Node) -> Step:
    """The step between samples follows from their number, as in ESP-DL."""
    node.check_counts(2)
    source, target, stored = (
        node.activation(node.input(0)),
        node.activation(node.output()),
        node.activation(node.input(1)),
    )
    for tensor in (source, target, stored):
        node.require_dtype(tensor, "int16")
    node.require(source.data is None, f"its input '{source.info.name}' is a constant")
    node.require_same_scale(stored, target)
    table = node.constant(stored).reshape(-1)
    intervals = len(table) - 1
    if not 1 <= intervals <= VALUES or intervals & (intervals - 1):
        node.malformed(f"its table has {len(table)} entries, expected 65536 / step + 1, step a power of two")
    return NearestLookup(
        index=node.operator.index,
        op=node.operator.op,
        reads=(source,),
        writes=(target,),
        table=table.astype(np.int16),
        shift=16 - (intervals.bit_length() - 1),
        half_even=node.flag("half_even"),
    )


@dataclass(frozen=True, kw_only=True)
class Rescale(Step):
    """The input's integers shifted, then kept within limits."""

    shift: int
    half_even: bool
    low: int
    high: int

    @property
    def headers(self) -> tuple[str, ...]:
        return ("fixed_point.h", "power_of_two.h")

    def constants(self) -> list[Constant]:
        return []

    def body(self) -> list[str]:
        value = shifted("input[i]", self.shift, half_even=self.half_even)
        return [
            *enum({"LOW": self.low, "HIGH": self.high}),
            loop("i", self.writes[0].info.elements),
            f"output[i] = ({C_TYPES[self.writes[0].info.dtype]})clamp({value}, LOW, HIGH);",
            END,
        ]


def rescale(node: Node, shift: int, low: int, high: int) -> Step:
    """`low` and `high` are in the output's integers."""
    source, target = node.activation(node.input(0)), node.activation(node.output())
    node.require(source.data is None, f"its input '{source.info.name}' is a constant")
    largest = -int(np.iinfo(source.info.dtype).min) << max(0, -shift)
    node.require(shift <= MAX_SHIFT and largest <= INT32_MAX, f"values scaled by 2^{-shift}")
    return Rescale(
        index=node.operator.index,
        op=node.operator.op,
        reads=(source,),
        writes=(target,),
        shift=shift,
        half_even=node.flag("half_even"),
        low=low,
        high=high,
    )
