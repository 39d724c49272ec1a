"""Functions of one 8-bit value as tables: activations, and changes of scale and type.

An int8 input has 256 values, so the planner evaluates TFLite's kernel for each of them;
the device only looks up. QUANTIZE from float32 searches the input among thresholds.

Quotients of scales are taken in float64, as the oracle takes them; TFLite's sources of
August 2026 write some of them in float32. Tests on rounding edges tell the two apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.portable.c_text import END, loop
from harness.portable.fixed_point import (
    INT32_MAX,
    divide_by_power_of_two,
    input_radius,
    logistic,
    quantise_multiplier,
    requantise,
    round_half_away,
    tanh,
)
from harness.portable.graph import Tensor
from harness.portable.node import Node
from harness.portable.step import Constant, Step

# Logistic and tanh take their input in Q4.27.
INPUT_INTEGER_BITS = 4


@dataclass(frozen=True, kw_only=True)
class Lookup(Step):
    """`table` is indexed by the input's byte; uint32 holds the bits of a float32."""

    table: NDArray[np.generic] = field(compare=False)

    @property
    def headers(self) -> tuple[str, ...]:
        return ()

    def constants(self) -> list[Constant]:
        return [Constant("table", self.table)]

    def body(self) -> list[str]:
        return [
            loop("i", self.writes[0].info.elements),
            f"output[i] = {self.prefix}_table[(uint8_t)input[i]];",
            END,
        ]


@dataclass(frozen=True, kw_only=True)
class QuantiseFloat(Step):
    """`thresholds[k]` is the least float, as an ordered key, that gives at least lowest + k + 1."""

    thresholds: NDArray[np.int32] = field(compare=False)

    @property
    def headers(self) -> tuple[str, ...]:
        return ("quantise_float.h",)

    def constants(self) -> list[Constant]:
        return [Constant("thresholds", self.thresholds)]

    def notes(self) -> list[str]:
        return ["NaN gives 127, or -128 if its sign bit is set"]

    def body(self) -> list[str]:
        return [
            loop("i", self.writes[0].info.elements),
            f"output[i] = quantise_float(input[i], {self.prefix}_thresholds);",
            END,
        ]


def _plan_table(node: Node, source: Tensor, target: Tensor, value: Callable[[int], int]) -> Step:
    """A table of `value(q)` clamped to the output's type, for every q of the input's type."""
    node.require(source.data is None, f"its input '{source.info.name}' is a constant")
    if source.info.shape != target.info.shape:
        node.malformed(f"input {source.info.shape} and output {target.info.shape} differ in shape")
    limits = np.iinfo(target.info.dtype)
    inputs = np.arange(256, dtype=np.uint8).view(source.info.dtype)
    values = [min(max(value(int(q)), int(limits.min)), int(limits.max)) for q in inputs]
    return Lookup(
        index=node.operator.index,
        op=node.operator.op,
        reads=(source,),
        writes=(target,),
        table=np.array(values, target.info.dtype),
    )


def _int8_pair(node: Node) -> tuple[Tensor, Tensor]:
    node.check_counts(1)
    return node.int8_activation(node.input()), node.int8_activation(node.output())


def _check_shift(node: Node, shift: int) -> None:
    """A value of nine bits scaled up must stay below 32 bits."""
    if 255 << max(shift, 0) > INT32_MAX - 256:
        node.refuse("the scales of its input and output are too far apart")


def plan_sigmoid(node: Node) -> Step:
    """LOGISTIC and TANH: gemmlowp's functions in Q4.27, saturating outside."""
    source, target = _int8_pair(node)
    is_logistic = node.operator.op == "LOGISTIC"
    if is_logistic and target.info.zero_point != -128:
        node.refuse(f"its output has zero point {target.info.zero_point}, not -128")
    fraction, left_shift = math.frexp(source.info.scale * (1 << (31 - INPUT_INTEGER_BITS)))
    multiplier = round_half_away(fraction * (1 << 31))
    node.require(-31 <= left_shift <= 31 and multiplier <= INT32_MAX, f"input scale {source.info.scale:g}")
    radius = input_radius(INPUT_INTEGER_BITS, left_shift)

    def value(q: int) -> int:
        x = q - source.info.zero_point
        if abs(x) >= radius:
            return 127 if x >= radius and x > -radius else -128
        fixed = requantise(x, multiplier, left_shift)
        if is_logistic:
            return divide_by_power_of_two(logistic(fixed, INPUT_INTEGER_BITS), 23) - 128
        return divide_by_power_of_two(tanh(fixed, INPUT_INTEGER_BITS), 24)

    return _plan_table(node, source, target, value)


