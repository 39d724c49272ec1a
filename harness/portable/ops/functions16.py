"""TFLite's functions of one int16 value, computed or interpolated where int8 has a table of 256 results."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.portable.c_text import C_TYPES, END, enum, loop
from harness.portable.fixed_point import INT32_MAX, quantise_multiplier, round_half_away
from harness.portable.graph import Tensor
from harness.portable.node import Node, largest_magnitude
from harness.portable.ops.sigmoid_table import SIGMOID
from harness.portable.step import Constant, Step

# Values of int16 that stand for 1 in the input of logistic and tanh, at their tables' pitch.
INPUT_UNIT = 3 * 4096
OUTPUT_LOG2 = -15


@dataclass(frozen=True, kw_only=True)
class Scaled(Step):
    """x times a positive factor; negative x times `below`, whose sign is kept apart, where it is not None."""

    factor: tuple[int, int]
    below: tuple[int, int] | None = None
    zero_point: int = 0
    low: int
    high: int

    def constants(self) -> list[Constant]:
        return []

    def body(self) -> list[str]:
        value = _requantised("x", self.factor)
        if self.below is not None:
            sign, below = ("-", (-self.below[0], self.below[1])) if self.below[0] < 0 else ("", self.below)
            value = f"x >= 0 ? {value} : {sign}{_requantised('x', below)}"
        zero = "" if not self.zero_point else f" {'+' if self.zero_point > 0 else '-'} {abs(self.zero_point)}"
        return [
            *enum({"LOW": self.low, "HIGH": self.high}),
            loop("i", self.writes[0].info.elements),
            "const int32_t x = input[i];",
            f"const int32_t scaled = {value};",
            "",
            f"output[i] = ({C_TYPES[self.writes[0].info.dtype]})clamp(scaled{zero}, LOW, HIGH);",
            END,
        ]


def _requantised(value: str, factor: tuple[int, int]) -> str:
    multiplier, shift = factor
    return f"{'requantise' if shift <= 0 else 'requantise_any'}({value}, {multiplier}, {abs(shift)})"


@dataclass(frozen=True, kw_only=True)
class Clamped(Step):
    """The input's integers within limits."""

    low: int
    high: int

    def constants(self) -> list[Constant]:
        return []

    def body(self) -> list[str]:
        return [
            *enum({"LOW": self.low, "HIGH": self.high}),
            loop("i", self.writes[0].info.elements),
            "output[i] = (int16_t)clamp(input[i], LOW, HIGH);",
            END,
        ]


@dataclass(frozen=True, kw_only=True)
class Sigmoid(Step):
    """LOGISTIC and TANH, from a table of one half of the sigmoid's values."""

    multiplier: int
    shift: int

    @property
    def headers(self) -> tuple[str, ...]:
        return ("lookup16.h",)

    def constants(self) -> list[Constant]:
        return [Constant("table", np.array(SIGMOID, np.uint16))]

    def notes(self) -> list[str]:
        return ["table[i]: sigmoid(i / 24) in Q0.16"]

    def body(self) -> list[str]:
        place = f"sigmoid16_input(input[i], {self.multiplier}, {self.shift})"
        return [
            loop("i", self.writes[0].info.elements),
            f"output[i] = {self.op.lower()}16({place}, {self.prefix}_table);",
            END,
        ]


@dataclass(frozen=True, kw_only=True)
class FloatInt16(Step):
    """QUANTIZE from float32 and DEQUANTIZE; `scale_bits` are those of the scale as a float32."""

    scale_bits: int

    @property
    def headers(self) -> tuple[str, ...]:
        return ("single_int16.h",)

    def constants(self) -> list[Constant]:
        return []

    def body(self) -> list[str]:
        function = "quantise_int16" if self.op == "QUANTIZE" else "dequantise_int16"
        return [
            loop("i", self.writes[0].info.elements),
            f"output[i] = {function}(input[i], 0x{self.scale_bits:08x}u);",
            END,
        ]


def _ends(node: Node) -> tuple[Tensor, Tensor]:
    """A computed input and an output of its shape, both int16."""
    node.check_counts(1)
    source, target = node.activation(node.input()), node.activation(node.output())
    node.require_dtype(source, "int16")
    node.require_dtype(target, "int16")
    _check_place(node, source, target)
    return source, target


