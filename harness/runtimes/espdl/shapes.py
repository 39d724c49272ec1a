"""The output shape of each operator, from its inputs and attributes.

The shapes in a file's value_info are not used: esp-ppq 1.3.12 writes wrong ones behind the
transposes it inserts. This is also the list of operators that can be read.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from harness.portable.node import Node

Shape = tuple[int, ...]


def conv_shape(node: Node) -> Shape:
    """NHWC; the filter is [out channel][row][column][filter channel]."""
    filter_shape = node.input(1).info.shape
    return (*_windows(node, filter_shape[1:3]), filter_shape[0])


def pool_shape(node: Node) -> Shape:
    kernel = node.integers("kernel_shape")
    if len(kernel) != 2:
        node.refuse(f"a window of {len(kernel)} dimensions, not 2")
    return (*_windows(node, kernel), node.input().info.shape[3])


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


SHAPES: dict[str, Callable[[Node], Shape]] = {
    "Concat": concat_shape,
    "Conv": conv_shape,
    "Flatten": flatten_shape,
    "Gemm": gemm_shape,
    "HardSwish": same_shape,
    "LeakyRelu": same_shape,
    "MaxPool": pool_shape,
    "Relu": same_shape,
    "Reshape": reshape_shape,
    "Sigmoid": same_shape,
    "Softmax": same_shape,
    "Tanh": same_shape,
    "Transpose": transpose_shape,
}