def plan_relu(node: Node) -> Step:
    source, target = _int8_pair(node)
    multiplier, shift = quantise_multiplier(source.info.scale / target.info.scale)
    _check_shift(node, shift)
    zero_in, zero_out = source.info.zero_point, target.info.zero_point
    return _plan_table(
        node, source, target, lambda q: max(zero_out, zero_out + requantise(q - zero_in, multiplier, shift))
    )


def plan_relu6(node: Node) -> Step:
    """tflite-micro clamps in the input's scale and copies; it never looks at the output's."""
    source, target = _int8_pair(node)
    steps = round_half_away(float(np.float32(6) / np.float32(source.info.scale)))
    six = min(127, steps + source.info.zero_point)
    return _plan_table(node, source, target, lambda q: min(max(q, source.info.zero_point), six))


def plan_leaky_relu(node: Node) -> Step:
    source, target = _int8_pair(node)
    alpha = node.real("alpha")
    node.require(abs(alpha) < 1 << 20, f"alpha {alpha:g}")
    steep = quantise_multiplier(source.info.scale / target.info.scale)
    flat = quantise_multiplier(source.info.scale * alpha / target.info.scale)
    _check_shift(node, steep[1])
    _check_shift(node, flat[1])

    def value(q: int) -> int:
        x = q - source.info.zero_point
        if x >= 0:
            return target.info.zero_point + requantise(x, *steep)
        scaled = requantise(x, abs(flat[0]), flat[1])
        return target.info.zero_point + (-scaled if flat[0] < 0 else scaled)

    return _plan_table(node, source, target, value)


def plan_hard_swish(node: Node) -> Step:
    """x * relu6(x + 3) / 6 in 16-bit fixed point (kernels/internal/reference/hard_swish.h)."""
    if node.input().info.dtype == "int16":
        node.refuse("tflite-micro has it for int8 alone", "Quantise to int8, or take ReLU6 in its place")
    source, target = _int8_pair(node)
    fine_scale = source.info.scale / 128
    output, output_exponent = quantise_multiplier(fine_scale / target.info.scale)
    reluish, reluish_exponent = quantise_multiplier(fine_scale / (3 / 32768))
    # The kernel refuses a positive exponent; shifts beyond 15 bits are outside what 16 bits define.
    node.require(-15 <= output_exponent <= 0, "the scales of its input and output are too far apart")
    node.require(-15 <= reluish_exponent <= 15, f"input scale {source.info.scale:g}")
    output, reluish = _upper_half(output), _upper_half(reluish)

    def value(q: int) -> int:
        fine = (q - source.info.zero_point) * 128
        gate = fine
        if reluish_exponent > 0:
            gate = _saturate16(gate << (reluish_exponent - 1))
        gate = _multiply_q15(gate, reluish)
        if reluish_exponent > 0:
            gate = _saturate16(gate << 1)
        if reluish_exponent < 0:
            gate = divide_by_power_of_two(gate, -reluish_exponent)
        gate = (gate + (1 << 15)) >> 1
        product = gate * _multiply_q15(fine, output)
        product = abs(product) >> 15 if product >= 0 else -(abs(product) >> 15)
        return divide_by_power_of_two(product, -output_exponent) + target.info.zero_point

    return _plan_table(node, source, target, value)


def _upper_half(multiplier: int) -> int:
    """Q0.31 to Q0.15; DownScaleInt32ToInt16Multiplier."""
    return min((multiplier + (1 << 15)) >> 16, 32767)


def _multiply_q15(a: int, b: int) -> int:
    return (a * b + (1 << 14)) >> 15


