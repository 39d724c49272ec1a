"""Float networks whose file stores the weights smaller: as float16, or as int8 (dynamic-range quantisation).

What they mean is a float network: that is what is made of them here. TFLite's hybrid kernels, which round the
activations of a dynamic-range file on the fly, are not followed: no device here runs them.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from harness.portable.graph import Graph, Operator, Tensor
from harness.tensors import TensorInfo

FLOAT, FLOAT16, DYNAMIC_RANGE = "float", "float16", "dynamic-range"
MEANT = {
    FLOAT: "none: float32 data",
    FLOAT16: "none: float32 data, float16 weights, taken as float32",
    DYNAMIC_RANGE: "dynamic-range: float32 data, int8 weights, taken as float32; TFLite's own kernels for "
    "such a file round the data to 8 bits too, as they run, so their answers differ a little",
}
"""What is said of each."""


def with_float_weights(graph: Graph) -> tuple[Graph, str]:
    """The graph with weights in float32, and how they were stored; "" for a graph whose data are not all
    float, which comes back as it is.
    """
    made = {index for operator in graph.operators for index in operator.outputs}
    data = {graph.tensors[index].info.dtype for index in (*graph.inputs, *made)}
    stored = {tensor.info.dtype for tensor in graph.tensors if tensor.data is not None and _narrow(tensor)}
    if "float32" not in data or data & {"int8", "uint8", "int16", "float16"} or stored & {"uint8", "int16"}:
        return graph, ""
    if not stored:
        return graph, FLOAT
    tensors = tuple(_widened(tensor) if _narrow(tensor) else tensor for tensor in graph.tensors)
    operators: list[Operator] = []
    instead: dict[int, int] = {}
    for operator in graph.operators:
        if operator.op == "DEQUANTIZE" and tensors[operator.inputs[0]].data is not None:
            instead[operator.outputs[0]] = operator.inputs[0]
        else:
            inputs = tuple(instead.get(index, index) for index in operator.inputs)
            operators.append(
                Operator(len(operators), operator.op, inputs, operator.outputs, operator.options)
            )
    outputs = tuple(instead.get(index, index) for index in graph.outputs)
    how = DYNAMIC_RANGE if "int8" in stored else FLOAT16
    return Graph(tensors, tuple(operators), graph.inputs, outputs), how


def _narrow(tensor: Tensor) -> bool:
    if tensor.data is None:
        return False
    return tensor.info.dtype == "float16" or (bool(tensor.scales) and tensor.info.dtype != "float32")


def _widened(tensor: Tensor) -> Tensor:
    assert tensor.data is not None
    values = tensor.data.astype(np.float32)
    if tensor.scales:
        values = (values - _along(tensor, tensor.zero_points)) * _along(tensor, tensor.scales)
    info = TensorInfo(tensor.info.name, tensor.info.shape, "float32")
    return dataclasses.replace(tensor, info=info, scales=(), zero_points=(), axis=0, data=values)


def _along(tensor: Tensor, values: tuple[float, ...]) -> NDArray[np.float32]:
    """One value for all, or one per slice along the tensor's axis."""
    shape = [1] * len(tensor.info.shape)
    if len(values) > 1:
        shape[tensor.axis] = len(values)
    return np.array(values, np.float32).reshape(shape)
