"""ESP-DL's Add, Sub, Mul, PRelu and RequantizeLinear.

Add and Sub take integers as they are: all three tensors have one exponent, and esp-ppq puts a
RequantizeLinear where they would not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.portable.c_text import END, enum, loop
from harness.portable.fixed_point import INT32_MAX
from harness.portable.graph import Tensor
from harness.portable.node import Node
from harness.portable.ops.elementwise import Binary, plan_operands
from harness.portable.ops.power_of_two import exponents, lookup, plan_table, same_scale
from harness.portable.ops.shift import MAX_SHIFT, shifted
from harness.portable.ops.strides import Nest
from harness.portable.step import Constant, Step

# ESP-DL's loops, once neighbouring dimensions are merged.
MAX_LOOPS = 4


@dataclass(frozen=True, kw_only=True)
class ShiftedBinary(Binary):
    """`operator` on the two integers, then a shift."""

    operator: str
    shift: int
    half_even: bool

    @property
    def headers(self) -> tuple[str, ...]:
        return ("power_of_two.h",)

    def body(self) -> list[str]:
        scaled = shifted("value", self.shift, half_even=self.half_even)
        return [
            *enum({"LOW": self.low, "HIGH": self.high}),
            *self.nest.head(),
            f"const int32_t value = {self.element(0)} {self.operator} {self.element(1)};",
            "",
            f"*output++ = (int8_t)clamp({scaled}, LOW, HIGH);",
            *self.nest.tail(),
        ]


def plan_add_sub(node: Node) -> Step:
    operands, target, nest = plan_operands(node)
    for operand in operands:
        node.require_same_scale(operand, target)
    return _binary(node, operands, target, nest, "+" if node.operator.op == "Add" else "-", 0)


def plan_mul(node: Node) -> Step:
    operands, target, nest = plan_operands(node)
    shift = exponents(target)[0] - sum(exponents(operand)[0] for operand in operands)
    largest = (1 << 14) << max(0, -shift)
    node.require(
        shift <= MAX_SHIFT and largest + (1 << MAX_SHIFT) <= INT32_MAX,
        f"products scaled by 2^{-shift}",
    )
    return _binary(node, operands, target, nest, "*", shift)


def _binary(
    node: Node, operands: tuple[Tensor, Tensor], target: Tensor, nest: Nest, operator: str, shift: int
) -> Step:
    node.require(
        len(nest.extents) <= MAX_LOOPS, f"a broadcast of {len(nest.extents)} loops; ESP-DL has {MAX_LOOPS}"
    )
    limits = np.iinfo(target.info.dtype)
    return ShiftedBinary(
        index=node.operator.index,
        op=node.operator.op,
        reads=tuple(operand for operand in operands if operand.data is None),
        writes=(target,),
        operands=operands,
        nest=nest,
        output_zero_point=0,
        low=int(limits.min),
        high=int(limits.max),
        operator=operator,
        shift=shift,
        half_even=node.flag("half_even"),
    )


@dataclass(frozen=True, kw_only=True)
class PRelu(Step):
    """A slope for each channel, for the negative half; `floor` is how ESP-DL's C code drops the fraction."""

    slopes: NDArray[np.int8]
    shift: int
    floor: bool

    @property
    def headers(self) -> tuple[str, ...]:
        return ("power_of_two.h",)

    def constants(self) -> list[Constant]:
        return [Constant("slopes", self.slopes)]

    def notes(self) -> list[str]:
        return ["a negative product's fraction is dropped downwards, as ESP-DL does"] if self.floor else []

    def body(self) -> list[str]:
        product = f"value * {self.prefix}_slopes[c]"
        scaled = shifted(product, self.shift, half_even=True)
        if self.floor:
            scaled = f"({product}) >> {self.shift}"
        return [
            loop("i", self.writes[0].info.elements // len(self.slopes)),
            loop("c", len(self.slopes)),
            "const int32_t value = *input++;",
            "",
            f"*output++ = (int8_t)clamp(value < 0 ? {scaled} : value, INT8_MIN, INT8_MAX);",
            END,
            END,
        ]


def plan_prelu(node: Node) -> Step:
    """One slope for all comes as a table; several are applied to integers of one exponent."""
    if node.flag("table"):
        return plan_table(node)
    node.check_counts(2)
    if exponents(node.input(0)) != exponents(node.output()):
        node.refuse(
            "input and output differ in exponent, and ESP-DL copies positive values as they are",
            "One slope for all channels, or LeakyRelu, becomes a table, which is right",
        )
    source, target = same_scale(node)
    slopes = node.int8_activation(node.input(1))
    values = node.constant(slopes).reshape(-1)
    node.require(len(source.info.shape) == 4, f"over {len(source.info.shape)} dimensions, not 4")
    if len(values) != source.info.shape[3]:
        node.malformed(f"{len(values)} slopes for {source.info.shape[3]} channels")
    shift = -exponents(slopes)[0]
    node.require(0 <= shift <= MAX_SHIFT, f"slopes with the exponent {-shift}")
    return PRelu(
        index=node.operator.index,
        op=node.operator.op,
        reads=(source,),
        writes=(target,),
        slopes=values.astype(np.int8),
        shift=shift,
        floor=not node.flag("half_even"),
    )


def plan_requantize(node: Node) -> Step:
    """From one exponent to another, as a table of 256 results."""
    node.check_counts(1)
    source, target = node.int8_activation(node.input()), node.int8_activation(node.output())
    scaled = np.arange(256, dtype=np.uint8).view(np.int8) * (source.info.scale / target.info.scale)
    rounded = np.rint(scaled) if node.flag("half_even") else np.floor(scaled + 0.5)
    return lookup(node, np.clip(rounded, -128, 127).astype(np.int8))
