"""The optimiser passes of esp-dl v1 on float ONNX: fuse into Conv and Gemm, drop what does nothing.

Same passes as its tools/quantization_tool/optimizer.py, so layers get the names its users know
(`fused_gemm_0`). Each pass leaves the network's result as it was; nothing is quantised here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx

from harness.runtimes.espdl_v1.graph import Graph, attribute

NOTHING_AT_INFERENCE = ("Identity", "Dropout")


def optimise(graph: Graph) -> Graph:
    """All passes until none finds anything more; the graph given is left as it was."""
    graph = copy.deepcopy(graph)
    while any(run(graph) for run in PASSES):
        pass
    used = {name for node in graph.nodes for name in node.input}
    graph.constants = {name: values for name, values in graph.constants.items() if name in used}
    _name_gemms(graph)
    return graph


def fold_constants(graph: Graph) -> bool:
    """Constant nodes, and Transpose or Identity of a constant, become constants."""
    for node in graph.nodes:
        if node.op_type == "Constant" and attribute(node, "value", None) is not None:
            values = onnx.numpy_helper.to_array(attribute(node, "value", None))
        elif node.op_type in ("Transpose", "Identity") and graph.constant(node, 0) is not None:
            values = graph.constants[node.input[0]]
            if node.op_type == "Transpose":
                values = np.transpose(values, attribute(node, "perm", None))
        else:
            continue
        graph.nodes.remove(node)
        graph.constants[node.output[0]] = np.ascontiguousarray(values)
        return True
    return False


def eliminate_nop(graph: Graph) -> bool:
    """Identity, Dropout, a Pad by zero, a Transpose that moves nothing, Flatten after Flatten."""
    for node in graph.nodes:
        if node.op_type == "Pad":
            pads = _pads(graph, node)
            nothing = pads is not None and not any(pads)
        elif node.op_type == "Transpose":
            perm = list(attribute(node, "perm", []))
            nothing = bool(perm) and perm == sorted(perm)
        elif node.op_type == "Flatten":
            before = graph.producer(node.input[0])
            nothing = (
                before is not None
                and before.op_type in ("Flatten", "Gemm")
                and attribute(node, "axis", 1) == attribute(before, "axis", 1) == 1
            )
        else:
            nothing = node.op_type in NOTHING_AT_INFERENCE
        if nothing:
            graph.remove(node)
            return True
    return False


def fuse_transposes(graph: Graph) -> bool:
    """Two Transposes in a row become one."""
    for node in graph.nodes:
        if node.op_type != "Transpose":
            continue
        after = graph.only_consumer(node.output[0], "Transpose")
        first, second = attribute(node, "perm", None), after and attribute(after, "perm", None)
        if after is None or not first or not second:
            continue
        fused = onnx.helper.make_node(
            "Transpose", [node.input[0]], [after.output[0]], after.name, perm=[first[axis] for axis in second]
        )
        graph.nodes.remove(node)
        graph.replace(after, fused)
        return True
    return False


def fuse_pad_into_conv(graph: Graph) -> bool:
    """A Pad of height and width by zeros becomes the Conv's own padding."""
    for node in graph.nodes:
        if node.op_type != "Pad":
            continue
        pads, conv = _pads(graph, node), graph.only_consumer(node.output[0], "Conv")
        if conv is None or pads is None or len(pads) != 8 or any(pads[:2] + pads[4:6]) or min(pads) < 0:
            continue
        if attribute(conv, "auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
            continue
        own = attribute(conv, "pads", [0, 0, 0, 0])
        total = [a + b for a, b in zip(own, pads[2:4] + pads[6:8], strict=True)]
        _set(conv, "pads", total)
        _set(conv, "auto_pad", "NOTSET")
        conv.input[0] = node.input[0]
        graph.nodes.remove(node)
        return True
    return False


def fuse_bn(graph: Graph) -> bool:
    """BatchNormalization after Conv or Gemm goes into their weights and bias."""
    for node in graph.nodes:
        before = graph.producer(node.input[0]) if node.op_type == "BatchNormalization" else None
        if before is None or graph.only_consumer(before.output[0], "BatchNormalization") is None:
            continue
        weights = graph.constant(before, 1)
        values = [graph.constant(node, index) for index in range(1, 5)]
        if before.op_type not in ("Conv", "Gemm") or weights is None or any(v is None for v in values):
            continue
        scale, offset, mean, variance = (np.asarray(v, dtype=np.float64) for v in values)
        factor = scale / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
        bias = np.zeros(len(factor)) if len(before.input) < 3 else graph.constant(before, 2)
        if bias is None:
            continue
        bias = attribute(before, "beta", 1.0) * np.asarray(bias, dtype=np.float64)
        columns = before.op_type == "Gemm" and not attribute(before, "transB", 0)
        shape = [1, -1] if columns else [-1, *[1] * (weights.ndim - 1)]
        _set_weights(graph, before, weights * factor.reshape(shape), (bias - mean) * factor + offset)
        graph.remove(node)
        return True
    return False


def fuse_add_bias_into_conv(graph: Graph) -> bool:
    """Conv without bias and an Add of one value per channel become Conv with bias."""
    for node in graph.nodes:
        after = graph.only_consumer(node.output[0], "Add") if node.op_type == "Conv" else None
        weights = graph.constant(node, 1)
        if after is None or weights is None or len(node.input) > 2:
            continue
        bias = _other(graph, after, node.output[0])
        if bias is None or bias.shape not in {(1, len(weights), 1, 1), (len(weights), 1, 1)}:
            continue
        _set_weights(graph, node, weights, bias.reshape(-1))
        _swallow(graph, node, after)
        return True
    return False


def fuse_matmul_add_bias_into_gemm(graph: Graph) -> bool:
    """MatMul by a constant matrix, with or without an Add of one value per column, becomes Gemm."""
    for node in graph.nodes:
        weights = graph.constant(node, 1) if node.op_type == "MatMul" else None
        if weights is None or weights.ndim != 2:
            continue
        after = graph.only_consumer(node.output[0], "Add")
        bias = None if after is None else _other(graph, after, node.output[0])
        fits = bias is not None and bias.size == weights.shape[1] == bias.shape[-1]
        inputs = list(node.input)
        if bias is not None and fits:
            inputs.append(graph.add_constant(f"{node.output[0]}_bias", bias.reshape(-1)))
        # Without a name, as onnxoptimizer leaves it: the names are given in `_name_gemms`.
        gemm = onnx.helper.make_node("Gemm", inputs, list(node.output))
        graph.replace(node, gemm)
        if fits:
            _swallow(graph, gemm, after)
        return True
    return False


PASSES: tuple[Callable[[Graph], bool], ...] = (
    fold_constants,
    eliminate_nop,
    fuse_transposes,
    fuse_pad_into_conv,
    fuse_matmul_add_bias_into_gemm,
    fuse_add_bias_into_conv,
    fuse_bn,
)


def _name_gemms(graph: Graph) -> None:
    unnamed = [node for node in graph.nodes if node.op_type == "Gemm" and not node.name]
    for number, node in enumerate(unnamed):
        node.name = f"fused_gemm_{number}"


def _pads(graph: Graph, node: Any) -> list[int] | None:
    """The pads of a constant zero Pad, ONNX order; None for any other."""
    if attribute(node, "mode", b"constant") != b"constant" or len(node.input) > 3:
        return None
    value = graph.constant(node, 2)
    if len(node.input) > 2 and node.input[2] and (value is None or np.any(value)):
        return None
    pads = graph.constant(node, 1) if len(node.input) > 1 else attribute(node, "pads", None)
    if pads is None or attribute(node, "value", 0.0) != 0.0:
        return None
    return [int(pad) for pad in np.asarray(pads).reshape(-1)]


def _other(graph: Graph, node: Any, tensor: str) -> Any:
    """The constant that a node of two inputs takes beside `tensor`."""
    return graph.constant(node, 1 if node.input[0] == tensor else 0)


def _swallow(graph: Graph, node: Any, after: Any) -> None:
    graph.nodes.remove(after)
    node.output[0] = after.output[0]


def _set_weights(graph: Graph, node: Any, weights: Any, bias: Any) -> None:
    """New weights and bias under new names: the old constants may have other readers."""
    node.input[1] = graph.add_constant(f"{node.input[1]}_fused", weights.astype(np.float32))
    del node.input[2:]
    node.input.append(graph.add_constant(f"{node.output[0]}_bias", np.asarray(bias, dtype=np.float32)))
    if node.op_type == "Gemm":
        _set(node, "beta", 1.0)


def _set(node: Any, name: str, value: Any) -> None:
    for item in [item for item in node.attribute if item.name == name]:
        node.attribute.remove(item)
    node.attribute.append(onnx.helper.make_attribute(name, value))
