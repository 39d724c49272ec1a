"""CONV_2D over an NHWC image, by tiles or by dot products; and the walk DEPTHWISE_CONV_2D shares.

A padded image is read through a copy of the rows under a window, with margins: no kernel knows of
padding.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from harness.portable.c_text import END, enum, loop
from harness.portable.graph import Tensor
from harness.portable.node import Node
from harness.portable.ops import tile
from harness.portable.ops.multiplied_sums import plan_sums
from harness.portable.ops.sums import Sums, per_channel_axis
from harness.portable.ops.window import Axis, lead_elements, plan_axes
from harness.portable.step import Constant, Step


@dataclass(frozen=True, kw_only=True)
class Convolution(Step):
    """The part both share: the walk over the output's rows, the margins, the names of sizes."""

    batches: int
    height: Axis
    width: Axis
    in_channels: int
    out_channels: int
    sums: Sums

    @property
    def inside(self) -> bool:
        """No window sticks out: every tap reads the image itself."""
        return self.height.inside and self.width.inside

    @property
    def headers(self) -> tuple[str, ...]:
        kernel = self.tile_header if self.sums.tiled else "dot16.h"
        return (*self.sums.headers, kernel, *(() if self.inside else ("window.h",)))

    @property
    @abstractmethod
    def tile_header(self) -> str:
        """Where the kernel by tiles is."""

    def notes(self) -> list[str]:
        return self.sums.notes()

    @property
    def row_elements(self) -> int:
        """Length of a row as the kernel sees it: of the image, or of the copy with margins."""
        if self.inside:
            return self.width.size * self.in_channels
        width = self.width
        return ((width.out - 1) * width.stride + (width.taps - 1) * width.dilation + 1) * self.in_channels

    @property
    def row_stride(self) -> int:
        """From one row of the filter to the next. The copy has only the rows that the filter reads."""
        return self.row_elements * (self.height.dilation if self.inside else 1)

    @property
    def lead_elements(self) -> int:
        """Such that the image's part of the copy's rows is aligned wherever the image's rows are."""
        return -self.width.pad * self.in_channels % 4

    @property
    def element_bytes(self) -> int:
        return int(np.dtype(self.sums.data).itemsize)

    @property
    def scratch_bytes(self) -> int:
        elements = 0 if self.inside else self.lead_elements + self.height.taps * self.row_elements
        return elements * self.element_bytes

    @property
    def lead_bytes(self) -> int | None:
        if self.batches > 1:
            return None
        image_row, row = self.width.size * self.in_channels, self.width.out * self.out_channels
        return lead_elements(self.height, image_row, row, copied=not self.inside) * self.element_bytes

    @property
    def dilated(self) -> bool:
        return (self.height.dilation, self.width.dilation) != (1, 1)

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
        return [*groups, {"ROW": self.row_stride}]

    def body(self) -> list[str]:
        batch = f"for (int32_t batch = 0; batch < {self.batches}; batch++, input += IN_H * IN_W * IN_C) {{"
        return [
            *enum(*self.shapes(), *self.sums.named()),
            *self.declarations(),
            *([] if self.inside else self._margins()),
            "",
            *([batch] if self.batches > 1 else []),
            loop("y", "OUT_H"),
            *self._rows(),
            "",
            *self.row(),
            END,
            *([END] if self.batches > 1 else []),
        ]

    def _margins(self) -> list[str]:
        image_row = self.width.size * self.in_channels
        left = self.width.pad * self.in_channels
        inside = min(image_row, self.row_elements - left)
        parts = {
            "image_row": image_row,
            "left": left,
            "inside": inside,
            "right": self.row_elements - left - inside,
        }
        sizes = [f".{part}_size = {elements * self.element_bytes}" for part, elements in parts.items()]
        dilation = "DILATION_H" if self.dilated else "1"
        return [
            "static const margin_rows margins = {",
            f".rows = FILTER_H, .dilation = {dilation}, .image_rows = IN_H, .fill = {self.sums.input_zero},",
            f"{', '.join(sizes)}",
            "};",
        ]

    def _rows(self) -> list[str]:
        """`rows`: the input of the row's first window."""
        if self.inside:
            return [f"const {self.sums.data_type} *const rows = input + y * STRIDE_H * IN_W * IN_C;"]
        lead = f" + {self.lead_elements}" if self.lead_elements else ""
        return [
            f"{self.sums.data_type} *const rows = scratch{lead};",
            "",
            "copy_with_margins(rows, input, &margins, y * STRIDE_H - PAD_TOP);",
        ]

    @abstractmethod
    def declarations(self) -> list[str]:
        """Constants of the kernel."""

    @abstractmethod
    def row(self) -> list[str]:
        """A row of the output, from `rows` to `output`."""


