"""CONV_2D and DEPTHWISE_CONV_2D: windows of dot products over an NHWC image."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from harness.portable.c_text import END, enum, loop
from harness.portable.graph import Tensor
from harness.portable.node import Node
from harness.portable.ops.sums import Sums, per_channel_axis, plan_sums
from harness.portable.ops.window import Axis, plan_axes
from harness.portable.step import Constant, Step


@dataclass(frozen=True, kw_only=True)
class Convolution(Step):
    """The part both share: the walk over the output, the taps that are inside, the enum."""

    batches: int
    height: Axis
    width: Axis
    in_channels: int
    out_channels: int
    sums: Sums

    @property
    def inside(self) -> bool:
        """No window sticks out: every tap counts everywhere."""
        return self.height.inside and self.width.inside

    @property
    def headers(self) -> tuple[str, ...]:
        return (*self.sums.headers, "window.h")

    def constants(self) -> list[Constant]:
        return self.sums.constants()

    def notes(self) -> list[str]:
        return self.sums.notes()

    def shapes(self) -> list[dict[str, int]]:
        height, width = self.height, self.width
        groups = [
            {"IN_H": height.size, "IN_W": width.size, "IN_C": self.in_channels},
            {"FILTER_H": height.taps, "FILTER_W": width.taps},
            {"OUT_H": height.out, "OUT_W": width.out, "OUT_C": self.out_channels},
            {"STRIDE_H": height.stride, "STRIDE_W": width.stride},
        ]
        if self.dilated:
            groups.append({"DILATION_H": height.dilation, "DILATION_W": width.dilation})
        if not self.inside:
            groups.append({"PAD_TOP": height.pad, "PAD_LEFT": width.pad})
        return groups

    @property
    def dilated(self) -> bool:
        return (self.height.dilation, self.width.dilation) != (1, 1)

    def body(self) -> list[str]:
        batch = f"for (int32_t batch = 0; batch < {self.batches}; batch++, input += IN_H * IN_W * IN_C) {{"
        return [
            *enum(*self.shapes(), *self.sums.named()),
            *([batch] if self.batches > 1 else []),
            loop("y", "OUT_H"),
            f"const int32_t top = y * STRIDE_H{'' if self.inside else ' - PAD_TOP'};",
            *self._range("rows", "top", "H"),
            "",
            loop("x", "OUT_W"),
            f"const int32_t left = x * STRIDE_W{'' if self.inside else ' - PAD_LEFT'};",
            *self._range("columns", "left", "W"),
            *self.channels(),
            END,
            END,
            *([END] if self.batches > 1 else []),
        ]

    def _range(self, name: str, origin: str, axis: str) -> list[str]:
        if self.inside:
            return []
        dilation = f"DILATION_{axis}" if self.dilated else "1"
        return [f"const tap_range {name} = taps_inside({origin}, FILTER_{axis}, {dilation}, IN_{axis});"]

    @property
    def rows(self) -> str:
        return loop("fy", "FILTER_H") if self.inside else loop("fy", "rows.end", "rows.first")

    @property
    def row(self) -> str:
        step = "fy * DILATION_H" if self.dilated else "fy"
        return f"const int32_t row = (top + {step}) * IN_W + left;"

    @abstractmethod
    def channels(self) -> list[str]:
        """What is done at one output position (y, x): all channels of it."""


@dataclass(frozen=True, kw_only=True)
class Conv2D(Convolution):
    """Weights are [out channel][row][column][filter channel]; `groups` > 1 splits the channels."""

    groups: int

    def shapes(self) -> list[dict[str, int]]:
        groups = {"GROUPS": self.groups, "GROUP_C": self.out_channels // self.groups}
        filter_channels = {"FILTER_C": self.in_channels // self.groups}
        return [*super().shapes(), {**filter_channels, **(groups if self.groups > 1 else {})}]

    def channels(self) -> list[str]:
        grouped = self.groups > 1
        head = [loop("c", "OUT_C")]
        if grouped:
            head = [loop("group", "GROUPS"), loop("c", "(group + 1) * GROUP_C", "group * GROUP_C")]
        contiguous = self.width.dilation == 1 and not grouped
        return [
            f"const {self.sums.weight_type} *filter = {self.prefix}_weights;",
            "",
            *head,
            f"{self.sums.sum_type} sum = {self.prefix}_bias[c];",
            "",
            self.rows,
            self.row,
            *(self._whole_row() if contiguous else self._tap_by_tap()),
            END,
            *self.sums.store(self.prefix),
            "filter += FILTER_H * FILTER_W * FILTER_C;",
            END,
            *([END] if grouped else []),
        ]

    @property
    def _dot(self) -> str:
        if self.sums.input_offset:
            return "dot_offset(sum, pixels, INPUT_OFFSET, taps"
        return f"{self.sums.dot}(sum, pixels, taps"

    def _whole_row(self) -> list[str]:
        """All columns and channels of a filter row lie side by side, in the image as well."""
        if self.inside:
            column, pixels, count = "fy * FILTER_W", "row", "FILTER_W"
        else:
            column, pixels = "(fy * FILTER_W + columns.first)", "(row + columns.first)"
            count = "(columns.end - columns.first)"
        return [
            f"const {self.sums.data_type} *const pixels = input + {pixels} * IN_C;",
            f"const {self.sums.weight_type} *const taps = filter + {column} * FILTER_C;",
            "",
            f"sum = {self._dot}, {count} * FILTER_C);",
        ]

    def _tap_by_tap(self) -> list[str]:
        columns = loop("fx", "FILTER_W") if self.inside else loop("fx", "columns.end", "columns.first")
        column = "fx * DILATION_W" if self.dilated else "fx"
        group = " + group * FILTER_C" if self.groups > 1 else ""
        return [
            "",
            columns,
            f"const {self.sums.data_type} *const pixels = input + (row + {column}) * IN_C{group};",
            f"const {self.sums.weight_type} *const taps = filter + (fy * FILTER_W + fx) * FILTER_C;",
            "",
            f"sum = {self._dot}, FILTER_C);",
            END,
        ]


@dataclass(frozen=True, kw_only=True)
class DepthwiseConv2D(Convolution):
    """Weights are [row][column][out channel]; `multiplier` outputs for each input channel."""

    multiplier: int

    def channels(self) -> list[str]:
        many = self.multiplier > 1
        channel = "in_c" if many else "c"
        heads = [
            loop("in_c", "IN_C"),
            loop("c", f"(in_c + 1) * {self.multiplier}", f"in_c * {self.multiplier}"),
        ]
        first = "" if self.inside else " + columns.first"
        step = "DILATION_W * " if self.dilated else ""
        if first and step:
            pixel = "(row + columns.first * DILATION_W)"
        else:
            pixel = f"(row{first})" if first else "row"
        tap = f"(fy * FILTER_W{first})" if first else "fy * FILTER_W"
        count = "FILTER_W" if self.inside else "columns.end - columns.first"
        offset = "INPUT_OFFSET, " if self.sums.input_offset else "0, "
        # int16 has no zero point.
        offset = offset if self.sums.data == "int8" else ""
        return [
            "",
            *(heads if many else [loop("c", "OUT_C")]),
            f"{self.sums.sum_type} sum = {self.prefix}_bias[c];",
            "",
            self.rows,
            self.row,
            f"const {self.sums.data_type} *const pixels = input + {pixel} * IN_C + {channel};",
            f"const {self.sums.weight_type} *const taps = {self.prefix}_weights + {tap} * OUT_C + c;",
            "",
            f"sum = {self.sums.dot}_strided(sum, pixels, {step}IN_C, {offset}taps, OUT_C, {count});",
            END,
            *self.sums.store(self.prefix),
            END,
            *([END] if many else []),
        ]


def plan_conv_2d(node: Node) -> Step:
    source, weights, target = _tensors(node)
    out_channels, filter_height, filter_width, filter_channels = weights.info.shape
    height, width = plan_axes(node, source, target, (filter_height, filter_width))
    batches, in_channels = source.info.shape[0], source.info.shape[3]
    groups, rest = divmod(in_channels, filter_channels)
    if rest or target.info.shape[3] != out_channels or out_channels % groups:
        node.malformed(f"{in_channels} channels, filter {weights.info.shape}, output {target.info.shape}")
    node.require(per_channel_axis(weights) in (None, 0), "weight scales must run along the output channels")
    inside = height.inside and width.inside
    values = node.constant(weights).reshape(out_channels, -1)
    return Conv2D(
        index=node.operator.index,
        op=node.operator.op,
        reads=(source,),
        writes=(target,),
        macs=target.info.elements * filter_height * filter_width * filter_channels,
        batches=batches,
        height=height,
        width=width,
        in_channels=in_channels,
        out_channels=out_channels,
        groups=groups,
        sums=plan_sums(node, values, foldable=inside),
    )


def plan_depthwise_conv_2d(node: Node) -> Step:
    source, weights, target = _tensors(node)
    batch, filter_height, filter_width, out_channels = weights.info.shape
    height, width = plan_axes(node, source, target, (filter_height, filter_width))
    in_channels = source.info.shape[3]
    multiplier = node.integer("depth_multiplier", 1, 1 << 16)
    if batch != 1 or target.info.shape[3] != out_channels or out_channels != in_channels * multiplier:
        node.malformed(
            f"{in_channels} x {multiplier} channels, filter {weights.info.shape}, output {target.info.shape}"
        )
    node.require(per_channel_axis(weights) in (None, 3), "weight scales must run along the output channels")
    inside = height.inside and width.inside
    values = np.moveaxis(node.constant(weights), 3, 0).reshape(out_channels, -1)
    return DepthwiseConv2D(
        index=node.operator.index,
        op=node.operator.op,
        reads=(source,),
        writes=(target,),
        macs=target.info.elements * filter_height * filter_width,
        batches=source.info.shape[0],
        height=height,
        width=width,
        in_channels=in_channels,
        out_channels=out_channels,
        multiplier=multiplier,
        sums=plan_sums(node, values, foldable=inside),
    )


def _tensors(node: Node) -> tuple[Tensor, Tensor, Tensor]:
    node.check_counts(range(2, 4))
    source, weights, target = node.input(0), node.input(1), node.output()
    node.require_dtype(weights, "int8")
    if len(weights.info.shape) != 4 or min(weights.info.shape) < 1:
        node.malformed(f"filter has shape {weights.info.shape}, expected four dimensions")
    return source, weights, target
