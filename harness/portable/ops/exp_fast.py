"""Softmax and Sigmoid of esp-dl v1: integers in, float32 out, with `exp_fast` on bit patterns.

As its header-only layers (include/layer/dl_layer_softmax.hpp, dl_layer_sigmoid.hpp, branch idfv4.4)
compute them: in single precision, in this order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from harness.portable.c_text import C_TYPES, END, enum, loop
from harness.portable.node import Node
from harness.portable.step import Constant, Step

EXPONENTS = range(-50, 31)
"""What `exp_fast` in exp_fast.h takes."""


@dataclass(frozen=True, kw_only=True)
class FastFloat(Step):
    """`exponent` is the input's."""

    exponent: int

    @property
    def headers(self) -> tuple[str, ...]:
        return ("exp_fast.h",)

    def constants(self) -> list[Constant]:
        return []


@dataclass(frozen=True, kw_only=True)
class FastSoftmax(FastFloat):
    """Over the last axis; the exponentials wait in the output for their sum."""

    rows: int
    depth: int

    def body(self) -> list[str]:
        c_type = C_TYPES[self.reads[0].info.dtype]
        return [
            *enum({"ROWS": self.rows, "DEPTH": self.depth, "EXPONENT": self.exponent}),
            loop("row", "ROWS"),
            f"{c_type} largest = input[0];",
            "uint32_t sum = 0;",
            "",
            loop("i", "DEPTH", 1),
            "largest = input[i] > largest ? input[i] : largest;",
            END,
            loop("i", "DEPTH"),
            "output[i] = exp_fast(input[i] - largest, EXPONENT);",
            "sum = single_sum(sum, output[i]);",
            END,
            "sum = single_quotient(SINGLE_ONE, sum);",
            loop("i", "DEPTH"),
            "output[i] = single_product(output[i], sum);",
            END,
            "input += DEPTH;",
            "output += DEPTH;",
            END,
        ]


@dataclass(frozen=True, kw_only=True)
class FastSigmoid(FastFloat):
    """exp_fast(x) / (exp_fast(x) + 1), which is NaN where exp_fast overflows."""

    def body(self) -> list[str]:
        return [
            *enum({"EXPONENT": self.exponent}),
            loop("i", self.writes[0].info.elements),
            "const uint32_t power = exp_fast(input[i], EXPONENT);",
            "",
            "output[i] = single_quotient(power, single_sum(power, SINGLE_ONE));",
            END,
        ]


def plan_fast_float(node: Node) -> Step:
    """Softmax or Sigmoid of an input whose scale is a power of two."""
    node.check_counts(1)
    source, target = node.input(), node.output()
    node.require_dtype(source, "int8", "int16")
    node.require_dtype(target, "float32")
    exponent = math.frexp(source.info.scale)[1] - 1
    node.require(exponent in EXPONENTS, f"its input has exponent {exponent}, expected -50 to 30")
    facts: dict[str, Any] = {
        "index": node.operator.index,
        "op": node.operator.op,
        "reads": (source,),
        "writes": (target,),
        "exponent": exponent,
    }
    if node.operator.op == "Sigmoid":
        return FastSigmoid(**facts)
    depth = source.info.shape[-1]
    return FastSoftmax(**facts, rows=source.info.elements // depth, depth=depth)
