"""Sliding windows: output size and padding of convolutions and pools along one axis."""

from __future__ import annotations

from dataclasses import dataclass

from harness.portable.graph import Tensor
from harness.portable.node import Node

SAME, VALID = 0, 1


@dataclass(frozen=True)
class Axis:
    """`taps` positions, `dilation` apart, moved by `stride`; `pad` zeros before the image."""

    size: int
    out: int
    taps: int
    stride: int
    dilation: int
    pad: int

    @property
    def inside(self) -> bool:
        """Whether no window ever sticks out of the image."""
        last = (self.out - 1) * self.stride - self.pad + (self.taps - 1) * self.dilation
        return self.pad == 0 and last < self.size


def lead_elements(height: Axis, image_row: int, row: int, *, copied: bool = False) -> int:
    """How far an output must begin before the image that it runs over, when it is written row by row.

    Args:
        height: the axis of the rows.
        image_row: elements of a row of the image.
        row: elements of a row of the output.
        copied: whether the window reads a copy that is made before the row is written.
    """
    leads = [
        (y + 1) * row - max(0, (y + copied) * height.stride - height.pad) * image_row
        for y in range(height.out - copied)
    ]
    return max([0, *leads])


def plan_axis(node: Node, size: int, out: int, taps: int, stride: int, dilation: int) -> Axis:
    """One axis with the padding TFLite computes (kernels/padding.h), checked against the output's shape."""
    reach = (taps - 1) * dilation + 1
    same = node.integer("padding", SAME, VALID) == SAME
    expected = (size + stride - 1) // stride if same else (size + stride - reach) // stride
    if out != expected or out < 1:
        node.malformed(
            f"output is {out} long, but input {size}, filter {taps} and stride {stride} give {expected}"
        )
    pad = max(0, (out - 1) * stride + reach - size) // 2
    return Axis(size, out, taps, stride, dilation, pad)


def plan_axes(node: Node, source: Tensor, target: Tensor, taps: tuple[int, int]) -> tuple[Axis, Axis]:
    """Height and width of an NHWC operator; dilation is 1 where the operator has none."""
    if len(source.info.shape) != 4 or len(target.info.shape) != 4:
        node.malformed("input and output must have four dimensions (NHWC)")
    if source.info.shape[0] != target.info.shape[0]:
        node.malformed("input and output differ in batch size")
    limit = 1 << 20
    strides = (node.integer("stride_h", 1, limit), node.integer("stride_w", 1, limit))
    dilated = "dilation_h_factor" in node.operator.options
    dilations = tuple(node.integer(f"dilation_{axis}_factor", 1, limit) if dilated else 1 for axis in "hw")
    height, width = (
        plan_axis(node, source.info.shape[1 + i], target.info.shape[1 + i], taps[i], strides[i], dilations[i])
        for i in range(2)
    )
    return height, width
