"""MAX_POOL_2D and AVERAGE_POOL_2D."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.portable.c_text import END, enum, loop
from harness.portable.node import Node
from harness.portable.ops.window import Axis, plan_axes
from harness.portable.step import Constant, Step


@dataclass(frozen=True, kw_only=True)
class Pool(Step):
    """One loop nest for both: what a window yields is all that differs."""

    batches: int
    channels: int
    height: Axis
    width: Axis
    low: int
    high: int

    @property
    def inside(self) -> bool:
        return self.height.inside and self.width.inside

    @property
    def average(self) -> bool:
        return self.op == "AVERAGE_POOL_2D"

    @property
    def headers(self) -> tuple[str, ...]:
        return ("fixed_point.h", "window.h")

    def constants(self) -> list[Constant]:
        return []

    def body(self) -> list[str]:
        height, width = self.height, self.width
        values = {"IN_H": height.size, "IN_W": width.size, "CHANNELS": self.channels}
        values |= {"POOL_H": height.taps, "POOL_W": width.taps, "OUT_H": height.out, "OUT_W": width.out}
        values |= {"STRIDE_H": height.stride, "STRIDE_W": width.stride}
        pad_top = pad_left = ""
        if not self.inside:
            values |= {"PAD_TOP": height.pad, "PAD_LEFT": width.pad}
            pad_top, pad_left = " - PAD_TOP", " - PAD_LEFT"
        values |= {"LOW": self.low, "HIGH": self.high}
        rows, columns = loop("py", "POOL_H"), loop("px", "POOL_W")
        if not self.inside:
            rows, columns = loop("py", "rows.end", "rows.first"), loop("px", "columns.end", "columns.first")
        batch = (
            f"for (int32_t batch = 0; batch < {self.batches}; batch++, input += IN_H * IN_W * CHANNELS) {{"
        )
        return [
            *enum(**values),
            *([batch] if self.batches > 1 else []),
            loop("y", "OUT_H"),
            f"const int32_t top = y * STRIDE_H{pad_top};",
            *([] if self.inside else ["const tap_range rows = taps_inside(top, POOL_H, 1, IN_H);"]),
            "",
            loop("x", "OUT_W"),
            f"const int32_t left = x * STRIDE_W{pad_left};",
            *([] if self.inside else ["const tap_range columns = taps_inside(left, POOL_W, 1, IN_W);"]),
            *self._count(),
            "",
            loop("c", "CHANNELS"),
            f"int32_t {'sum = 0' if self.average else 'highest = INT8_MIN'};",
            "",
            rows,
            columns,
            "const int32_t value = input[((top + py) * IN_W + left + px) * CHANNELS + c];",
            "",
            "sum += value;" if self.average else "highest = value > highest ? value : highest;",
            END,
            END,
            f"*output++ = (int8_t)clamp({self._result}, LOW, HIGH);",
            END,
            END,
            END,
            *([END] if self.batches > 1 else []),
        ]

    def _count(self) -> list[str]:
        return []

    @property
    def _result(self) -> str:
        return "highest"


def plan_pool(node: Node) -> Step:
    node.check_counts(1)
    source, target = node.int8_activation(node.input()), node.int8_activation(node.output())
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
    low, high = node.activation_range(target)
    return Pool(
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
