"""A small editable ONNX graph: nodes in order, constants as arrays, one input, one output.

It is what the optimiser passes and the reader work on. It knows no operator's meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from harness.errors import ModelError, first_line

OPSET_MIN = 7


@dataclass
class Graph:
    """`input_shape` has batch 1; `opset` is the default domain's version."""

    nodes: list[Any]
    constants: dict[str, NDArray[np.generic]]
    input: str
    input_shape: tuple[int, ...]
    output: str
    opset: int

    def producer(self, tensor: str) -> Any | None:
        """The node that writes `tensor`; None for the input and for constants."""
        return next((node for node in self.nodes if tensor in node.output), None)

    def consumers(self, tensor: str) -> list[Any]:
        return [node for node in self.nodes if tensor in node.input]

    def only_consumer(self, tensor: str, op: str) -> Any | None:
        """The node of type `op` that alone reads `tensor`; None if there is no such one."""
        consumers = self.consumers(tensor)
        if tensor == self.output or len(consumers) != 1 or consumers[0].op_type != op:
            return None
        return consumers[0]

    def constant(self, node: Any, index: int) -> NDArray[np.generic] | None:
        """The value of a node's input where it is a constant."""
        return self.constants.get(node.input[index]) if index < len(node.input) else None

    def add_constant(self, hint: str, values: NDArray[np.generic]) -> str:
        """Stores `values` under a name that starts with `hint` and is not taken yet."""
        name = hint
        while name in self.constants or self.producer(name) is not None or name == self.input:
            name += "_"
        self.constants[name] = values
        return name

    def replace(self, old: Any, new: Any) -> None:
        self.nodes[self.nodes.index(old)] = new

    def remove(self, node: Any) -> None:
        """Takes out a node whose first output is its first input."""
        self.nodes.remove(node)
        source, result = node.input[0], node.output[0]
        producer = self.producer(source)
        if result == self.output and producer is not None and len(self.consumers(source)) == 0:
            producer.output[list(producer.output).index(source)] = result
            return
        if result == self.output:
            self.output = source
        for consumer in self.consumers(result):
            for index, name in enumerate(consumer.input):
                if name == result:
                    consumer.input[index] = source

    def to_model(self, extra_outputs: tuple[str, ...] = ()) -> Any:
        """An ONNX model of this graph with its batch of 1; `extra_outputs` come after its own."""
        float32 = onnx.TensorProto.FLOAT
        outputs = dict.fromkeys((self.output, *extra_outputs))
        graph = onnx.helper.make_graph(
            self.nodes,
            "optimised",
            [onnx.helper.make_tensor_value_info(self.input, float32, self.input_shape)],
            [onnx.helper.make_tensor_value_info(name, float32, None) for name in outputs],
            [onnx.numpy_helper.from_array(values, name) for name, values in self.constants.items()],
        )
        return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", self.opset)])


def attribute(node: Any, name: str, default: Any) -> Any:
    """A node's attribute as a Python value."""
    for item in node.attribute:
        if item.name == name:
            return onnx.helper.get_attribute_value(item)
    return default


def read_graph(path: Path) -> Graph:
    """Reads a float ONNX model; a batch size that is left open becomes 1.

    Raises:
        ModelError: not an ONNX file, or not one float input and one output of known shape.
    """
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except OSError as error:
        raise ModelError(f"{path}: expected an .onnx file; {error.strerror}") from None
    except Exception as error:  # protobuf and the checker have classes of their own
        raise ModelError(f"{path}: not a valid ONNX model: {first_line(error)}") from error
    opset = next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), 0)
    if opset < OPSET_MIN:
        raise ModelError(f"{path}: expected ONNX opset {OPSET_MIN} or later, came {opset}")
    constants = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
    inputs = [item for item in model.graph.input if item.name not in constants]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        raise ModelError(
            f"{path}: expected one input and one output, came {len(inputs)} and {len(model.graph.output)}"
        )
    return Graph(
        nodes=list(model.graph.node),
        constants=constants,
        input=inputs[0].name,
        input_shape=_input_shape(path, inputs[0]),
        output=model.graph.output[0].name,
        opset=opset,
    )


def _input_shape(path: Path, value: Any) -> tuple[int, ...]:
    tensor = value.type.tensor_type
    if tensor.elem_type != onnx.TensorProto.FLOAT:
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type)
        raise ModelError(f"{path}: input {value.name} is {kind}, expected FLOAT: the model before quantising")
    sizes = [item.dim_value for item in tensor.shape.dim]
    if not sizes:
        raise ModelError(f"{path}: input {value.name} has no shape")
    sizes[0] = sizes[0] or 1
    if sizes[0] != 1 or min(sizes) < 1 or not 2 <= len(sizes) <= 4:
        shown = ", ".join(item.dim_param or str(item.dim_value or "?") for item in tensor.shape.dim)
        raise ModelError(
            f"{path}: input {value.name} has shape ({shown}), expected (1, ...) with 2 to 4 known sizes",
            "Export the model with batch 1",
        )
    return tuple(sizes)
