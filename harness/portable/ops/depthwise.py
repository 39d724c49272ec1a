"""DEPTHWISE_CONV_2D: a filter for each channel; a row of a channel at a time, or by dot products."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.portable.c_text import END, enum, loop
from harness.portable.node import Node
from harness.portable.ops.conv import Convolution, filter_tensors
from harness.portable.ops.multiplied_sums import plan_sums
from harness.portable.ops.sums import per_channel_axis
from harness.portable.ops.window import plan_axes
from harness.portable.step import Constant, Step

DEPTHWISE_PIXELS = 16  # in depthwise.h


@dataclass(frozen=True, kw_only=True)
class DepthwiseConv2D(Convolution):
    """Weights are [row][column][out channel]; `multiplier` outputs for each input channel."""

    multiplier: int

    @property
    def attributes(self) -> str:
        return "IN_THIS_ORDER " if self.sums.tiled else ""

    @property
    def tile_header(self) -> str:
        return "depthwise.h"

    @property
    def by_channels(self) -> bool:
        """No row has to be copied first: a channel from top to bottom, filter and scale loaded once."""
        return self.sums.tiled and self.inside

    @property
    def lead_bytes(self) -> int | None:
        return None if self.by_channels else super().lead_bytes

    def constants(self) -> list[Constant]:
        """The taps of a channel side by side."""
        return self.sums.constants(self.sums.weights.reshape(-1, self.out_channels).T.reshape(-1))

    def declarations(self) -> list[str]:
        if not self.sums.tiled:
            return []
        strides = [str(self.width.dilation * self.in_channels), str(self.width.stride * self.in_channels)]
        return [f"static const channel_window window = {{FILTER_H, ROW, FILTER_W, {', '.join(strides)}}};"]

    def body(self) -> list[str]:
        if not self.by_channels:
            return super().body()
        batch = f"for (int32_t batch = 0; batch < {self.batches}; batch++, input += IN_H * IN_W * IN_C) {{"
        channels, in_channel = self._channels()
        walk = [*channels, loop("y", "OUT_H"), *self._rows(), "", *self._channel(in_channel, "y * OUT_W + ")]
        whole = [*walk, *[END] * (1 + len(channels)), "output += OUT_H * OUT_W * OUT_C;"]
        return [
            *enum(*self.shapes(), *self.sums.named()),
            *self.declarations(),
            "",
            *([batch, *whole, END] if self.batches > 1 else whole[:-1]),
        ]

    def _channels(self) -> tuple[list[str], str]:
        """The heads of the loops over output channels, and which input channel each reads."""
        if self.multiplier == 1:
            return [loop("c", "OUT_C")], "c"
        first, end = f"in_c * {self.multiplier}", f"(in_c + 1) * {self.multiplier}"
        return [loop("in_c", "IN_C"), loop("c", end, first)], "in_c"

    def row(self) -> list[str]:
        channels, in_channel = self._channels()
        ends = [END] * len(channels)
        if self.sums.tiled:
            return [*channels, *self._channel(in_channel, ""), *ends, "output += OUT_W * OUT_C;"]
        return [loop("x", "OUT_W"), *channels, *self._dots(in_channel), *ends, END]

    def _channel(self, in_channel: str, before: str) -> list[str]:
        """A row of one channel; `before` it in the output come so many pixels."""
        chunks = self.width.out > DEPTHWISE_PIXELS
        pixels, inputs, place = (
            "OUT_W",
            f"rows + {in_channel}",
            f"output[({before}x) * OUT_C + c]" if before else "output[x * OUT_C + c]",
        )
        if chunks:
            pixels, inputs = "pixels", f"rows + first * STRIDE_W * IN_C + {in_channel}"
            place = f"output[({before}first + x) * OUT_C + c]"
        calls = []
        for part in self.sums.parts:
            filter_ = f"{self.prefix}_weights{part} + c * FILTER_H * FILTER_W, {self.prefix}_bias{part}[c]"
            calls += [
                f"sum_channel{self.sums.in_tiles}(sums{part}, {inputs},",
                f"{filter_}, window, {pixels});",
            ]
        head = ["for (int32_t first = 0, pixels; first < OUT_W; first += pixels) {"] if chunks else []
        limit = "pixels = first + DEPTHWISE_PIXELS <= OUT_W ? DEPTHWISE_PIXELS : OUT_W - first;"
        return [
            *head,
            *[f"int32_t sums{part}[DEPTHWISE_PIXELS];" for part in self.sums.parts],
            "",
            *([limit] if chunks else []),
            *calls,
            loop("x", pixels),
            *self.sums.whole("x"),
            *self.sums.store(self.prefix, place),
            END,
            *([END] if chunks else []),
        ]

    def _dots(self, in_channel: str) -> list[str]:
        step = "DILATION_W * IN_C" if self.dilated else "IN_C"
        taps = f"{self.prefix}_weights + (c * FILTER_H + fy) * FILTER_W"
        return [
            f"const {self.sums.data_type} *const inputs = rows + x * STRIDE_W * IN_C + {in_channel};",
            f"{self.sums.sum_type} sum = {self.prefix}_bias[c];",
            "",
            loop("fy", "FILTER_H"),
            f"sum = {self.sums.dot}_strided(sum, inputs + fy * ROW, {step}, {taps}, 1, FILTER_W);",
            END,
            *self.sums.store(self.prefix),
        ]


def plan_depthwise_conv_2d(node: Node) -> Step:
    source, weights, target = filter_tensors(node)
    batch, filter_height, filter_width, out_channels = weights.info.shape
    height, width = plan_axes(node, source, target, (filter_height, filter_width))
    in_channels = source.info.shape[3]
    multiplier = node.integer("depth_multiplier", 1, 1 << 16)
    if batch != 1 or target.info.shape[3] != out_channels or out_channels != in_channels * multiplier:
        node.malformed(
            f"{in_channels} x {multiplier} channels, filter {weights.info.shape}, output {target.info.shape}"
        )
    node.require(per_channel_axis(weights) in (None, 3), "weight scales must run along the output channels")
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
        sums=plan_sums(node, values, always_wide=True),
    )
