"""The output shape of each operator, from its inputs and attributes.

The shapes in a file's value_info are not used: esp-ppq 1.3.12 writes wrong ones behind the
transposes it inserts. This is also the list of operators that can be read.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from harness.portable.node import Node
from harness.portable.ops.mean import mean_axes
from harness.portable.ops.power_of_two_mean import reduced_axes
from harness.portable.ops.power_of_two_move import paddings, resize_scales, slices

Shape = tuple[int, ...]


def conv_shape(node: Node) -> Shape:
    """NHWC; the filter is [out channel][row][column][filter channel]."""
    filter_shape = node.input(1).info.shape
    return (*_windows(node, filter_shape[1:3]), filter_shape[0])


def matmul_shape(node: Node) -> Shape:
    left, right = node.input(0).info.shape, node.input(1).info.shape
    node.require(min(len(left), len(right)) >= 2, f"{left} times {right}, expected matrices")
    if left[-1] != right[-2]:
        node.malformed(f"{left} times {right}")
    return (*_broadcast(node, left[:-2], right[:-2]), left[-2], right[-1])


def elementwise_shape(node: Node) -> Shape:
    return _broadcast(node, node.input(0).info.shape, node.input(1).info.shape)


def _broadcast(node: Node, left: Shape, right: Shape) -> Shape:
    try:
        return np.broadcast_shapes(left, right)
    except ValueError:
        node.refuse(
            f"{left} and {right} do not broadcast",
            "esp-ppq turns activations to NHWC, constants it leaves: give one number, or add it in a Conv",
        )


def pool_shape(node: Node) -> Shape:
    kernel = node.integers("kernel_shape")
    if len(kernel) != 2:
        node.refuse(f"a window of {len(kernel)} dimensions, not 2")
    return (*_windows(node, kernel), node.input().info.shape[3])


def global_pool_shape(node: Node) -> Shape:
    shape = node.input().info.shape
    node.require(len(shape) == 4, f"over {len(shape)} dimensions, not 4")
    return (shape[0], 1, 1, shape[3])


def _windows(node: Node, taps: tuple[int, ...]) -> Shape:
    """Batch, rows and columns of windows `taps` wide over the input."""
    shape, pads = node.input().info.shape, node.integers("pads")
    strides, dilations = node.integers("strides"), node.integers("dilations")
    if len(shape) != 4 or not len(strides) == len(dilations) == 2 or len(pads) != 4:
        node.refuse(f"over {len(shape)} dimensions, strides {strides}, dilations {dilations}, pads {pads}")
    if min(*strides, *dilations, *taps) < 1 or min(pads) < 0:
        node.malformed(f"strides {strides}, dilations {dilations}, pads {pads}")
    sizes = [
        (shape[1 + i] + pads[i] + pads[2 + i] - (taps[i] - 1) * dilations[i] - 1) // strides[i] + 1
        for i in range(2)
    ]
    return (shape[0], *sizes)


def gemm_shape(node: Node) -> Shape:
    return (*node.input().info.shape[:-1], node.input(1).info.shape[0])


def concat_shape(node: Node) -> Shape:
    """That the other extents agree is checked by the planner."""
    shapes = [node.input(position).info.shape for position in range(len(node.operator.inputs))]
    axis = node.integer("axis", -len(shapes[0]), len(shapes[0]) - 1) % len(shapes[0])
    lengths = [shape[axis] if axis < len(shape) else 0 for shape in shapes]
    return (*shapes[0][:axis], sum(lengths), *shapes[0][axis + 1 :])


def same_shape(node: Node) -> Shape:
    return node.input().info.shape


def transpose_shape(node: Node) -> Shape:
    shape, permutation = node.input().info.shape, node.integers("perm")
    if sorted(permutation) != list(range(len(shape))):
        node.malformed(f"permutation {permutation} of {len(shape)} dimensions")
    return tuple(shape[axis] for axis in permutation)


def reshape_shape(node: Node) -> Shape:
    """ONNX: 0 keeps an extent, one -1 takes what is left."""
    source = node.input().info.shape
    wanted = [int(extent) for extent in node.constant(node.input(1)).reshape(-1)]
    if any(extent == 0 and i >= len(source) for i, extent in enumerate(wanted)):
        node.malformed(f"{source} cannot become {wanted}")
    shape = [source[i] if extent == 0 else extent for i, extent in enumerate(wanted)]
    if shape.count(-1) == 1:
        known = -math.prod(shape)
        shape[shape.index(-1)] = math.prod(source) // known if known > 0 else 0
    return tuple(shape)


def flatten_shape(node: Node) -> Shape:
    shape = node.input().info.shape
    axis = node.integer("axis", -len(shape), len(shape))
    axis += len(shape) if axis < 0 else 0
    return (math.prod(shape[:axis]), math.prod(shape[axis:]))


def reduced_shape(node: Node) -> Shape:
    """ESP-DL keeps one element where nothing is left."""
    shape, axes = node.input().info.shape, set(reduced_axes(node))
    if node.flag("keepdims"):
        return tuple(1 if axis in axes else extent for axis, extent in enumerate(shape))
    return tuple(extent for axis, extent in enumerate(shape) if axis not in axes) or (1,)


def padded_shape(node: Node) -> Shape:
    before, after = paddings(node)
    sizes = zip(before, node.input().info.shape, after, strict=True)
    return tuple(sum(parts) for parts in sizes)


def sliced_shape(node: Node) -> Shape:
    return tuple(len(part) for part in slices(node))


def resized_shape(node: Node) -> Shape:
    shape, _ = resize_scales(node)
    return shape


def squeezed_shape(node: Node) -> Shape:
    """Without a list, every dimension of length 1 goes; ESP-DL leaves others alone."""
    shape = node.input().info.shape
    ones = {axis for axis, extent in enumerate(shape) if extent == 1}
    axes = set(mean_axes(node, node.constant_integers(node.input(1)))) if node.has_input(1) else ones
    if not axes <= ones:
        node.malformed(f"dimensions {sorted(axes)} of {shape} are not all 1")
    return tuple(extent for axis, extent in enumerate(shape) if axis not in axes)


def unsqueezed_shape(node: Node) -> Shape:
    given, shape = node.constant_integers(node.input(1)), list(node.input().info.shape)
    rank = len(shape) + len(given)
    axes = sorted({axis + rank if axis < 0 else axis for axis in given})
    if len(axes) != len(given) or not set(axes) <= set(range(rank)):
        node.malformed(f"axes {given} for {len(shape)} dimensions")
    for axis in axes:
        shape.insert(axis, 1)
    return tuple(shape)


SHAPES: dict[str, Callable[[Node], Shape]] = {
    "Add": elementwise_shape,
    "AveragePool": pool_shape,
    "Clip": same_shape,
    "Concat": concat_shape,
    "Conv": conv_shape,
    "Elu": same_shape,
    "Exp": same_shape,
    "Flatten": flatten_shape,
    "Gelu": same_shape,
    "Gemm": gemm_shape,
    "GlobalAveragePool": global_pool_shape,
    "HardSigmoid": same_shape,
    "HardSwish": same_shape,
    "LUT": same_shape,
    "LeakyRelu": same_shape,
    "Log": same_shape,
    "MatMul": matmul_shape,
    "MaxPool": pool_shape,
    "Mul": elementwise_shape,
    "PRelu": same_shape,
    "Pad": padded_shape,
    "ReduceMean": reduced_shape,
    "Relu": same_shape,
    "RequantizeLinear": same_shape,
    "Reshape": reshape_shape,
    "Resize": resized_shape,
    "Sigmoid": same_shape,
    "Slice": sliced_shape,
    "Softmax": same_shape,
    "Sqrt": same_shape,
    "Squeeze": squeezed_shape,
    "Sub": elementwise_shape,
    "Swish": same_shape,
    "Tanh": same_shape,
    "Transpose": transpose_shape,
    "Unsqueeze": unsqueezed_shape,
}