def _check_place(node: Node, source: Tensor, target: Tensor) -> None:
    node.require(source.data is None, f"its input '{source.info.name}' is a constant")
    if source.info.shape != target.info.shape:
        node.malformed(f"input {source.info.shape} and output {target.info.shape} differ in shape")


def _factor(node: Node, real: float) -> tuple[int, int]:
    multiplier, shift = quantise_multiplier(real)
    if largest_magnitude("int16") << max(shift, 0) > INT32_MAX - 256:
        node.refuse("the scales of its input and output are too far apart")
    return multiplier, shift


def _scaled(
    node: Node, source: Tensor, target: Tensor, low: int, below: tuple[int, int] | None = None
) -> Step:
    return Scaled(
        index=node.operator.index,
        op=node.operator.op,
        reads=(source,),
        writes=(target,),
        factor=_factor(node, source.info.scale / target.info.scale),
        below=below,
        zero_point=target.info.zero_point,
        low=low,
        high=int(np.iinfo(target.info.dtype).max),
    )


def plan_relu(node: Node) -> Step:
    return _scaled(node, *_ends(node), low=0)


def plan_relu6(node: Node) -> Step:
    """tflite-micro clamps in the input's scale and copies; it never looks at the output's."""
    source, target = _ends(node)
    steps = round_half_away(float(np.float32(6) / np.float32(source.info.scale)))
    return Clamped(
        index=node.operator.index,
        op=node.operator.op,
        reads=(source,),
        writes=(target,),
        low=0,
        high=min(int(np.iinfo(np.int16).max), steps),
    )


def plan_leaky_relu(node: Node) -> Step:
    source, target = _ends(node)
    alpha = node.real("alpha")
    node.require(abs(alpha) < 1 << 20, f"alpha {alpha:g}")
    below = _factor(node, source.info.scale * alpha / target.info.scale)
    return _scaled(node, source, target, int(np.iinfo(np.int16).min), below)


def plan_quantize(node: Node) -> Step:
    """int16 to int16 or int8, or float32 to int16."""
    node.check_counts(1)
    source, target = node.input(), node.activation(node.output())
    _check_place(node, source, target)
    if source.info.dtype == "float32":
        return _plan_float(node, source, target, target.info.scale)
    node.activation(source)
    return _scaled(node, source, target, int(np.iinfo(target.info.dtype).min))


def plan_dequantize(node: Node) -> Step:
    node.check_counts(1)
    source, target = node.activation(node.input()), node.output()
    node.require_dtype(target, "float32")
    _check_place(node, source, target)
    return _plan_float(node, source, target, source.info.scale)


def _plan_float(node: Node, source: Tensor, target: Tensor, scale: float) -> Step:
    return FloatInt16(
        index=node.operator.index,
        op=node.operator.op,
        reads=(source,),
        writes=(target,),
        scale_bits=int(np.float32(scale).view(np.uint32)),
    )


def plan_sigmoid(node: Node) -> Step:
    """Inputs of the scales 2^-12 (and 2^-11 for TANH) need no rounding, all others a factor of 15 bits."""
    source, target = _ends(node)
    if _log2(target.info.scale) != OUTPUT_LOG2:
        node.refuse(f"its output has scale {target.info.scale:g}, not 1/32768")
    exact = {12: 0, 11: 1} if node.operator.op == "TANH" else {12: 0}
    power = _log2(source.info.scale)
    multiplier, shift = source.info.scale * INPUT_UNIT, 0
    if power is not None and -power in exact:
        multiplier = 3 << exact[-power]
    else:
        while multiplier <= 32767 / 2 and shift <= 30:
            multiplier, shift = multiplier * 2, shift + 1
    node.require(multiplier < 1 << 15, f"input scale {source.info.scale:g}")
    return Sigmoid(
        index=node.operator.index,
        op=node.operator.op,
        reads=(source,),
        writes=(target,),
        multiplier=int(multiplier),
        shift=shift,
    )


def _log2(scale: float) -> int | None:
    """The exponent of what tflite-micro takes for a power of two (CheckedLog2, within a thousandth)."""
    exponent = math.log2(scale)
    return round(exponent) if abs(exponent - round(exponent)) < 1e-3 else None
