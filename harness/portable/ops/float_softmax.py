"""Softmax of ESP-DL: int8 in, float32 out, with float arithmetic done on bit patterns.

ESP-DL (v3.3.9, dl_module_softmax.hpp) looks exponentials up in a float table, without taking the
row's maximum off first, adds them in float32 in order and divides. The device does just that with
integers; `firmware/runtimes/portable/single.h` has the two operations.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.portable.c_text import END, enum, loop
from harness.portable.node import Node
from harness.portable.step import Constant, Step

LARGEST = float(np.finfo(np.float32).max)
SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)


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


def plan_float_softmax(node: Node) -> Step:
    node.check_counts(1)
    source, target = node.int8_activation(node.input()), node.output()
    node.require_dtype(target, "float32")
    node.require(source.data is None, f"its input '{source.info.name}' is a constant")
    shape = source.info.shape
    axis = node.integer("axis", -len(shape), len(shape) - 1)
    node.require(axis % len(shape) == len(shape) - 1, f"along axis {axis} of {len(shape)}, not the last")
    values = np.exp(np.arange(256, dtype=np.uint8).view(np.int8).astype(np.float64) * source.info.scale)
    if values.max() * shape[-1] >= LARGEST or values.min() < SMALLEST_NORMAL:
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
        rows=source.info.elements // shape[-1],
        depth=shape[-1],
        exponentials=values.astype(np.float32).view(np.uint32),
    )
