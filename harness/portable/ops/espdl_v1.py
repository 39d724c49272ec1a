"""The layers of esp-dl v1: sums shifted with a floor, then bias, saturation and activation.

The loops are those of the other dialects; what differs is how a sum is scaled. Names are v1's classes;
layouts are NHWC, filters [out channel][row][column][filter channel].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.portable.c_text import END, loop
from harness.portable.fixed_point import INT32_MAX, INT64_MAX
from harness.portable.graph import Tensor
from harness.portable.node import Node
from harness.portable.ops.conv import Conv2D
from harness.portable.ops.depthwise import DepthwiseConv2D
from harness.portable.ops.exp_fast import plan_fast_float
from harness.portable.ops.fully_connected import FullyConnected
from harness.portable.ops.move import concatenation
from harness.portable.ops.power_of_two import plan_alias, plan_max_pool
from harness.portable.ops.sums import Sums
from harness.portable.ops.window import Axis
from harness.portable.step import Constant, Step

PER_CHANNEL_SHIFT = 4
"""Per channel, sums lose this many bits before the bias is added, the rest after."""


@dataclass(frozen=True, kw_only=True)
class FlooredSums(Sums):
    """(sum >> right) * up: one pair for all channels, or one for each.

    A bias that is added behind the shift is the same as one shifted left that the sum starts from,
    for the shift rounds down; `late` holds it where that is not so or would not fit.
    """

    right: tuple[int, ...]
    up: tuple[int, ...]
    late: NDArray[np.int32] | None
    leaky: tuple[int, int] | None

    def scaling(self) -> list[Constant]:
        found = [] if self.late is None else [Constant("late_bias", self.late)]
        if len(self.right) > 1:
            found.append(Constant("right", np.array(self.right, np.uint8)))
        if len(self.up) > 1:
            found.append(Constant("up", np.array(self.up, np.int32)))
        return found

    def store(self, prefix: str, place: str = "*output++") -> list[str]:
        scaled = "sum"
        if any(self.right):
            scaled = f"(sum >> {self._each(prefix, 'right', self.right)})"
        if self.up != (1,):
            scaled += f" * {self._each(prefix, 'up', self.up)}"
        if self.late is not None:
            scaled += f" + {prefix}_late_bias[c]"
        if scaled.endswith(")"):
            scaled = scaled[1:-1]
        clamped = f"clamp{'_wide' if self.wide else ''}({scaled}, LOW, HIGH)"
        if self.leaky is None:
            return [f"{place} = ({self.data_type}){clamped};"]
        return [
            f"const int32_t value = {clamped};",
            "const int32_t sloped = clamp((value * SLOPE) >> SLOPE_SHIFT, LOW, HIGH);",
            "",
            f"{place} = ({self.data_type})(value < 0 ? sloped : value);",
        ]

    @staticmethod
    def _each(prefix: str, name: str, values: tuple[int, ...]) -> str:
        return f"{prefix}_{name}[c]" if len(values) > 1 else str(values[0])

    def named(self) -> list[dict[str, int]]:
        slope = {} if self.leaky is None else {"SLOPE": self.leaky[0], "SLOPE_SHIFT": self.leaky[1]}
        return [*super().named(), slope]


@dataclass(frozen=True, kw_only=True)
class Relu(Step):
    def constants(self) -> list[Constant]:
        return []

    def body(self) -> list[str]:
        return [
            loop("i", self.writes[0].info.elements),
            "output[i] = input[i] > 0 ? input[i] : 0;",
            END,
        ]


def plan_conv(node: Node) -> Step:
    """Conv2D and DepthwiseConv2D; over a single pixel, a dense layer."""
    node.check_counts(range(2, 4))
    source, weights, target = node.input(0), node.input(1), node.output()
    node.require_dtype(weights, source.info.dtype)
    values = node.constant(weights)
    outputs, *taps, channels = weights.info.shape
    height, width = _axes(node, (taps[0], taps[1]))
    facts: dict[str, Any] = {
        "index": node.operator.index,
        "op": node.operator.op,
        "reads": (source,),
        "writes": (target,),
        "macs": target.info.elements * taps[0] * taps[1] * channels,
    }
    by_channel = values.reshape(outputs, -1)
    if weights.info.shape[1:3] == source.info.shape[1:3] == (1, 1) and target.info.shape[1:3] == (1, 1):
        sums = _plan_sums(node, by_channel, by_channel)
        return FullyConnected(**facts, batches=1, inputs=channels, outputs=outputs, sums=sums)
    depthwise = node.operator.op == "DepthwiseConv2D"
    # The depthwise kernel reads its filter tap by tap, all channels of one side by side.
    sums = _plan_sums(node, by_channel, by_channel.T if depthwise else by_channel)
    walk: dict[str, Any] = {
        "batches": 1,
        "height": height,
        "width": width,
        "in_channels": source.info.shape[3],
        "out_channels": outputs,
        "sums": sums,
    }
    if depthwise:
        return DepthwiseConv2D(**facts, **walk, multiplier=1)
    return Conv2D(**facts, **walk, groups=1)


def plan_relu(node: Node) -> Step:
    node.check_counts(1)
    source, target = node.activation(node.input()), node.activation(node.output())
    node.require_same_scale(source, target)
    return Relu(index=node.operator.index, op=node.operator.op, reads=(source,), writes=(target,))


def _axes(node: Node, taps: tuple[int, int]) -> tuple[Axis, Axis]:
    """Rows and columns; pads are top, left, bottom, right."""
    source, target = node.input().info.shape, node.output().info.shape
    pads, strides, dilations = (node.integers(name) for name in ("pads", "strides", "dilations"))
    rows, columns = (
        Axis(source[1 + i], target[1 + i], taps[i], strides[i], dilations[i], pads[i]) for i in range(2)
    )
    return rows, columns


def _exponents(tensor: Tensor) -> list[int]:
    """Of scales that are powers of two."""
    return [math.frexp(scale)[1] - 1 for scale in tensor.scales]


def _plan_sums(node: Node, by_channel: NDArray[np.generic], stored: NDArray[np.generic]) -> FlooredSums:
    """`by_channel` are the weights as (output channel, everything that is summed), `stored` as the kernel
    reads them.
    """
    source, target = node.activation(node.input(0)), node.activation(node.output())
    limits = np.iinfo(source.info.dtype)
    shifts = [_exponents(target)[0] - _exponents(source)[0] - e for e in _exponents(node.input(1))]
    channels = len(by_channel)
    bias = (
        node.constant(node.input(2)).astype(np.int64) if node.has_input(2) else np.zeros(channels, np.int64)
    )
    # The sum loses this much before the bias is added, the rest after.
    first = PER_CHANNEL_SHIFT if node.flag("per_channel") else max(shifts[0], 0)
    up = [1 << max(0, first - shift) for shift in shifts]
    width, largest = (32, INT32_MAX) if source.info.dtype == "int8" else (64, INT64_MAX)
    products = int(-limits.min * np.abs(by_channel.astype(np.int64)).sum(axis=1).max())
    # Python's integers: a bias times 2^62 does not fit numpy's.
    start = [int(value) << first for value in bias]
    bound = products + max(abs(value) for value in start)
    early = bound <= largest and (node.flag("per_channel") or up == [1])
    if not early:
        start, bound = [0] * channels, products + int(np.abs(bias).max())
    bound *= max(up)
    node.require(bound <= largest, f"its sums can reach {bound}, which does not fit {width} bits")
    wide = bound > INT32_MAX
    leaky = None
    if node.flag("leaky"):
        leaky = node.integer("alpha", limits.min, limits.max), -node.integer("alpha_exponent", -30, 0)
    return FlooredSums(
        weights=np.ascontiguousarray(stored).reshape(-1),
        bias=np.array(start, np.int64 if wide else np.int32),
        low=0 if node.flag("relu") else int(limits.min),
        high=int(limits.max),
        data=source.info.dtype,
        bound=bound,
        right=_one_or_each(min(max(shift, first), 63 if wide else 31) for shift in shifts),
        up=_one_or_each(up),
        late=None if early else bias.astype(np.int32),
        leaky=leaky,
    )


def _one_or_each(values: Iterable[int]) -> tuple[int, ...]:
    """One value where all are the same."""
    each = tuple(values)
    return each[:1] if len(set(each)) == 1 else each


ESPDL_V1_OPERATORS: dict[str, Callable[[Node], Step]] = {
    "Concat": concatenation,
    "Conv2D": plan_conv,
    "DepthwiseConv2D": plan_conv,
    "GlobalMaxPool2D": plan_max_pool,
    "MaxPool2D": plan_max_pool,
    "Relu": plan_relu,
    "Reshape": plan_alias,
    "Sigmoid": plan_fast_float,
    "Softmax": plan_fast_float,
}
