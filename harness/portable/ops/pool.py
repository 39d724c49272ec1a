"""MAX_POOL_2D and AVERAGE_POOL_2D."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from harness.portable.c_text import C_TYPES, END, enum, loop
from harness.portable.graph import Tensor
from harness.portable.node import Node
from harness.portable.ops.window import Axis, lead_elements, plan_axes
from harness.portable.step import Constant, Step

# A reciprocal in average.h has so many bits behind the point; more where that is not exact.
RECIPROCAL_BITS = 30
VALUE = "input[((top + py) * IN_W + left + px) * CHANNELS + c]"


@dataclass(frozen=True, kw_only=True)
class Pool(Step):
    """The walk over the windows; what a window yields is for the two below to say."""

    batches: int
    channels: int
    height: Axis
    width: Axis
    low: int
    high: int

    @property
    def inside(self) -> bool:
        """No window sticks out of the image."""
        return self.height.inside and self.width.inside

    @property
    def headers(self) -> tuple[str, ...]:
        return ("fixed_point.h", "window.h")

    @property
    def lead_bytes(self) -> int | None:
        if self.batches > 1:
            return None
        row = self.width.out * self.channels
        element_bytes = int(np.dtype(self.writes[0].info.dtype).itemsize)
        return lead_elements(self.height, self.width.size * self.channels, row) * element_bytes

    def constants(self) -> list[Constant]:
        return []

    def named(self) -> list[dict[str, int]]:
        height, width = self.height, self.width
        return [
            {"IN_H": height.size, "IN_W": width.size, "CHANNELS": self.channels},
            {"POOL_H": height.taps, "POOL_W": width.taps, "OUT_H": height.out, "OUT_W": width.out},
            {"STRIDE_H": height.stride, "STRIDE_W": width.stride},
            {} if self.inside else {"PAD_TOP": height.pad, "PAD_LEFT": width.pad},
            {"LOW": self.low, "HIGH": self.high},
        ]

    def body(self) -> list[str]:
        if self.inside:
            tops, lefts, ranges = "y * STRIDE_H", "x * STRIDE_W", ("", "")
            rows, columns = loop("py", "POOL_H"), loop("px", "POOL_W")
        else:
            tops, lefts = "y * STRIDE_H - PAD_TOP", "x * STRIDE_W - PAD_LEFT"
            ranges = (
                "const tap_range rows = taps_inside(top, POOL_H, 1, IN_H);",
                "const tap_range columns = taps_inside(left, POOL_W, 1, IN_W);",
            )
            rows, columns = loop("py", "rows.end", "rows.first"), loop("px", "columns.end", "columns.first")
        begin, values, result = self.window()
        batch = (
            f"for (int32_t batch = 0; batch < {self.batches}; batch++, input += IN_H * IN_W * CHANNELS) {{"
        )
        return [
            *enum(*self.named()),
            *([batch] if self.batches > 1 else []),
            loop("y", "OUT_H"),
            f"const int32_t top = {tops};",
            *([ranges[0]] if ranges[0] else []),
            "",
            loop("x", "OUT_W"),
            f"const int32_t left = {lefts};",
            *([ranges[1]] if ranges[1] else []),
            *self.count(),
            "",
            loop("c", "CHANNELS"),
            begin,
            "",
            rows,
            columns,
            *values,
            END,
            END,
            f"*output++ = ({self.data_type})clamp({result}, LOW, HIGH);",
            END,
            END,
            END,
            *([END] if self.batches > 1 else []),
        ]

    @property
    def data_type(self) -> str:
        """The C type of the elements."""
        return C_TYPES[self.writes[0].info.dtype]

    def count(self) -> list[str]:
        """Declarations needed once per window."""
        return []

    @abstractmethod
    def window(self) -> tuple[str, list[str], str]:
        """Start of a channel, what is done for each tap, the result's expression."""


@dataclass(frozen=True, kw_only=True)
class MaxPool(Pool):
    def window(self) -> tuple[str, list[str], str]:
        values = [f"const int32_t value = {VALUE};", "", "highest = value > highest ? value : highest;"]
        return f"int32_t highest = {self.data_type[:-2].upper()}_MIN;", values, "highest"


