"""ESP-DL's averages: AveragePool, GlobalAveragePool and ReduceMean.

ESP-DL multiplies or divides a sum in single precision and rounds. A pool multiplies by 1 / area, itself
rounded, so that a mean halfway between two integers may fall on either side: the kernel does the same in
integers. ReduceMean divides, which is exact wherever the planner lets it pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.portable.graph import Tensor
from harness.portable.node import Node
from harness.portable.ops.mean import Mean, mean_axes, mean_nests
from harness.portable.ops.pool import VALUE, Pool
from harness.portable.ops.power_of_two import exponents, pair, window_axes
from harness.portable.ops.shift import shifted
from harness.portable.ops.strides import product
from harness.portable.ops.window import Axis
from harness.portable.step import Step

# float32 holds sums of so many int8 values exactly.
MAX_AREA = (1 << 17) - 1
# Below, no quotient comes closer to a half than float32 errs within int8's range (2^-16), but the halves.
MAX_QUOTIENT_DIVISOR = 1 << 15
MAX_RESCALE = 8


@dataclass(frozen=True, kw_only=True)
class SingleAveragePool(Pool):
    """The sum times `mantissa` / 2^shift in single precision; 0 for a window that is a power of two."""

    mantissa: int
    shift: int
    half_even: bool

    @property
    def headers(self) -> tuple[str, ...]:
        return ("single_mean.h" if self.mantissa else "power_of_two.h", *super().headers)

    def notes(self) -> list[str]:
        return ["the sum times 1 / area in single precision, as ESP-DL has it"] if self.mantissa else []

    def named(self) -> list[dict[str, int]]:
        scale = {"MANTISSA": self.mantissa, "SHIFT": self.shift} if self.mantissa else {}
        return [*super().named(), scale]

    def window(self) -> tuple[str, list[str], str]:
        result = shifted("sum", self.shift, half_even=self.half_even)
        if self.mantissa:
            result = f"{'scaled_half_even' if self.half_even else 'scaled_half_up'}(sum, MANTISSA, SHIFT)"
        return "int32_t sum = 0;", [f"sum += {VALUE};"], result


def plan_average_pool(node: Node) -> Step:
    node.require(node.integer("ceil_mode", 0, 1) == 0, "an output size rounded up")
    height, width = window_axes(node, pair(node, "kernel_shape"))
    node.require((height.dilation, width.dilation) == (1, 1), "dilation")
    for axis in (height, width):
        # ESP-DL counts the windows that begin in the padding before it looks at the output's size.
        node.require(-(-axis.pad // axis.stride) <= axis.out, "more windows in the padding than outputs")
    return _average_pool(node, height, width)


def plan_global_average_pool(node: Node) -> Step:
    _, rows, columns, _ = node.input().info.shape
    height, width = (Axis(size, 1, size, 1, 1, 0) for size in (rows, columns))
    return _average_pool(node, height, width)


def _average_pool(node: Node, height: Axis, width: Axis) -> Step:
    """Padding counts: the divisor is the window's whole area everywhere."""
    source, target, rescale = _ends(node)
    area = height.taps * width.taps
    node.require(area <= MAX_AREA, f"a window of {height.taps} x {width.taps}")
    fraction, exponent = math.frexp(float(np.float32(1) / np.float32(area)))
    mantissa, shift = int(fraction * (1 << 24)), 24 - exponent - rescale
    if area & (area - 1) == 0:
        mantissa, shift = 0, area.bit_length() - 1 - rescale
    limits = np.iinfo(target.info.dtype)
    return SingleAveragePool(
        index=node.operator.index,
        op=node.operator.op,
        reads=(source,),
        writes=(target,),
        batches=source.info.shape[0],
        channels=source.info.shape[3],
        height=height,
        width=width,
        low=int(limits.min),
        high=int(limits.max),
        mantissa=mantissa,
        shift=shift,
        half_even=node.flag("half_even"),
    )


def _ends(node: Node) -> tuple[Tensor, Tensor, int]:
    """Input and output, and the power of two by which the output's integers are larger."""
    source, target = node.int8_activation(node.input()), node.int8_activation(node.output())
    node.require(source.data is None, f"its input '{source.info.name}' is a constant")
    rescale = exponents(source)[0] - exponents(target)[0]
    node.require(abs(rescale) <= MAX_RESCALE, f"a mean scaled by 2^{rescale}")
    return source, target, rescale


@dataclass(frozen=True, kw_only=True)
class QuotientMean(Mean):
    """The sum times `factor`, divided by `divisor`."""

    factor: int
    divisor: int
    half_even: bool

    @property
    def headers(self) -> tuple[str, ...]:
        return ("quotient.h",)

    def scaled(self) -> str:
        total = f"sum * {self.factor}" if self.factor > 1 else "sum"
        name = "quotient_half_even" if self.half_even else "quotient_half_up"
        return f"clamp({name}({total}, {self.divisor}), {self.limits})"


def reduced_axes(node: Node) -> list[int]:
    """All axes when none is given, unless noop_with_empty_axes says none."""
    if not node.has_input(1):
        return [] if node.flag("noop_with_empty_axes") else list(range(len(node.input().info.shape)))
    return mean_axes(node, node.constant_integers(node.input(1)))


def plan_reduce_mean(node: Node) -> Step:
    node.check_counts(range(1, 3))
    source, target, rescale = _ends(node)
    axes = reduced_axes(node)
    shape = source.info.shape
    divisor = product(shape[axis] for axis in axes) << max(0, -rescale)
    node.require(divisor < MAX_QUOTIENT_DIVISOR, f"a mean of {product(shape[axis] for axis in axes)} values")
    kept, reduced = mean_nests(shape, axes)
    return QuotientMean(
        index=node.operator.index,
        op=node.operator.op,
        reads=(source,),
        writes=(target,),
        kept=kept,
        reduced=reduced,
        start=0,
        factor=1 << max(0, rescale),
        divisor=divisor,
        half_even=node.flag("half_even"),
    )
