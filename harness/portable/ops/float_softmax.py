"""Softmax of ESP-DL: integers in, float32 out, with float arithmetic done on bit patterns.

ESP-DL (v3.3.9, dl_module_softmax.hpp) adds exponentials in float32 in order and divides. In 8 bits it
looks them up in a float table, without taking the row's maximum off first; in 16 it takes that off and
calls expf. The device does just that with integers; `firmware/runtimes/portable/single.h` and
`exponential.h` have the operations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from decimal import Decimal, localcontext

import numpy as np
from numpy.typing import NDArray

from harness.portable.c_text import END, enum, loop
from harness.portable.graph import Tensor
from harness.portable.node import Node
from harness.portable.step import Constant, Step

LARGEST = float(np.finfo(np.float32).max)
SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)
# Beyond, an exponential is no float32 but 0; the tables' exponents have a byte.
VANISHING = 150


@dataclass(frozen=True, kw_only=True)
class FloatSoftmax(Step):
    """`exponentials` are bits of float32, indexed by the input's byte."""

    rows: int
    depth: int
    exponentials: NDArray[np.uint32] = field(compare=False)

    @property
    def headers(self) -> tuple[str, ...]:
        return ("single.h",)

    def constants(self) -> list[Constant]:
        return [Constant("exp", self.exponentials)]

    def notes(self) -> list[str]:
        return ["exp[q]: exp(q * scale), the bits of a float32"]

    def body(self) -> list[str]:
        table = f"{self.prefix}_exp"
        return [
            *enum({"ROWS": self.rows, "DEPTH": self.depth}),
            loop("row", "ROWS"),
            f"uint32_t sum = {table}[(uint8_t)input[0]];",
            "",
            loop("i", "DEPTH", 1),
            f"sum = single_sum(sum, {table}[(uint8_t)input[i]]);",
            END,
            loop("i", "DEPTH"),
            f"output[i] = single_quotient({table}[(uint8_t)input[i]], sum);",
            END,
            "input += DEPTH;",
            "output += DEPTH;",
            END,
        ]


@dataclass(frozen=True, kw_only=True)
class FloatSoftmax16(Step):
    """`mantissas` and `shifts` make up exp(-d * scale): for the upper byte of d, then for the lower."""

    rows: int
    depth: int
    mantissas: NDArray[np.uint64] = field(compare=False)
    shifts: NDArray[np.uint8] = field(compare=False)

    @property
    def headers(self) -> tuple[str, ...]:
        return ("exponential.h", "single.h")

    def constants(self) -> list[Constant]:
        return [Constant("mantissas", self.mantissas), Constant("shifts", self.shifts)]

    def body(self) -> list[str]:
        tables = f"{self.prefix}_mantissas, {self.prefix}_shifts"
        return [
            *enum({"ROWS": self.rows, "DEPTH": self.depth}),
            loop("row", "ROWS"),
            "int32_t highest = input[0];",
            "uint32_t sum = 0;",
            "",
            loop("i", "DEPTH", 1),
            "highest = input[i] > highest ? input[i] : highest;",
            END,
            loop("i", "DEPTH"),
            f"output[i] = single_exponential((uint32_t)(highest - input[i]), {tables});",
            "sum = single_sum(sum, output[i]);",
            END,
            loop("i", "DEPTH"),
            "output[i] = single_quotient(output[i], sum);",
            END,
            "input += DEPTH;",
            "output += DEPTH;",
            END,
        ]


def exponential_tables(scale: float) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """exp(-256 k * scale), then exp(-k * scale), for k = 0 ... 255: mantissas and shifts of exponential.h."""
    mantissas, shifts = [], []
    with localcontext(prec=100):
        for step in (Decimal(scale) * 256, Decimal(scale)):
            for x in (min(step * k, Decimal(VANISHING)) for k in range(256)):
                shift = math.ceil(float(x) / math.log(2))
                mantissas.append(int(((-x).exp() * (1 << (63 + shift))).to_integral_value()))
                shifts.append(shift)
    return np.array(mantissas, np.uint64), np.array(shifts, np.uint8)


def plan_float_softmax(node: Node) -> Step:
    node.check_counts(1)
    source, target = node.activation(node.input()), node.output()
    node.require_dtype(target, "float32")
    node.require(source.data is None, f"its input '{source.info.name}' is a constant")
    shape = source.info.shape
    axis = node.integer("axis", -len(shape), len(shape) - 1)
    node.require(axis % len(shape) == len(shape) - 1, f"along axis {axis} of {len(shape)}, not the last")
    step = _from_int16 if source.info.dtype == "int16" else _from_int8
    return step(node, source, target, source.info.elements // shape[-1], shape[-1])


def _from_int16(node: Node, source: Tensor, target: Tensor, rows: int, depth: int) -> Step:
    mantissas, shifts = exponential_tables(source.info.scale)
    return FloatSoftmax16(
        index=node.operator.index,
        op=node.operator.op,
        reads=(source,),
        writes=(target,),
        rows=rows,
        depth=depth,
        mantissas=mantissas,
        shifts=shifts,
    )


def _from_int8(node: Node, source: Tensor, target: Tensor, rows: int, depth: int) -> Step:
    values = np.exp(np.arange(256, dtype=np.uint8).view(np.int8).astype(np.float64) * source.info.scale)
    if values.max() * depth >= LARGEST or values.min() < SMALLEST_NORMAL:
        node.refuse(
            f"its input reaches {127 * source.info.scale:g}, whose exponential ESP-DL takes in float32 "
            "without subtracting the maximum: the chip would answer NaN",
            "Export the model without Softmax and apply it to the scores where they are read",
        )
    return FloatSoftmax(
        index=node.operator.index,
        op=node.operator.op,
        reads=(source,),
        writes=(target,),
        rows=rows,
        depth=depth,
        exponentials=values.astype(np.float32).view(np.uint32),
    )
