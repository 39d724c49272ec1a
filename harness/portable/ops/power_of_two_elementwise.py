"""ESP-DL's Add, Sub, Mul, PRelu, Clip and RequantizeLinear.

Add and Sub take integers as they are: all three tensors have one exponent, and esp-ppq puts a
RequantizeLinear where they would not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.portable.c_text import C_TYPES, END, enum, loop
from harness.portable.fixed_point import INT32_MAX
from harness.portable.graph import Tensor
from harness.portable.node import Node
from harness.portable.ops.elementwise import Binary, plan_operands
from harness.portable.ops.int16_functions import rescale
from harness.portable.ops.power_of_two import change, exponents, lookup, plan_table, same_scale
from harness.portable.ops.shift import MAX_SHIFT, shift_value, shifted
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
            f"*output++ = ({C_TYPES[self.writes[0].info.dtype]})clamp({scaled}, LOW, HIGH);",
            *self.nest.tail(),
        ]


def plan_add_sub(node: Node) -> Step:
    operands, target, nest = plan_operands(node)
    for operand in operands:
        node.require_same_scale(operand, target)
    return _binary(node, operands, target, nest, "+" if node.operator.op == "Add" else "-", 0)


def plan_mul(node: Node) -> Step:
    operands, target, nest = plan_operands(node)
    if target.info.dtype != "int8":
        node.refuse("in 16 bits ESP-DL rounds its products to float32 on some chips and not on others")
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

    slopes: NDArray[np.generic]
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
        dtype = self.writes[0].info.dtype
        limits = f"{dtype.upper()}_MIN, {dtype.upper()}_MAX"
        return [
            loop("i", self.writes[0].info.elements // len(self.slopes)),
            loop("c", len(self.slopes)),
            "const int32_t value = *input++;",
            "",
            f"*output++ = ({C_TYPES[dtype]})clamp(value < 0 ? {scaled} : value, {limits});",
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
    slopes = node.activation(node.input(1))
    node.require(slopes.info.dtype == source.info.dtype, "input and slopes of different types")
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
        slopes=values,
        shift=shift,
        floor=source.info.dtype == "int16" or not node.flag("half_even"),
    )


def plan_requantize(node: Node) -> Step:
    """From one exponent to another, also between types; of int8 as a table of 256 results."""
    node.check_counts(1)
    source, target = node.activation(node.input()), node.activation(node.output())
    limits = np.iinfo(target.info.dtype)
    if source.info.dtype == "int16":
        return rescale(node, change(node), int(limits.min), int(limits.max))
    scaled = np.arange(256, dtype=np.uint8).view(np.int8) * (source.info.scale / target.info.scale)
    rounded = np.rint(scaled) if node.flag("half_even") else np.floor(scaled + 0.5)
    return lookup(node, np.clip(rounded, limits.min, limits.max).astype(target.info.dtype))


def plan_clip(node: Node) -> Step:
    """A table in 8 bits. In 16 the limits are integers of the input's exponent."""
    source = node.activation(node.input())
    if source.info.dtype == "int8":
        return plan_table(node)
    node.check_counts(range(2, 4))
    node.require_dtype(node.output(), "int16")
    lowest, highest = -(1 << 15), (1 << 15) - 1
    given = [lowest, highest]
    for position in range(1, len(node.operator.inputs)):
        limit = node.activation(node.input(position))
        node.require_dtype(limit, "int16")
        node.require_same_scale(limit, source)
        if limit.info.elements != 1:
            node.malformed(f"its limit '{limit.info.name}' is not one number")
        given[position - 1] = int(node.constant(limit).reshape(-1)[0])
    if given[0] > given[1]:
        node.malformed(f"its limits are {given[0]} and {given[1]}")
    scaled = [shift_value(value, change(node), half_even=node.flag("half_even")) for value in given]
    low, high = (min(max(value, lowest), highest) for value in scaled)
    return rescale(node, change(node), low, high)
