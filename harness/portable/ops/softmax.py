"""SOFTMAX: a table of exponentials and a reciprocal by Newton's method, all in integers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.portable.c_text import END, enum, loop
from harness.portable.fixed_point import (
    exp_of_negative,
    input_radius,
    multiply_q31,
    quantise_multiplier,
    wrap32,
)
from harness.portable.node import Node
from harness.portable.step import Constant, Step

# The formats of TFLite's reference kernel (kernels/internal/reference/softmax.h).
DIFFERENCE_INTEGER_BITS = 5
SUM_INTEGER_BITS = 12
# A sum of 512 needs a shift by 32 bits; the kernel aborts there.
MAX_DEPTH = 511


@dataclass(frozen=True, kw_only=True)
class Softmax(Step):
    """`exponentials[d]` is exp(-d * scale * beta) in Q0.31 for d = row maximum - value."""

    rows: int
    depth: int
    exponentials: NDArray[np.int32] = field(compare=False)

    @property
    def headers(self) -> tuple[str, ...]:
        return ("softmax.h",)

    def constants(self) -> list[Constant]:
        return [Constant("exp", self.exponentials)]

    def notes(self) -> list[str]:
        return ["exp[d]: exp(-d * scale * beta), Q0.31, for d below the row's maximum"]

    def body(self) -> list[str]:
        table = f"{self.prefix}_exp"
        return [
            *enum({"ROWS": self.rows, "DEPTH": self.depth}),
            loop("row", "ROWS"),
            "int32_t highest = INT8_MIN;",
            "int32_t sum = 0; /* Q12.19 */",
            "",
            loop("i", "DEPTH"),
            "highest = input[i] > highest ? input[i] : highest;",
            END,
            loop("i", "DEPTH"),
            f"sum += divide_by_power_of_two({table}[highest - input[i]], {SUM_INTEGER_BITS});",
            END,
            "",
            "const softmax_scale scale = softmax_reciprocal(sum);",
            "",
            loop("i", "DEPTH"),
            f"output[i] = softmax_probability({table}[highest - input[i]], scale);",
            END,
            "input += DEPTH;",
            "output += DEPTH;",
            END,
        ]


def plan_softmax(node: Node) -> Step:
    node.check_counts(1)
    source, target = node.int8_activation(node.input()), node.int8_activation(node.output())
    if not source.info.shape or source.info.shape != target.info.shape:
        node.malformed("input and output differ in shape")
    node.require(
        target.info.scale == 1 / 256 and target.info.zero_point == -128,
        f"output scale {target.info.scale:g} and zero point {target.info.zero_point}, not 1/256 and -128",
    )
    depth = source.info.shape[-1]
    node.require(
        depth <= MAX_DEPTH, f"{depth} classes; tflite-micro aborts on flat rows of more than {MAX_DEPTH}"
    )
    beta = node.real("beta")
    real = min(beta * source.info.scale * (1 << (31 - DIFFERENCE_INTEGER_BITS)), (1 << 31) - 1.0)
    node.require(real > 1.0, f"beta {beta:g} times scale {source.info.scale:g} is too small")
    return Softmax(
        index=node.operator.index,
        op=node.operator.op,
        reads=(source,),
        writes=(target,),
        rows=source.info.elements // depth,
        depth=depth,
        exponentials=_exponentials(real),
    )


def _exponentials(real_multiplier: float) -> NDArray[np.int32]:
    """exp of the 256 differences an int8 row can hold; 0 below the range of Q5.26."""
    multiplier, shift = quantise_multiplier(real_multiplier)
    radius = input_radius(DIFFERENCE_INTEGER_BITS, shift)
    values = [
        exp_of_negative(multiply_q31(wrap32(-difference << shift), multiplier), DIFFERENCE_INTEGER_BITS)
        if difference <= radius
        else 0
        for difference in range(256)
    ]
    return np.array(values, np.int32)
