"""ESP-DL's MatMul: of two activations, or of an activation and a constant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.portable.c_text import C_TYPES, END, enum, loop
from harness.portable.fixed_point import INT32_MAX, INT64_MAX
from harness.portable.graph import Tensor
from harness.portable.node import Node
from harness.portable.ops.power_of_two import check_weights, exponents, fully_connected
from harness.portable.ops.shift import MAX_SHIFT, MAX_SHIFT_WIDE, shifted
from harness.portable.ops.strides import Nest, contiguous, merge
from harness.portable.ops.sums import dot_header, dot_product
from harness.portable.step import Constant, Step

MAX_RANK = 4


@dataclass(frozen=True, kw_only=True)
class MatMul(Step):
    """`nest` walks the matrices; its operands are the inputs, with stride 0 where one repeats."""

    operands: tuple[Tensor, Tensor]
    nest: Nest
    wide: bool
    shift: int
    half_even: bool
    low: int
    high: int

    @property
    def headers(self) -> tuple[str, ...]:
        return (dot_header(self.writes[0].info.dtype), "power_of_two.h")

    @property
    def read_names(self) -> tuple[str, ...]:
        return ("left",) if self.operands[1].data is not None else ("left", "right")

    def constants(self) -> list[Constant]:
        matrices = self.operands[1].data
        return [] if matrices is None else [Constant("right", matrices.reshape(-1))]

    def body(self) -> list[str]:
        left, right = (operand.info.shape for operand in self.operands)
        matrices = "right" if self.operands[1].data is None else f"{self.prefix}_right"
        places = [self.nest.index(position) for position in range(2)]
        first, second = ("" if place == "0" else f" + {place}" for place in places)
        dtype, weights = (operand.info.dtype for operand in self.operands)
        data, wide = C_TYPES[dtype], "_wide" if self.wide else ""
        column = f"{matrices}{second} + column, COLUMNS, INNER"
        scaled = shifted("sum", self.shift, half_even=self.half_even, wide=self.wide)
        return [
            *enum(
                {"ROWS": left[-2], "INNER": left[-1], "COLUMNS": right[-1]},
                {"LOW": self.low, "HIGH": self.high},
            ),
            *self.nest.head(),
            loop("row", "ROWS"),
            f"const {data} *const values = left{first} + row * INNER;",
            "",
            loop("column", "COLUMNS"),
            f"const int{64 if self.wide else 32}_t sum =",
            f"{dot_product(dtype, weights, wide=self.wide)}_strided(0, values, 1, {column});",
            "",
            f"*output++ = ({data})clamp{wide}({scaled}, LOW, HIGH);",
            END,
            END,
            *self.nest.tail(),
        ]


def plan_matmul(node: Node) -> Step:
    """One constant matrix for all rows is a fully connected layer."""
    node.check_counts(2)
    left, right = node.activation(node.input(0)), node.activation(node.input(1))
    target = node.activation(node.output())
    node.require(left.info.dtype == target.info.dtype, "input and output of different types")
    check_weights(node, left, right)
    node.require(left.data is None, f"its first input '{left.info.name}' is a constant")
    ranks = [len(operand.info.shape) for operand in (left, right)]
    node.require(max(ranks) <= MAX_RANK, f"matrices in {max(ranks)} dimensions, more than {MAX_RANK}")
    if right.data is not None and ranks[1] == 2:
        return fully_connected(node, right.data.T)
    inner = left.info.shape[-1]
    shift = exponents(target)[0] - exponents(left)[0] - exponents(right)[0]
    narrow = target.info.dtype == "int8"
    product = int(np.iinfo(left.info.dtype).min) * int(np.iinfo(right.info.dtype).min)
    largest = (inner * product << max(0, -shift)) + (1 << max(0, shift - 1))
    node.require(shift <= (MAX_SHIFT if narrow else MAX_SHIFT_WIDE), f"sums scaled down by 2^{shift}")
    width, fitting = (32, INT32_MAX) if narrow else (64, INT64_MAX)
    node.require(largest <= fitting, f"its sums can reach {largest}, which does not fit {width} bits")
    batches = target.info.shape[:-2]
    limits = np.iinfo(target.info.dtype)
    return MatMul(
        index=node.operator.index,
        op=node.operator.op,
        reads=(left,) if right.data is not None else (left, right),
        writes=(target,),
        macs=target.info.elements * inner,
        operands=(left, right),
        nest=merge(batches, *(_matrix_strides(operand, len(batches)) for operand in (left, right))),
        wide=largest > INT32_MAX or shift > MAX_SHIFT,
        shift=shift,
        half_even=node.flag("half_even"),
        low=0 if node.flag("relu") else int(limits.min),
        high=int(limits.max),
    )


def _matrix_strides(operand: Tensor, rank: int) -> list[int]:
    """How far apart in elements the matrices lie along each of `rank` outer dimensions."""
    shape = (1,) * (rank + 2 - len(operand.info.shape)) + operand.info.shape
    return [
        stride if extent > 1 else 0 for extent, stride in zip(shape[:-2], contiguous(shape)[:-2], strict=True)
    ]
