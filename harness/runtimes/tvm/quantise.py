"""Float ONNX to int8 QDQ with scales that are powers of two, as tutorial 3's esp_quantize does it.

Weights and activations get e = ceil(log2(max|x| / 127)); a Conv's bias gets its output's exponent,
rounded. Softmax, and a Sigmoid that ends the network, stay float. The file is read back and checked
before it is put in place.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from harness.errors import DataError, OutputError, UnsupportedError, UsageError
from harness.measure.gaps import quantisation_gap
from harness.model.dataset import load_dataset
from harness.model.reference import OnnxReference
from harness.records.schema import QuantisationGap
from harness.runtimes.base import FloatModel
from harness.runtimes.espdl_v1.graph import Graph, read_graph
from harness.runtimes.espdl_v1.optimise import optimise
from harness.runtimes.tvm import Tvm
from harness.runtimes.tvm.calibrate import METHODS, Histogram, exponent_of, histograms, scores
from harness.runtimes.tvm.qdq import OPSET_MIN
from harness.runtimes.tvm.reader import ALIASES, BINARY, CLAMPS, LINEAR, POOLS, SUPPORTED
from harness.tensors import TensorInfo

BEST = "best"
KEEPS_SCALE = (*ALIASES, "GlobalMaxPool", "MaxPool", "Transpose")
FUSES_CLAMP = (*LINEAR, *BINARY, *POOLS)
FLOAT_AT_END = ("Sigmoid", "Softmax")


@dataclass(frozen=True)
class Quantised:
    """`losses`: for each method tried, the file against the float model on the calibration set."""

    path: Path
    method: str
    losses: dict[str, QuantisationGap]


def quantise(runtime: Tvm, model: FloatModel, out: Path, method: str = BEST) -> Quantised:
    """Writes `out`, an .onnx file in QDQ form; the same model and inputs give the same bytes.

    Args:
        method: how activation ranges are found: minmax, entropy, mse; or best, which tries all and keeps
            the one that agrees most often with the float model, then the one with the smallest mean
            |difference|.

    Raises:
        UnsupportedError: an operator that runtime tvm does not have, by name and index.
        ModelError, DataError, UsageError: the ONNX file or the calibration set does not fit.
        OutputError: `out` cannot be written.
    """
    if method not in (*METHODS, BEST):
        raise UsageError(f"unknown calibration '{method}'", f"Known: {', '.join((*METHODS, BEST))}")
    if out.suffix != ".onnx":
        raise UsageError(f"{out}: expected a name that ends in .onnx")
    graph = optimise(read_graph(model.file))
    plan = _Plan(model.file, graph)
    inputs = _calibration(model, graph)
    reference = OnnxReference(model.file).run([inputs])
    seen = histograms(graph.to_model(tuple(plan.calibrated)), [graph.input, *plan.calibrated], inputs)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".quantise-", dir=out.parent))
    except OSError as error:
        raise OutputError(f"{out}: not writable: {error.strerror}", "Give another file: --out") from None
    try:
        losses = {}
        for one in METHODS if method == BEST else (method,):
            file = work / f"{one}.onnx"
            made = _Writer(graph, plan, seen, one).model()
            file.write_bytes(made.SerializeToString(deterministic=True))
            runtime.load(file)  # refuses what could not run
            losses[one] = quantisation_gap(scores(made, inputs), reference, "onnx")
        best = min(losses, key=lambda name: (-(losses[name].agreement or 0.0), losses[name].mean_abs))
        os.replace(work / f"{best}.onnx", out)
    except OSError as error:
        raise OutputError(f"{out}: not writable: {error.strerror}", "Give another file: --out") from None
    finally:
        shutil.rmtree(work)
    return Quantised(out, best, losses)


def check_float(onnx: Path) -> None:
    """Raises ModelError or UnsupportedError for a float model that `quantise` refuses for its operators."""
    _Plan(onnx, optimise(read_graph(onnx)))


def _calibration(model: FloatModel, graph: Graph) -> NDArray[np.float32]:
    """Real inputs, (N, *shape of the ONNX input)."""
    tensor = TensorInfo(graph.input, graph.input_shape, "float32")
    dataset = load_dataset(model.calibration, tensor, model.preprocess, labelled=False)
    if dataset.samples == 0:
        raise DataError(f"{model.calibration}: the calibration set is empty", "Give some 200 typical inputs")
    return dataset.real()[0]


class _Plan:
    """Which tensors get quantisers, and whose scale each takes.

    `owner` maps a quantised tensor to the one whose exponent it has; `calibrated` are the owners that
    are computed.
    """

    def __init__(self, path: Path, graph: Graph) -> None:
        self._path = path
        self._graph = graph
        self.owner = {graph.input: graph.input}
        self.calibrated: list[str] = []
        for index, node in enumerate(graph.nodes):
            self._add(index, node)

    def _add(self, index: int, node: Any) -> None:
        name = node.output[0]
        title = f"{self._path}: operator {index} ({node.op_type})"
        if node.op_type not in SUPPORTED:
            raise UnsupportedError(f"{title} is not supported", f"Supported: {', '.join(SUPPORTED)}")
        if node.op_type in FLOAT_AT_END and name == self._graph.output:
            return
        if node.op_type == "Softmax":
            raise UnsupportedError(f"{title}: only at the end of the network")
        if node.op_type in LINEAR and self._graph.constant(node, 1) is None:
            raise UnsupportedError(f"{title}: its weights '{node.input[1]}' are computed, expected constants")
        if node.op_type in FUSES_CLAMP and any(self._graph.only_consumer(name, op) for op in CLAMPS):
            return  # its Relu or Clip is quantised in its place
        if node.op_type in KEEPS_SCALE and node.input[0] in self.owner:
            self.owner[name] = self.owner[node.input[0]]
            return
        self.owner[name] = name
        self.calibrated.append(name)


class _Writer:
    """The QDQ model for one choice of exponents."""

    def __init__(self, graph: Graph, plan: _Plan, seen: dict[str, Histogram], method: str) -> None:
        self._graph = graph
        self._owner = plan.owner
        exponents = {name: found.exponent(method) for name, found in seen.items()}
        self._exponents = {name: exponents[owner] for name, owner in plan.owner.items()}
        self._nodes: list[Any] = []
        self._constants: dict[str, NDArray[np.generic]] = {}
        self._renamed: dict[str, str] = {}

    def model(self) -> Any:
        graph = self._graph
        self._quantisers(graph.input, graph.input, f"{graph.input}/dequantised")
        for node in graph.nodes:
            self._node(node)
        float32 = onnx.TensorProto.FLOAT
        made = onnx.helper.make_graph(
            self._nodes,
            "quantised",
            [onnx.helper.make_tensor_value_info(graph.input, float32, graph.input_shape)],
            [onnx.helper.make_tensor_value_info(graph.output, float32, self._output_shape())],
            [onnx.numpy_helper.from_array(values, name) for name, values in self._constants.items()],
        )
        opset = onnx.helper.make_opsetid("", graph.opset)
        model = onnx.helper.make_model(made, opset_imports=[opset], ir_version=8)
        if graph.opset < OPSET_MIN:
            model = onnx.version_converter.convert_version(model, OPSET_MIN)
        return model

    def _output_shape(self) -> list[int]:
        inferred = onnx.shape_inference.infer_shapes(self._graph.to_model(), data_prop=True)
        return [dim.dim_value for dim in inferred.graph.output[0].type.tensor_type.shape.dim]

    def _node(self, node: Any) -> None:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for position, name in enumerate(node.input):
            if name in self._renamed:
                copy.input[position] = self._renamed[name]
            elif name in self._graph.constants:
                copy.input[position] = self._constant(node, position)
        name = node.output[0]
        self._nodes.append(copy)
        if name not in self._owner:
            return
        # The graph's output keeps its name, and so do the layers' results before it.
        last = name == self._graph.output
        copy.output[0] = f"{name}/float" if last else name
        self._quantisers(copy.output[0], name, name if last else f"{name}/dequantised")

    def _quantisers(self, source: str, tensor: str, result: str) -> None:
        """QuantizeLinear and DequantizeLinear of an activation, from `source` to `result`."""
        scale = self._scale(tensor, self._exponents[tensor])
        integers = f"{tensor}/int8"
        self._nodes.append(onnx.helper.make_node("QuantizeLinear", [source, *scale], [integers]))
        self._nodes.append(onnx.helper.make_node("DequantizeLinear", [integers, *scale], [result]))
        self._renamed[tensor] = result

    def _scale(self, name: str, exponent: int, dtype: type[np.signedinteger[Any]] = np.int8) -> list[str]:
        scale, zero = f"{name}/scale", f"{name}/zero"
        self._constants[scale] = np.array(2.0**exponent, np.float32)
        self._constants[zero] = np.array(0, dtype)
        return [scale, zero]

    def _constant(self, node: Any, position: int) -> str:
        """The name under which a node reads a constant: dequantised where it is data, else as it is."""
        name: str = node.input[position]
        values = self._graph.constants[name]
        if node.op_type in LINEAR and position == 2:
            return self._bias(node, name, values)
        if node.op_type in (*LINEAR, *BINARY, "Concat") and values.dtype == np.float32:
            return self._dequantised(name, values, exponent_of(float(np.abs(values).max(initial=0))))
        self._constants[name] = values
        return name

    def _bias(self, node: Any, name: str, values: NDArray[np.generic]) -> str:
        """A Conv's at the output's exponent, a Gemm's at its sums'; int32 where int8 is too narrow.

        esp_quantize casts a Conv's to int8 whether it fits or not.
        """
        weights = float(np.abs(self._graph.constants[node.input[1]]).max(initial=0))
        sums = self._exponents[node.input[0]] + exponent_of(weights)
        exponent = max(sums, self._exponents[self._result(node)]) if node.op_type == "Conv" else sums
        # One bias may serve two layers.
        return self._dequantised(f"{node.output[0]}/{name}", values, exponent, bias=node.op_type)

    def _result(self, node: Any) -> str:
        """The quantised tensor that a node's result becomes: behind its Relu or Clip, if it has one."""
        name: str = node.output[0]
        while name not in self._owner:
            name = self._graph.consumers(name)[0].output[0]
        return name

    def _dequantised(
        self, name: str, values: NDArray[np.generic], exponent: int, bias: str | None = None
    ) -> str:
        result = f"{name}/dequantised"
        if f"{name}/scale" in self._constants:
            return result
        q = np.rint(values.astype(np.float64) * 2.0**-exponent)
        narrow = bias != "Gemm" and np.abs(q).max(initial=0) <= 127
        dtype = np.int8 if bias is None or narrow else np.int32
        limit = 127 if dtype is np.int8 else (1 << 31) - 1
        self._constants[f"{name}/int"] = np.clip(q, -limit, limit).astype(dtype)
        scale = self._scale(name, exponent, dtype)
        self._nodes.append(onnx.helper.make_node("DequantizeLinear", [f"{name}/int", *scale], [result]))
        return result
