"""ESP-DL's Pad, Slice and Resize (nearest): values move, none changes.

The readings of their operands also tell the reader the output's shape.
"""

from __future__ import annotations

import numpy as np

from harness.portable.node import Node
from harness.portable.ops.move import RESIZE_LIMIT, Copy, ResizeNearest
from harness.portable.ops.power_of_two import same_scale
from harness.portable.ops.strides import contiguous, merge
from harness.portable.step import Step

Shape = tuple[int, ...]


def paddings(node: Node) -> tuple[list[int], list[int]]:
    """How much is added before and after each dimension."""
    if node.text("mode") != "constant":
        node.refuse(f"mode '{node.text('mode')}'; runtime espdl has constant")
    rank, amounts = len(node.input().info.shape), node.constant_integers(node.input(1))
    node.require(not node.has_input(3), "axes")
    node.require(len(amounts) == 2 * rank and min(amounts) >= 0, f"paddings {amounts} of {rank} dimensions")
    return amounts[:rank], amounts[rank:]


def plan_pad(node: Node) -> Step:
    source, target = same_scale(node)
    before, _ = paddings(node)
    fill = 0
    if node.has_input(2):
        value = node.activation(node.input(2))
        node.require_same_scale(value, target)
        fill = int(node.constant(value).reshape(-1)[0])
    strides = contiguous(target.info.shape)
    return Copy(
        index=node.operator.index,
        op=node.operator.op,
        reads=(source,),
        writes=(target,),
        nest=merge(source.info.shape, strides),
        base=sum(amount * stride for amount, stride in zip(before, strides, strict=True)),
        scatter=True,
        fill=fill,
    )


def slices(node: Node) -> list[range]:
    """The places along each dimension that are taken."""
    shape = node.input().info.shape
    begins, ends = (node.constant_integers(node.input(position)) for position in (1, 2))
    axes = node.constant_integers(node.input(3)) if node.has_input(3) else list(range(len(begins)))
    steps = node.constant_integers(node.input(4)) if node.has_input(4) else [1] * len(begins)
    axes = [axis + len(shape) if axis < 0 else axis for axis in axes]
    if not len(begins) == len(ends) == len(axes) == len(steps) == len({*axes} & {*range(len(shape))}):
        node.malformed(f"from {begins} to {ends} in steps {steps} along axes {axes} of {shape}")
    taken = [range(extent) for extent in shape]
    for begin, end, axis, step in zip(begins, ends, axes, steps, strict=True):
        size = shape[axis]
        node.require(step > 0, f"a step of {step}")
        node.require(-size <= begin and -size <= end, f"from {begin} to {end} of {size}")
        first, last = (place + size if place < 0 else min(place, size) for place in (begin, end))
        taken[axis] = range(first, last, step)
        if not taken[axis]:
            node.malformed(f"the slice from {begin} to {end} of {size} is empty")
    return taken


def plan_slice(node: Node) -> Step:
    source, target = same_scale(node)
    taken, strides = slices(node), contiguous(source.info.shape)
    return Copy(
        index=node.operator.index,
        op=node.operator.op,
        reads=(source,),
        writes=(target,),
        nest=merge(
            target.info.shape, [part.step * stride for part, stride in zip(taken, strides, strict=True)]
        ),
        base=sum(part.start * stride for part, stride in zip(taken, strides, strict=True)),
    )


def resize_scales(node: Node) -> tuple[Shape, tuple[np.float32, np.float32]]:
    """The output's shape, and by how much rows and columns grow in float32; operands are in NCHW order."""
    shape = node.input().info.shape
    if node.text("mode") != "nearest":
        node.refuse(f"mode '{node.text('mode')}'; runtime espdl has nearest")
    node.require(len(shape) == 4, f"over {len(shape)} dimensions, not 4")
    channels_first = (shape[0], shape[3], shape[1], shape[2])
    if node.has_input(3):
        sizes = node.constant_integers(node.input(3))
        node.require(len(sizes) == 4 and min(sizes) > 0, f"sizes {sizes}")
        rows, columns = (np.float32(sizes[i]) / np.float32(channels_first[i]) for i in (2, 3))
    else:
        node.require_dtype(node.input(2), "float32")
        factors = node.constant(node.input(2)).reshape(-1).astype(np.float32)
        node.require(
            len(factors) == 4 and bool((factors > 0).all() and (factors < RESIZE_LIMIT).all()),
            f"scales {factors.tolist()}",
        )
        sizes = [
            int(np.float32(extent) * factor) for extent, factor in zip(channels_first, factors, strict=True)
        ]
        rows, columns = factors[2], factors[3]
    node.require(tuple(sizes[:2]) == channels_first[:2], f"{list(channels_first)} to {sizes}")
    node.require(min(sizes[2:]) >= 1 and max(sizes[2:]) < RESIZE_LIMIT, f"{list(channels_first)} to {sizes}")
    return (sizes[0], sizes[2], sizes[3], sizes[1]), (rows, columns)


def plan_resize(node: Node) -> Step:
    """ESP-DL multiplies by the scale's reciprocal in float32 and drops the fraction, in every mode."""
    source, target = same_scale(node)
    node.require(source.info.dtype == "int8", "ESP-DL's Resize does nothing in 16 bits")
    batches, in_height, in_width, channels = source.info.shape
    (_, out_height, out_width, _), (down, across) = resize_scales(node)
    return ResizeNearest(
        index=node.operator.index,
        op=node.operator.op,
        reads=(source,),
        writes=(target,),
        batches=batches,
        in_height=in_height,
        in_width=in_width,
        channels=channels,
        rows=_nearest(in_height, out_height, down),
        columns=_nearest(in_width, out_width, across),
    )


def _nearest(size: int, out: int, scale: np.float32) -> tuple[int, ...]:
    inverse = np.float32(1) / scale
    return tuple(min(int(np.float32(place) * inverse), size - 1) for place in range(out))