def _saturate16(x: int) -> int:
    return min(max(x, -32768), 32767)


def plan_quantize(node: Node) -> Step:
    """Change of scale or type between int8 and uint8, int8 to int16, or float32 to int8."""
    node.check_counts(1)
    source, target = node.input(), node.output()
    pairs = (("int8", "int8"), ("int8", "uint8"), ("uint8", "int8"), ("float32", "int8"), ("int8", "int16"))
    if (source.info.dtype, target.info.dtype) not in pairs:
        node.refuse(f"from {source.info.dtype} to {target.info.dtype}")
    _check_zero_point(node, target)
    if source.info.dtype == "float32":
        return _plan_quantise_float(node, source, target)
    _check_zero_point(node, source)
    multiplier, shift = quantise_multiplier(source.info.scale / target.info.scale)
    _check_shift(node, shift)
    zero_in, zero_out = source.info.zero_point, target.info.zero_point
    return _plan_table(node, source, target, lambda q: zero_out + requantise(q - zero_in, multiplier, shift))


def _check_zero_point(node: Node, tensor: Tensor) -> None:
    node.require(len(tensor.scales) == 1, f"'{tensor.info.name}' has {len(tensor.scales)} scales, not 1")
    limits = np.iinfo(tensor.info.dtype)
    if not limits.min <= tensor.info.zero_point <= limits.max:
        node.malformed(
            f"zero point {tensor.info.zero_point} of '{tensor.info.name}' is outside {tensor.info.dtype}"
        )


def _plan_quantise_float(node: Node, source: Tensor, target: Tensor) -> Step:
    if source.info.shape != target.info.shape:
        node.malformed(f"input {source.info.shape} and output {target.info.shape} differ in shape")
    node.require(source.data is None, f"its input '{source.info.name}' is a constant")
    return QuantiseFloat(
        index=node.operator.index,
        op=node.operator.op,
        reads=(source,),
        writes=(target,),
        thresholds=float_thresholds(target),
    )


def float_thresholds(target: Tensor) -> NDArray[np.int32]:
    """For each int8 value above -128 the least float32 that quantises to it or above, as ordered key.

    The key of a float orders like the float: its bits, with all but the sign inverted
    when it is negative. Found by bisection over all floats, infinities included.
    """
    levels = np.arange(-127, 128)
    low = np.full(levels.shape, _key(np.array(-np.inf, np.float32)), np.int64)  # quantises below the level
    high = np.full(levels.shape, _key(np.array(np.inf, np.float32)), np.int64)  # quantises to it or above
    while (high - low > 1).any():
        middle = (low + high) // 2
        reached = target.info.quantise(_from_key(middle)).astype(np.int64) >= levels
        high, low = np.where(reached, middle, high), np.where(reached, low, middle)
    return high.astype(np.int32)


def _key(value: NDArray[np.float32]) -> int:
    bits = int(value.view(np.int32))
    return bits if bits >= 0 else bits ^ 0x7FFFFFFF


def _from_key(keys: NDArray[np.int64]) -> NDArray[np.float32]:
    return np.where(keys >= 0, keys, keys ^ 0x7FFFFFFF).astype(np.int32).view(np.float32)


def plan_dequantize(node: Node) -> Step:
    """int8 or uint8 to float32: the product is computed in float64 and rounded once."""
    node.check_counts(1)
    source, target = node.input(), node.output()
    node.require_dtype(source, "int8", "uint8")
    node.require_dtype(target, "float32")
    _check_zero_point(node, source)
    node.require(source.data is None, f"its input '{source.info.name}' is a constant")
    if source.info.shape != target.info.shape:
        node.malformed(f"input {source.info.shape} and output {target.info.shape} differ in shape")
    inputs = np.arange(256, dtype=np.uint8).view(source.info.dtype).astype(np.float64)
    values = (source.info.scale * (inputs - source.info.zero_point)).astype(np.float32)
    return Lookup(
        index=node.operator.index,
        op=node.operator.op,
        reads=(source,),
        writes=(target,),
        table=values.view(np.uint32),
    )
