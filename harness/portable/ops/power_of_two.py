"""The operators of ESP-DL v3: scales are powers of two, so every change of scale is a shift.

Kernels that differ from TFLite's only in how a sum is scaled share its loops. Names are ONNX's;
layouts are NHWC, filters [out channel][row][column][filter channel].
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.portable.fixed_point import INT32_MAX, INT64_MAX
from harness.portable.graph import Tensor
from harness.portable.node import Node
from harness.portable.ops.conv import Conv2D
from harness.portable.ops.depthwise import DepthwiseConv2D
from harness.portable.ops.fully_connected import FullyConnected
from harness.portable.ops.int16_functions import plan_nearest_lookup, rescale
from harness.portable.ops.lookup import Lookup
from harness.portable.ops.move import transpose
from harness.portable.ops.pool import MaxPool
from harness.portable.ops.shape import alias
from harness.portable.ops.shift import MAX_SHIFT, MAX_SHIFT_WIDE, shifted
from harness.portable.ops.sums import Sums
from harness.portable.ops.window import Axis
from harness.portable.step import Constant, Step

LIMIT = 1 << 20


@dataclass(frozen=True, kw_only=True)
class ShiftedSums(Sums):
    """One shift, or one for each output channel; a single negative one scales up."""

    shifts: tuple[int, ...]
    half_even: bool

    @property
    def headers(self) -> tuple[str, ...]:
        return (*super().headers, "power_of_two.h")

    def scaling(self) -> list[Constant]:
        return [Constant("shift", np.array(self.shifts, np.uint8))] if len(self.shifts) > 1 else []

    def store(self, prefix: str, place: str = "*output++") -> list[str]:
        shift = f"{prefix}_shift[c]" if len(self.shifts) > 1 else self.shifts[0]
        scaled = shifted("sum", shift, half_even=self.half_even, wide=self.wide)
        wide = "_wide" if self.wide else ""
        return [f"{place} = ({self.data_type})clamp{wide}({scaled}, LOW, HIGH);"]


def exponents(tensor: Tensor) -> list[int]:
    """Of scales that the reader made as powers of two."""
    return [math.frexp(scale)[1] - 1 for scale in tensor.scales]


def plan_shifted_sums(node: Node, weights: NDArray[np.generic]) -> ShiftedSums:
    """`weights` as (output channel, everything that is summed); bias has their sums' exponent."""
    source, target = node.activation(node.input(0)), node.activation(node.output())
    node.require(source.data is None, f"its input '{source.info.name}' is a constant")
    node.require(source.info.dtype == target.info.dtype, "input and output of different types")
    limits = np.iinfo(source.info.dtype)
    channels = len(weights)
    by_channel = exponents(node.input(1))
    if len(by_channel) not in (1, channels):
        node.malformed(f"its filter has {len(by_channel)} exponents for {channels} channels")
    sums = [exponents(source)[0] + exponent for exponent in by_channel]
    bias = np.zeros(channels, np.int64)
    if node.has_input(2):
        tensor = node.input(2)
        node.require_dtype(tensor, "int32", "int64")
        bias = node.constant(tensor).reshape(-1).astype(np.int64)
        if len(bias) != channels:
            node.malformed(f"has {len(bias)} biases for {channels} channels")
        if exponents(tensor) != sums:
            node.malformed(f"its bias has the exponents {exponents(tensor)}, its sums {sums}")
    shifts = tuple(dict.fromkeys(exponents(target)[0] - exponent for exponent in sums))
    if len(shifts) > 1:
        shifts = tuple(exponents(target)[0] - exponent for exponent in sums)
        node.require(min(shifts) >= 0, f"channels scaled up, by 2^{-min(shifts)}")
    narrow = source.info.dtype == "int8"
    node.require(
        max(shifts) <= (MAX_SHIFT if narrow else MAX_SHIFT_WIDE), f"sums scaled down by 2^{max(shifts)}"
    )
    bound = int((np.abs(bias) - limits.min * np.abs(weights.astype(np.int64)).sum(axis=1)).max())
    # A shift by more than MAX_SHIFT needs a wide sum, however small.
    half = 1 << max(shifts) if max(shifts) > MAX_SHIFT else 1 << max(0, max(shifts) - 1)
    bound = (bound << max(0, -min(shifts))) + half
    width, largest = (32, INT32_MAX) if narrow else (64, INT64_MAX)
    node.require(bound <= largest, f"its sums can reach {bound}, which does not fit {width} bits")
    return ShiftedSums(
        weights=np.ascontiguousarray(weights).reshape(-1),
        bias=bias.astype(np.int32 if bound <= INT32_MAX else np.int64),
        low=0 if node.flag("relu") else int(limits.min),
        high=int(limits.max),
        data=source.info.dtype,
        bound=bound,
        shifts=shifts,
        half_even=node.flag("half_even"),
    )


