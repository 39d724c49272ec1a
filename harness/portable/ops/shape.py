"""RESHAPE, SQUEEZE, EXPAND_DIMS: the same bytes under another shape."""

from __future__ import annotations

from harness.portable.node import Node
from harness.portable.step import Alias, Step


def plan_reshape(node: Node) -> Step:
    """The output's own shape counts; tflite-micro does not look at the shape operand either."""
    node.check_counts(range(1, 3))
    return alias(node, node.output().info.shape)


def plan_squeeze(node: Node) -> Step:
    """Without a list of dimensions, every one of length 1 goes."""
    node.check_counts(1)
    shape = node.input().info.shape
    given = node.integers("squeeze_dims")
    dims = {axis + len(shape) if axis < 0 else axis for axis in given}
    if not given:
        dims = {axis for axis, extent in enumerate(shape) if extent == 1}
    if any(not 0 <= axis < len(shape) or shape[axis] != 1 for axis in dims):
        node.malformed(f"dimensions {given} of {shape} are not all 1")
    return alias(node, tuple(extent for axis, extent in enumerate(shape) if axis not in dims))


def plan_expand_dims(node: Node) -> Step:
    node.check_counts(2)
    shape = node.input().info.shape
    axes = node.constant_int32(node.input(1))
    if len(axes) != 1 or len(node.input(1).info.shape) > 1 or not -len(shape) - 1 <= axes[0] <= len(shape):
        node.malformed(f"axis {axes} for {len(shape)} dimensions")
    axis = axes[0] + len(shape) + 1 if axes[0] < 0 else axes[0]
    return alias(node, (*shape[:axis], 1, *shape[axis:]))


def alias(node: Node, shape: tuple[int, ...]) -> Step:
    """The input's bytes as `shape`, which must be the output's own."""
    source, target = node.input(), node.output()
    node.require(source.data is None, f"its input '{source.info.name}' is a constant")
    same = source.info.dtype == target.info.dtype and source.info.elements == target.info.elements
    if not same or target.info.shape != shape:
        forms = [f"{tensor.info.dtype} {tensor.info.shape}" for tensor in (source, target)]
        node.malformed(f"{forms[0]} cannot become {forms[1]}")
    return Alias(index=node.operator.index, op=node.operator.op, reads=(source,), writes=(target,))
