"""SOFTMAX of int16: two tables of 513 samples with straight lines between them, and no division."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.portable.c_text import END, enum, loop
from harness.portable.fixed_point import INT32_MAX, quantise_multiplier
from harness.portable.node import Node
from harness.portable.step import Constant, Step

SAMPLES = 512
RANGE = 65535  # from the least int16 to the largest
# A row of more might have a sum of exponentials that does not fit 32 bits.
MAX_DEPTH = 65535


@dataclass(frozen=True, kw_only=True)
class Softmax16(Step):
    """Differences from the row's maximum times `multiplier` * 2^(`shift` - 31): -65535 for -10."""

    rows: int
    depth: int
    multiplier: int
    shift: int

    @property
    def headers(self) -> tuple[str, ...]:
        return ("lookup16.h",)

    def constants(self) -> list[Constant]:
        return [Constant("exp", exponentials()), Constant("reciprocal", reciprocals())]

    def notes(self) -> list[str]:
        return ["exp: samples of exp from -10 to 0; reciprocal: of 1 / (1 + x) from 0 to 1; Q0.15"]

    def body(self) -> list[str]:
        function = "requantise" if self.shift <= 0 else "requantise_any"
        below = f"{function}(input[i] - highest, {self.multiplier}, {abs(self.shift)})"
        return [
            *enum({"ROWS": self.rows, "DEPTH": self.depth}),
            loop("row", "ROWS"),
            "int32_t highest = INT16_MIN;",
            "int32_t sum = 0; /* Q16.15 */",
            "",
            loop("i", "DEPTH"),
            "highest = input[i] > highest ? input[i] : highest;",
            END,
            loop("i", "DEPTH"),
            f"output[i] = (int16_t)softmax16_exp({below}, {self.prefix}_exp);",
            "sum += output[i];",
            END,
            "",
            f"const softmax16_scale scale = softmax16_reciprocal(sum, {self.prefix}_reciprocal);",
            "",
            loop("i", "DEPTH"),
            "output[i] = softmax16_probability(output[i], scale);",
            END,
            "input += DEPTH;",
            "output += DEPTH;",
            END,
        ]


def plan_softmax(node: Node) -> Step:
    node.check_counts(1)
    source, target = node.activation(node.input()), node.activation(node.output())
    node.require_dtype(target, "int16")
    if not source.info.shape or source.info.shape != target.info.shape:
        node.malformed("input and output differ in shape")
    node.require(source.data is None, f"its input '{source.info.name}' is a constant")
    node.require(
        abs(target.info.scale * 32768 - 1) < 1e-3, f"output scale {target.info.scale:g}, not 1/32768"
    )
    depth = source.info.shape[-1]
    node.require(depth <= MAX_DEPTH, f"{depth} classes")
    beta = node.real("beta")
    node.require(beta > 0, f"beta {beta:g}")
    multiplier, shift = quantise_multiplier(source.info.scale * beta / (10 / RANGE))
    node.require(RANGE << max(shift, 0) <= INT32_MAX, f"beta {beta:g} times scale {source.info.scale:g}")
    return Softmax16(
        index=node.operator.index,
        op=node.operator.op,
        reads=(source,),
        writes=(target,),
        rows=source.info.elements // depth,
        depth=depth,
        multiplier=multiplier,
        shift=shift,
    )


def exponentials() -> NDArray[np.int16]:
    """exp on [-10, 0]; the input's zero is at the upper end."""
    return _samples(np.float32(10) / np.float32(RANGE), 32767, np.exp)


def reciprocals() -> NDArray[np.int16]:
    """1 / (1 + x) on [0, 1]; the input's zero is at the lower end."""
    one = np.float32(1)
    return _samples(one / np.float32(RANGE), -32768, lambda x: one / (one + x))


def _samples(
    scale: np.float32, zero_point: int, function: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> NDArray[np.int16]:
    """LUTPopulateInt16 in its float32: samples moved by half the chord's error in the middle."""
    half, two = np.float32(0.5), np.float32(2)
    output_scale = two / np.float32(RANGE)
    first, last = (scale * np.float32(end - zero_point) for end in (-32768, 32767))
    low, high = (output_scale * np.float32(end) for end in (-32768, 32767))
    step = (last - first) / np.float32(SAMPLES)
    factor = np.float32(RANGE + 1) / (high - low)
    places = np.arange(SAMPLES, dtype=np.float32)
    starts = function(first + places * step)
    middles = function(first + places * step + step * half)
    ends = function(first + (places + np.float32(1)) * step)
    chords = _rounded((ends * factor + _rounded(starts * factor)) / two)
    bias = _rounded((chords - _rounded(middles * factor)) / two)
    values = np.append(_rounded(starts * factor) - bias, _rounded(function(np.array([last])) * factor))
    return np.clip(values, -32768, 32767).astype(np.int16)


def _rounded(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """C's roundf: halves away from zero."""
    return np.asarray(np.trunc(x.astype(np.float64) + np.copysign(0.5, x)), np.float32)