@dataclass(frozen=True, kw_only=True)
class Conv2D(Convolution):
    """Weights are [out channel][row][column][filter channel]; `groups` > 1 splits the channels."""

    groups: int

    @property
    def tile_header(self) -> str:
        return "convolution.h" if self.by_rows else "tile.h"

    @property
    def by_rows(self) -> bool:
        """A row is one call of a function that all such layers share."""
        return self.sums.by_rows and self.groups == 1

    @property
    def filter_channels(self) -> int:
        return self.in_channels // self.groups

    @property
    def group_channels(self) -> int:
        return self.out_channels // self.groups

    @property
    def depth(self) -> int:
        """Products in a sum."""
        return self.height.taps * self.width.taps * self.filter_channels

    @property
    def by_eights(self) -> bool:
        """Where the last channels of a group are single, the eights of the next would lie unaligned."""
        return self.groups == 1 or self.group_channels % tile.CHANNELS == 0

    @property
    def pointwise(self) -> bool:
        """Every pixel for itself: no rows and columns, one sequence of pixels."""
        axes = (self.height, self.width)
        alone = all((axis.taps, axis.stride) == (1, 1) for axis in axes)
        return self.sums.tiled and alone and self.inside and self.groups == 1

    @property
    def kernels(self) -> frozenset[str]:
        pixels = self.pixels if self.pointwise else self.width.out
        tiles = tile.tiles_called(self.sums, self.group_channels, pixels, by_eights=self.by_eights)
        if not self.by_rows:
            return tiles
        return tiles | ({"convolve", "convolve_row"} if self.by_image else {"convolve_row"})

    @property
    def is_one_call(self) -> bool:
        return self.by_rows and (self.pointwise or self.by_image)

    @property
    def by_image(self) -> bool:
        """All rows are one call."""
        return self.by_rows and self.inside and self.batches == 1 and not self.pointwise

    @property
    def pixels(self) -> int:
        """Of a pointwise convolution."""
        return self.batches * self.height.size * self.width.size

    @property
    def lead_bytes(self) -> int | None:
        """Where pixels are one sequence, two are written before the first is read for the last time."""
        if not self.pointwise:
            return super().lead_bytes
        last = self.pixels * self.out_channels - max(0, self.pixels - tile.PIXELS) * self.in_channels
        return max(tile.PIXELS * self.out_channels, last) * self.element_bytes

    def constants(self) -> list[Constant]:
        weights = self.sums.weights
        if self.sums.tiled and self.by_eights:
            weights = tile.tile_order(weights.reshape(self.out_channels, self.depth))
        return self.sums.constants(weights)

    def shapes(self) -> list[dict[str, int]]:
        if self.pointwise:
            return [{"PIXELS": self.pixels, "IN_C": self.in_channels, "OUT_C": self.out_channels}]
        groups = {"GROUPS": self.groups, "GROUP_C": self.group_channels}
        depth = {"FILTER_C": self.filter_channels, "DEPTH": self.depth}
        return [*super().shapes(), {**depth, **(groups if self.groups > 1 else {})}]

    def body(self) -> list[str]:
        if self.by_image:
            return [
                *enum(*self.shapes(), *self.sums.named()),
                *self.declarations(),
                "",
                "convolve(output, input, &layer, OUT_H, OUT_W, STRIDE_H * IN_W * IN_C);",
            ]
        if not self.pointwise:
            return super().body()
        names = enum(*self.shapes(), *self.sums.named())
        if self.by_rows:
            return [
                *names,
                *tile.layer_constant(self.prefix, ["0"], "IN_C", "IN_C", "IN_C"),
                "",
                "(void)convolve_row(output, input, &layer, PIXELS);",
            ]
        return [
            *names,
            *tile.window_constant(["0"], "IN_C", "IN_C"),
            "",
            *tile.pixel_loop(self.sums, "PIXELS", "input", "IN_C"),
            *tile.tile_loop(self.sums, self.prefix, depth="IN_C", channels="OUT_C"),
            "output += pixels * OUT_C;",
            END,
        ]

    def declarations(self) -> list[str]:
        """Runs of inputs are whole rows of the filter, or single taps where these do not lie side by side."""
        if not self.sums.tiled:
            return []
        rows = [f"{row} * ROW" if row else "0" for row in range(self.height.taps)]
        if self.width.dilation == 1 and self.groups == 1:
            return self._window(rows, "FILTER_W * FILTER_C")
        taps = [tap * self.width.dilation for tap in range(self.width.taps)]
        offsets = [f"{row} + {tap} * IN_C" if tap else row for row in rows for tap in taps]
        return self._window(offsets, "FILTER_C")

    def _window(self, offsets: list[str], length: str) -> list[str]:
        if self.by_rows:
            return tile.layer_constant(self.prefix, offsets, length, "STRIDE_W * IN_C", "DEPTH")
        return tile.window_constant(offsets, length, "STRIDE_W * IN_C")

    def row(self) -> list[str]:
        if self.by_rows:
            return ["output = convolve_row(output, rows, &layer, OUT_W);"]
        return self._tiles() if self.sums.tiled else self._dots()

    def _tiles(self) -> list[str]:
        tiles = tile.tile_loop(
            self.sums,
            self.prefix,
            depth="DEPTH",
            channels="GROUP_C" if self.groups > 1 else "OUT_C",
            group="group" if self.groups > 1 else "",
            inputs="inputs + group * FILTER_C" if self.groups > 1 else "inputs",
            by_eights=self.by_eights,
        )
        if self.groups > 1:
            tiles = [loop("group", "GROUPS"), *tiles, END]
        return [
            *tile.pixel_loop(self.sums, "OUT_W", "rows", "STRIDE_W * IN_C"),
            *tiles,
            "output += pixels * OUT_C;",
            END,
        ]

    def _dots(self) -> list[str]:
        sums, grouped = self.sums, self.groups > 1
        head = [loop("c", "OUT_C")]
        if grouped:
            head = [loop("group", "GROUPS"), loop("c", "(group + 1) * GROUP_C", "group * GROUP_C")]
        contiguous = self.width.dilation == 1 and not grouped
        tap = "fx * DILATION_W" if self.dilated else "fx"
        group = " + group * FILTER_C" if grouped else ""
        return [
            loop("x", "OUT_W"),
            f"const {sums.data_type} *const inputs = rows + x * STRIDE_W * IN_C;",
            f"const {sums.weight_type} *taps = {self.prefix}_weights;",
            "",
            *head,
            f"{sums.sum_type} sum = {self.prefix}_bias[c];",
            "",
            loop("fy", "FILTER_H"),
            *([] if contiguous else [loop("fx", "FILTER_W")]),
            (
                f"sum = {sums.dot}(sum, inputs + fy * ROW, taps, FILTER_W * FILTER_C);"
                if contiguous
                else f"sum = {sums.dot}(sum, inputs + fy * ROW + {tap} * IN_C{group}, taps, FILTER_C);"
            ),
            f"taps += {'FILTER_W * ' if contiguous else ''}FILTER_C;",
            END,
            *([] if contiguous else [END]),
            *sums.store(self.prefix),
            END,
            *([END] if grouped else []),
            END,
        ]


def plan_conv_2d(node: Node) -> Step:
    source, weights, target = filter_tensors(node)
    out_channels, filter_height, filter_width, filter_channels = weights.info.shape
    height, width = plan_axes(node, source, target, (filter_height, filter_width))
    batches, in_channels = source.info.shape[0], source.info.shape[3]
    groups, rest = divmod(in_channels, filter_channels)
    if rest or target.info.shape[3] != out_channels or out_channels % groups:
        node.malformed(f"{in_channels} channels, filter {weights.info.shape}, output {target.info.shape}")
    node.require(per_channel_axis(weights) in (None, 0), "weight scales must run along the output channels")
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
        sums=plan_sums(node, values),
    )


def filter_tensors(node: Node) -> tuple[Tensor, Tensor, Tensor]:
    """Input, filter and output, checked as far as the two operators agree."""
    node.check_counts(range(2, 4))
    source, weights, target = node.input(0), node.input(1), node.output()
    node.require_dtype(weights, "int8")
    if len(weights.info.shape) != 4 or min(weights.info.shape) < 1:
        node.malformed(f"filter has shape {weights.info.shape}, expected four dimensions")
    return source, weights, target
