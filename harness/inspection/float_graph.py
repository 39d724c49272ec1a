"""A float .onnx file as a `Graph`, to be looked at: operators, shapes, constants; and what the operators of
float files multiply. Nothing is refused that has shapes, and nothing is computed; what a quantiser would make
of it is not said here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx

from harness.errors import ModelError, first_line
from harness.portable.graph import Graph, Operator, Tensor
from harness.runtimes.tflm.reader import WEIGHTED
from harness.tensors import TensorInfo


def read_onnx(path: Path) -> Graph:
    """The graph of an .onnx file; extents that it leaves open are taken as 1.

    Raises:
        ModelError: no ONNX file, or damaged.
    """
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
        _close_inputs(model.graph)
        graph = onnx.shape_inference.infer_shapes(model).graph
        return _graph(graph)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}", "Check the path") from error
    except Exception as error:  # protobuf and the checker have classes of their own
        raise ModelError(f"{path}: not a valid ONNX model: {first_line(error)}") from error


def macs_of(graph: Graph, operator: Operator) -> int:
    """Multiply-accumulates of one operator of ONNX; 0 for those that do not sum products."""
    if len(operator.inputs) < 2 or min(operator.inputs[:2]) < 0:
        return 0
    source, weights = (graph.tensors[index].info for index in operator.inputs[:2])
    target = graph.tensors[operator.outputs[0]].info
    if operator.op == "Conv":
        return target.elements * weights.elements // weights.shape[0]
    if operator.op == "ConvTranspose":
        return source.elements * weights.elements // weights.shape[0]
    if operator.op == "Gemm":
        return target.elements * weights.elements // target.shape[-1]
    if operator.op == "MatMul" and source.shape:
        return target.elements * source.shape[-1]
    return 0


def macs_of_tflite(graph: Graph, operator: Operator) -> int:
    """The same of one operator of a float .tflite file."""
    if operator.op not in WEIGHTED or len(operator.inputs) < 2 or operator.inputs[1] < 0:
        return 0
    weights = graph.tensors[operator.inputs[1]].info
    if not weights.shape:
        return 0
    target = graph.tensors[operator.outputs[0]].info
    # Filters lie (out, height, width, in), depthwise (1, height, width, channels).
    channels = weights.shape[-1] if operator.op == "DEPTHWISE_CONV_2D" else weights.shape[0]
    return target.elements * weights.elements // channels


def _close_inputs(graph: Any) -> None:
    for value in graph.input:
        for extent in value.type.tensor_type.shape.dim:
            if extent.dim_value < 1:
                extent.dim_value = 1
    # What was inferred before from open extents is inferred again.
    del graph.value_info[:]


def _graph(graph: Any) -> Graph:
    constants = {item.name: onnx.numpy_helper.to_array(item) for item in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            constants[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)
    types = {value.name: value.type.tensor_type for value in (*graph.input, *graph.value_info, *graph.output)}
    places: dict[str, int] = {}
    tensors: list[Tensor] = []

    def place(name: str) -> int:
        if not name:
            return -1
        if name not in places:
            places[name] = len(tensors)
            tensors.append(Tensor(len(tensors), _info(name, types, constants), data=constants.get(name)))
        return places[name]

    inputs = tuple(place(value.name) for value in graph.input if value.name not in constants)
    nodes = [node for node in graph.node if node.op_type != "Constant"]
    operators = tuple(
        Operator(index, node.op_type, tuple(map(place, node.input)), tuple(map(place, node.output)))
        for index, node in enumerate(nodes)
    )
    outputs = tuple(place(value.name) for value in graph.output)
    return Graph(tuple(tensors), operators, inputs, outputs)


def _info(name: str, types: dict[str, Any], constants: dict[str, Any]) -> TensorInfo:
    if name in constants:
        return TensorInfo(name, constants[name].shape, constants[name].dtype.name)
    kind = types.get(name)
    if kind is None:
        return TensorInfo(name, (), "float32")
    shape = tuple(max(extent.dim_value, 1) for extent in kind.shape.dim)
    return TensorInfo(name, shape, np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)).name)