def check_weights(node: Node, source: Tensor, weights: Tensor) -> None:
    """int8 weights go with int8 and int16 data, int16 weights with int16 data."""
    node.require_dtype(weights, *(("int8",) if source.info.dtype == "int8" else ("int8", "int16")))


def pair(node: Node, name: str) -> tuple[int, int]:
    values = node.integers(name)
    if len(values) != 2 or not all(1 <= value <= LIMIT for value in values):
        node.malformed(f"{name} is {values}, expected two numbers")
    return values[0], values[1]


def window_axes(node: Node, taps: tuple[int, int]) -> tuple[Axis, Axis]:
    """Rows and columns; pads are ONNX's (top, left, bottom, right)."""
    source, target = node.input().info.shape, node.output().info.shape
    pads = node.integers("pads")
    strides, dilations = pair(node, "strides"), pair(node, "dilations")
    rows, columns = (
        Axis(source[1 + i], target[1 + i], taps[i], strides[i], dilations[i], pads[i]) for i in range(2)
    )
    for axis in (rows, columns):
        node.require(axis.pad < (axis.taps - 1) * axis.dilation + 1, "padding wider than the window")
    return rows, columns


def plan_conv(node: Node) -> Step:
    node.check_counts(range(2, 4))
    source, weights, target = node.input(0), node.input(1), node.output()
    check_weights(node, source, weights)
    values = node.constant(weights)
    out_channels, filter_height, filter_width, filter_channels = weights.info.shape
    in_channels = source.info.shape[3]
    groups = node.integer("group", 1, in_channels)
    if filter_channels * groups != in_channels or out_channels % groups:
        node.malformed(f"{in_channels} channels in {groups} groups, filter {weights.info.shape}")
    height, width = window_axes(node, (filter_height, filter_width))
    sums = plan_shifted_sums(node, values.reshape(out_channels, -1))
    convolution: Callable[..., Step] = functools.partial(Conv2D, groups=groups)
    if filter_channels == 1 and groups > 1:
        # The depthwise kernel reads its filter tap by tap, all channels of one side by side.
        by_tap = np.ascontiguousarray(values.reshape(out_channels, -1).T).reshape(-1)
        sums = dataclasses.replace(sums, weights=by_tap)
        convolution = functools.partial(DepthwiseConv2D, multiplier=out_channels // groups)
    return convolution(
        index=node.operator.index,
        op=node.operator.op,
        reads=(source,),
        writes=(target,),
        macs=target.info.elements * filter_height * filter_width * filter_channels,
        batches=source.info.shape[0],
        height=height,
        width=width,
        in_channels=in_channels,
        out_channels=out_channels,
        sums=sums,
    )


def plan_gemm(node: Node) -> Step:
    node.check_counts(range(2, 4))
    weights = node.input(1)
    return fully_connected(node, node.constant(weights).reshape(weights.info.shape[0], -1))


def fully_connected(node: Node, weights: NDArray[np.generic]) -> Step:
    """`weights`, the values of input 1, as (output, input)."""
    source, target = node.input(0), node.output()
    check_weights(node, source, node.input(1))
    outputs, inputs = weights.shape
    if source.info.shape[-1] != inputs:
        node.malformed(f"input {source.info.shape}, expected {inputs} at the end")
    batches = target.info.elements // outputs
    return FullyConnected(
        index=node.operator.index,
        op=node.operator.op,
        reads=(source,),
        writes=(target,),
        macs=batches * outputs * inputs,
        batches=batches,
        inputs=inputs,
        outputs=outputs,
        sums=plan_shifted_sums(node, weights),
    )


def plan_max_pool(node: Node) -> Step:
    node.check_counts(1)
    source, target = same_scale(node)
    height, width = window_axes(node, pair(node, "kernel_shape"))
    node.require((height.dilation, width.dilation) == (1, 1), "dilation")
    node.require(node.integer("ceil_mode", 0, 1) == 0, "an output size rounded up")
    return MaxPool(
        index=node.operator.index,
        op=node.operator.op,
        reads=(source,),
        writes=(target,),
        batches=source.info.shape[0],
        channels=source.info.shape[3],
        height=height,
        width=width,
        low=int(np.iinfo(source.info.dtype).min),
        high=int(np.iinfo(source.info.dtype).max),
    )


def plan_table(node: Node) -> Step:
    """The 256 results are in the file, that of -128 first; on the device the byte is the index."""
    if not node.flag("table"):
        node.refuse(
            "ESP-DL computes it in floating point, as the file holds no table of its results",
            "Export with esp-ppq's setting lut_optimization, which covers most activations in 16 bits",
        )
    if node.activation(node.input()).info.dtype == "int16":
        return plan_nearest_lookup(node)
    node.check_counts(2)
    values = node.constant(node.input(1)).reshape(-1)
    node.require_dtype(node.input(1), "int8")
    if len(values) != 256:
        node.malformed(f"its table has {len(values)} entries, expected 256")
    return lookup(node, np.roll(values, 128))


def plan_relu(node: Node) -> Step:
    if node.flag("table"):
        return plan_table(node)
    node.check_counts(1)
    if node.activation(node.input()).info.dtype == "int16":
        return rescale(node, change(node), 0, int(np.iinfo(np.int16).max))
    same_scale(node)
    return lookup(node, np.maximum(np.arange(256, dtype=np.uint8).view(np.int8), 0))


def change(node: Node) -> int:
    """By how much the output's exponent is above the input's."""
    return exponents(node.output())[0] - exponents(node.input())[0]


def lookup(node: Node, table: NDArray[np.generic]) -> Step:
    source, target = node.int8_activation(node.input(0)), node.activation(node.output())
    node.require(source.data is None, f"its input '{source.info.name}' is a constant")
    return Lookup(
        index=node.operator.index, op=node.operator.op, reads=(source,), writes=(target,), table=table
    )


def plan_transpose(node: Node) -> Step:
    node.check_counts(1)
    source, target = same_scale(node)
    permutation = node.integers("perm")
    moving = [axis for axis in permutation if source.info.shape[axis] > 1]
    if moving == sorted(moving):  # only axes of length 1 change places
        return alias(node, target.info.shape)
    return transpose(node, permutation)


def plan_alias(node: Node) -> Step:
    """Reshape, Flatten, Squeeze and Unsqueeze: the reader has worked out the output's shape."""
    node.check_counts(range(1, 3))
    same_scale(node)
    return alias(node, node.output().info.shape)


def same_scale(node: Node) -> tuple[Tensor, Tensor]:
    source, target = node.activation(node.input(0)), node.activation(node.output())
    node.require(source.info.dtype == target.info.dtype, "input and output of different types")
    node.require(source.data is None, f"its input '{source.info.name}' is a constant")
    node.require_same_scale(source, target)
    return source, target