@dataclass(frozen=True, kw_only=True)
class AveragePool(Pool):
    """`reciprocals[n]` / 2^`bits[n]` divides by n; where windows stick out of the image, smaller n occur
    as well.
    """

    reciprocals: tuple[int, ...]
    bits: tuple[int, ...]

    @property
    def headers(self) -> tuple[str, ...]:
        return ("average.h", *super().headers)

    def constants(self) -> list[Constant]:
        if self.inside:
            return []
        tables = [Constant("reciprocal", np.array(self.reciprocals, np.int32))]
        return tables if self._one_bits else [*tables, Constant("bits", np.array(self.bits, np.uint8))]

    @property
    def _one_bits(self) -> bool:
        """All reciprocals have as many."""
        return len(set(self.bits)) == 1

    def named(self) -> list[dict[str, int]]:
        taps = self.height.taps * self.width.taps
        inside = {"COUNT": taps, "RECIPROCAL": self.reciprocals[taps]} if self.inside else {}
        return [*super().named(), inside]

    def count(self) -> list[str]:
        if self.inside:
            return []
        return [
            "const int32_t count = (rows.end - rows.first) * (columns.end - columns.first);",
            f"const int32_t reciprocal = {self.prefix}_reciprocal[count];",
        ]

    def window(self) -> tuple[str, list[str], str]:
        bits = str(self.bits[-1]) if self.inside or self._one_bits else f"{self.prefix}_bits[count]"
        divisor = f"COUNT, RECIPROCAL, {bits}" if self.inside else f"count, reciprocal, {bits}"
        return "int32_t sum = 0;", [f"sum += {VALUE};"], f"rounded_quotient(sum, {divisor})"


def plan_max_pool(node: Node) -> Step:
    source, target, height, width = _windows(node)
    low, high = node.activation_range(target)
    return MaxPool(
        index=node.operator.index,
        op=node.operator.op,
        reads=(source,),
        writes=(target,),
        batches=source.info.shape[0],
        channels=source.info.shape[3],
        height=height,
        width=width,
        low=low,
        high=high,
    )


def plan_average_pool(node: Node) -> Step:
    source, target, height, width = _windows(node)
    low, high = node.activation_range(target)
    counts = range(1, height.taps * width.taps + 1)
    largest = -int(np.iinfo(target.info.dtype).min)
    node.require(len(counts) < 1 << 16, f"a window of {height.taps} x {width.taps}")
    divisors = [(1 << RECIPROCAL_BITS, RECIPROCAL_BITS), *(_reciprocal(node, n, largest) for n in counts)]
    return AveragePool(
        index=node.operator.index,
        op=node.operator.op,
        reads=(source,),
        writes=(target,),
        batches=source.info.shape[0],
        channels=source.info.shape[3],
        height=height,
        width=width,
        low=low,
        high=high,
        reciprocals=tuple(reciprocal for reciprocal, _ in divisors),
        bits=tuple(bits for _, bits in divisors),
    )


def _reciprocal(node: Node, count: int, largest: int) -> tuple[int, int]:
    """1 / count in 31 bits and how many are behind the point; exact for every sum of so many values."""
    for bits in (RECIPROCAL_BITS, RECIPROCAL_BITS + count.bit_length() - 1):
        reciprocal = -(-(1 << bits) // count)
        # The quotient of every sum is exact if the reciprocal's excess never adds up to one.
        if (largest * count + count // 2) * (reciprocal * count - (1 << bits)) < 1 << bits:
            return reciprocal, bits
    return node.refuse(f"a window of {count} values")


def _windows(node: Node) -> tuple[Tensor, Tensor, Axis, Axis]:
    """Input, output and both axes, checked; pooling keeps scale and zero point."""
    node.check_counts(1)
    source, target = node.activation(node.input()), node.activation(node.output())
    node.require(source.info.dtype == target.info.dtype, "input and output of different types")
    node.require(source.data is None, f"its input '{source.info.name}' is a constant")
    limit = 1 << 20
    taps = (node.integer("filter_height", 1, limit), node.integer("filter_width", 1, limit))
    height, width = plan_axes(node, source, target, taps)
    if source.info.shape[3] != target.info.shape[3]:
        node.malformed("input and output differ in channels")
    difference = abs(float(np.float32(source.info.scale) - np.float32(target.info.scale)))
    node.require(
        difference <= 1e-6 and source.info.zero_point == target.info.zero_point,
        "input and output differ in scale or zero point",
    )
    return source, target, height, width
