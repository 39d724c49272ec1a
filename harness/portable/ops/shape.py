"""RESHAPE, SQUEEZE, EXPAND_DIMS: the same bytes under another shape."""

from __future__ import annotations

from harness.portable.node import Node
from harness.portable.step import Alias, Step


def plan_reshape(node: Node) -> Step:
    """An alias: the plan gives output and input one buffer. The shape operand is not needed:

    tflite files state the output's shape as well, and the file is refused if sizes differ.
    """
    node.check_counts(range(1, 3))
    source, target = node.input(), node.output()
    if node.has_input(1):
        node.constant(node.input(1))
    node.require(source.data is None, "its input is a constant")
    if source.info.dtype != target.info.dtype or source.info.elements != target.info.elements:
        node.malformed(
            f"{source.info.dtype} {source.info.shape} cannot become {target.info.dtype} {target.info.shape}"
        )
    return Alias(index=node.operator.index, op=node.operator.op, reads=(source,), writes=(target,))
