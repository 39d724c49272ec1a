"""FULLY_CONNECTED: one dot product per output, or eight outputs at a time."""

from __future__ import annotations

from dataclasses import dataclass

from harness.portable.c_text import END, enum, loop
from harness.portable.node import Node
from harness.portable.ops.multiplied_sums import plan_sums
from harness.portable.ops.sums import Sums, per_channel_axis
from harness.portable.ops.tile import (
    layer_constant,
    pixel_loop,
    tile_loop,
    tile_order,
    tiles_called,
    window_constant,
)
from harness.portable.step import Constant, Step


@dataclass(frozen=True, kw_only=True)
class FullyConnected(Step):
    batches: int
    inputs: int
    outputs: int
    sums: Sums

    @property
    def headers(self) -> tuple[str, ...]:
        if self.sums.by_rows:
            return (*self.sums.headers, "convolution.h")
        return (*self.sums.headers, "tile.h" if self.sums.tiled else "dot16.h")

    @property
    def kernels(self) -> frozenset[str]:
        rows = {"convolve_row"} if self.sums.by_rows else set()
        return tiles_called(self.sums, self.outputs, self.batches) | rows

    @property
    def is_one_call(self) -> bool:
        return self.sums.by_rows

    def constants(self) -> list[Constant]:
        weights = self.sums.weights
        return self.sums.constants(
            tile_order(weights.reshape(self.outputs, self.inputs)) if self.sums.tiled else weights
        )

    def notes(self) -> list[str]:
        return self.sums.notes()

    def body(self) -> list[str]:
        names = {"INPUTS": self.inputs, "OUT_C": self.outputs}
        if self.batches > 1:
            names["BATCHES"] = self.batches
        walk = self._tiles() if self.sums.tiled else self._dots()
        return [*enum(names, *self.sums.named()), *walk]

    def _tiles(self) -> list[str]:
        """The batches are what the pixels of a 1 x 1 convolution are."""
        alone = self.batches == 1
        if self.sums.by_rows:
            pixels = "1" if alone else "BATCHES"
            return [
                *layer_constant(self.prefix, ["0"], "INPUTS", "INPUTS", "INPUTS"),
                "",
                f"(void)convolve_row(output, input, &layer, {pixels});",
            ]
        tiles = tile_loop(
            self.sums,
            self.prefix,
            depth="INPUTS",
            channels="OUT_C",
            inputs="input" if alone else "inputs",
            pixels="1" if alone else "pixels",
        )
        window = [*window_constant(["0"], "INPUTS", "INPUTS"), ""]
        if alone:
            return [*window, *tiles]
        return [
            *window,
            *pixel_loop(self.sums, "BATCHES", "input", "INPUTS"),
            *tiles,
            "output += pixels * OUT_C;",
            END,
        ]

    def _dots(self) -> list[str]:
        batched = self.batches > 1
        return [
            *([loop("batch", "BATCHES")] if batched else []),
            f"const {self.sums.weight_type} *weights = {self.prefix}_weights;",
            "",
            loop("c", "OUT_C"),
            f"{self.sums.sum_type} sum = {self.sums.dot}({self.prefix}_bias[c], input, weights, INPUTS);",
            "",
            *self.sums.store(self.prefix),
            "weights += INPUTS;",
            END,
            *(["input += INPUTS;", END] if batched else []),
        ]


def plan_fully_connected(node: Node) -> Step:
    node.check_counts(range(2, 4))
    source, weights, target = node.input(0), node.input(1), node.output()
    node.require_dtype(weights, "int8")
    node.integer("weights_format", 0, 0)
    if len(weights.info.shape) != 2:
        node.malformed(f"weights have {len(weights.info.shape)} dimensions, expected 2")
    outputs, inputs = weights.info.shape
    if not target.info.shape or target.info.shape[-1] != outputs:
        node.malformed(f"weights give {outputs} outputs, but its output is {target.info.shape}")
    batches = target.info.elements // outputs
    if source.info.elements != batches * inputs:
        node.malformed(f"input has {source.info.elements} elements, expected {batches} x {inputs}")
    node.require(per_channel_axis(weights) in (None, 0), "weight scales must run along the output channels")
    _check_bias_scale(node)
    sums = plan_sums(node, node.constant(weights))
    return FullyConnected(
        index=node.operator.index,
        op=node.operator.op,
        reads=(source,),
        writes=(target,),
        macs=batches * outputs * inputs,
        batches=batches,
        inputs=inputs,
        outputs=outputs,
        sums=sums,
    )


def _check_bias_scale(node: Node) -> None:
    """tflite-micro refuses a per-tensor layer whose bias scale is not input scale * weight scale."""
    source, weights, target = node.input(0), node.input(1), node.output()
    if not node.has_input(2) or len(weights.scales) != 1:
        return
    difference = abs(source.info.scale * weights.info.scale - node.input(2).info.scale)
    if not target.info.scale or difference / target.info.scale > 0.02:
        node.refuse("the scale of its bias is not input scale times weight scale")
