"""FULLY_CONNECTED: one dot product per output."""

from __future__ import annotations

from dataclasses import dataclass

from harness.portable.c_text import END, enum, loop
from harness.portable.node import Node
from harness.portable.ops.sums import Sums, per_channel_axis, plan_sums
from harness.portable.step import Constant, Step


@dataclass(frozen=True, kw_only=True)
class FullyConnected(Step):
    batches: int
    inputs: int
    outputs: int
    sums: Sums

    @property
    def headers(self) -> tuple[str, ...]:
        return self.sums.headers

    def constants(self) -> list[Constant]:
        return self.sums.constants()

    def notes(self) -> list[str]:
        return self.sums.notes()

    def body(self) -> list[str]:
        batched = self.batches > 1
        return [
            *enum({"INPUTS": self.inputs, "OUTPUTS": self.outputs}, *self.sums.named()),
            *([loop("batch", self.batches)] if batched else []),
            f"const {self.sums.weight_type} *weights = {self.prefix}_weights;",
            "",
            loop("c", "OUTPUTS"),
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
    sums = plan_sums(node, node.constant(weights), foldable=True)
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
