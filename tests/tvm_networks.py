"""Networks for the tests of runtime tvm, and onnxruntime's own word on a QDQ file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from harness.runtimes.base import Array, Artifact

EVERY_INPUT = (1, 3, 16, 12)


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    weights: dict[str, NDArray[np.generic]],
    shapes: tuple[Sequence[int], Sequence[int]],
    opset: int = 13,
) -> Path:
    """A float model from `x` to `y`."""
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shapes[0])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shapes[1])],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return path


def every_operator(path: Path) -> Path:
    """A float network with every operator that runtime tvm has, in more than one form where it matters."""
    rng = np.random.default_rng(5)
    weights: dict[str, NDArray[np.generic]] = {
        name: rng.normal(0, 0.4, shape).astype(np.float32)
        for name, shape in {
            "w1": (8, 3, 3, 3), "b1": (8,), "w2": (8, 4, 3, 2), "w3": (16, 1, 3, 3), "b3": (16,),
            "w4": (6, 16, 1, 1), "k": (1, 6, 1, 1), "m": (1, 6, 1, 1), "c": (1, 2, 4, 3),
            "w5": (168, 20), "b5": (20,), "w6": (7, 20), "b6": (7,),
        }.items()
    }  # fmt: skip
    weights["low"], weights["high"] = np.float32(-0.5), np.float32(0.75)
    weights["axes"] = np.array([0], np.int64)
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1, 0, 2, 1], strides=[2, 1]),
        node("Relu", ["c1"], ["r1"]),
        node("Conv", ["r1", "w2"], ["c2"], group=2, dilations=[1, 2], pads=[1, 1, 1, 1]),
        node("LeakyRelu", ["c2"], ["l2"], alpha=0.1),
        node("Conv", ["l2", "w3", "b3"], ["c3"], group=8, auto_pad="SAME_UPPER"),
        node("HardSwish", ["c3"], ["h3"]),
        node("MaxPool", ["h3"], ["m3"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1),
        node("Conv", ["m3", "w4"], ["c4"]),
        node("Clip", ["c4", "low", "high"], ["q4"]),
        node("Sigmoid", ["q4"], ["s4"]),
        node("Tanh", ["q4"], ["t4"]),
        node("Add", ["s4", "t4"], ["a4"]),
        node("Sub", ["a4", "k"], ["d4"]),
        node("Mul", ["m", "d4"], ["u4"]),
        node("AveragePool", ["u4"], ["v4"], kernel_shape=[2, 2], strides=[1, 2]),
        node("AveragePool", ["v4"], ["v5"], kernel_shape=[1, 3], pads=[0, 1, 0, 1], count_include_pad=1),
        node("GlobalAveragePool", ["v5"], ["g4"]),
        node("Add", ["v5", "g4"], ["e4"]),
        node("Transpose", ["e4"], ["p4"], perm=[0, 1, 3, 2]),
        node("MaxPool", ["p4"], ["p5"], kernel_shape=[1, 2], strides=[1, 1], pads=[0, 0, 0, 1]),
        node("Transpose", ["p5"], ["m4"], perm=[0, 1, 3, 2]),
        node("Concat", ["m4", "c", "v5"], ["j4"], axis=1),
        node("Elu", ["j4"], ["n4"]),
        node("HardSigmoid", ["n4"], ["o4"]),
        node("Flatten", ["o4"], ["f4"]),
        node("MatMul", ["f4", "w5"], ["z5"]),
        node("Add", ["z5", "b5"], ["y5"]),
        node("Relu", ["y5"], ["x5"]),
        node("Unsqueeze", ["x5", "axes"], ["i5"]),
        node("Squeeze", ["i5", "axes"], ["k5"]),
        node("Gemm", ["k5", "w6", "b6"], ["z6"], transB=1),
        node("Softmax", ["z6"], ["y"], axis=-1),
    ]
    return save(path, nodes, weights, (EVERY_INPUT, (1, 7)), opset=14)


class Qdq:
    """A QDQ file written by hand, node by node; edges are float names, quantised at each step."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, NDArray[np.generic]] = {}

    def constant(self, name: str, values: NDArray[np.generic]) -> str:
        self.constants[name] = np.asarray(values)
        return name

    def scale(self, name: str, exponents: int | Sequence[int], zero: NDArray[np.generic]) -> list[str]:
        scales = 2.0 ** np.array(exponents, np.float64)
        zeros = np.broadcast_to(zero, scales.shape)
        return [
            self.constant(f"{name}_scale", scales.astype(np.float32)),
            self.constant(f"{name}_zero", zeros.astype(zero.dtype)),
        ]

    def parameter(
        self, name: str, values: NDArray[np.generic], exponents: int | Sequence[int], axis: int = 0
    ) -> str:
        """Stored integers, dequantised."""
        quantisation = self.scale(name, exponents, np.array(0, values.dtype))
        stored = self.constant(name, values)
        per_axis = {"axis": axis} if not isinstance(exponents, int) else {}
        self.node("DequantizeLinear", [stored, *quantisation], f"{name}_real", **per_axis)
        return f"{name}_real"

    def node(self, op: str, inputs: Sequence[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, list(inputs), [output], **attributes))
        return output

    def quantised(self, name: str, exponent: int, output: str | None = None) -> str:
        """QuantizeLinear and DequantizeLinear behind `name`."""
        quantisation = self.scale(name, exponent, np.array(0, np.int8))
        self.node("QuantizeLinear", [name, *quantisation], f"{name}_int8")
        return self.node("DequantizeLinear", [f"{name}_int8", *quantisation], output or f"{name}_real")

    def save(self, path: Path, shapes: tuple[Sequence[int], Sequence[int]]) -> Path:
        return save(path, self.nodes, self.constants, shapes)


def onnxruntime_layers(path: Path, artifact: Artifact, inputs: Array) -> list[Array]:
    """Every layer of a QDQ file as onnxruntime computes it; `inputs` are the artifact's integers."""
    model = onnx.load(path)
    edges = {n.input[0]: n.output[0] for n in model.graph.node if n.op_type == "QuantizeLinear"}
    names = [edges.get(layer.output.name, layer.output.name) for layer in artifact.layers]
    known = {value.name for value in model.graph.output}
    for name in dict.fromkeys(names):
        if name not in known:
            model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.INT8, None))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    info = artifact.inputs[0]
    return list(session.run(names, {info.name: info.dequantise(inputs)}))
