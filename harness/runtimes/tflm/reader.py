"""A .tflite file as a `Graph`: verified first, then read with the schema's own classes.

Refuses what the integer kernels cannot run at all (float, hybrid, dynamic shapes, several
subgraphs) in terms of how the file was converted. Whether each operator can be
run is for the planner to say.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import tflite
from numpy.typing import NDArray

from harness.errors import ModelError, UnsupportedError
from harness.portable.graph import Graph, Operator, Option, Tensor
from harness.runtimes.tflm.flatbuffer import verify
from harness.tensors import TensorInfo

DTYPES = {
    name: value.lower()
    for value, name in ((key, number) for key, number in vars(tflite.TensorType).items() if key.isupper())
}
OPERATOR_NAMES = {
    number: name
    for name, number in vars(tflite.BuiltinOperator).items()
    if name.isupper() and isinstance(number, int)
}
STORABLE = ("int8", "uint8", "int16", "int32", "int64", "float16", "float32", "bool")
# No quotient or product of two scales between this and its inverse leaves float32.
SMALLEST_SCALE = 1e-15
MAX_TENSOR_BYTES = 64 << 20  # twice the largest PSRAM of any target

FULL_INTEGER = (
    "Convert with full-integer quantisation: converter.optimizations = [tf.lite.Optimize.DEFAULT], a "
    "representative_dataset, and supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]"
)
QUANTISE = (
    "It needs full-integer quantisation: harness quantise FLOAT.tflite --runtime tflm --data FILE.npz --out "
    "FILE.tflite"
)
FIXED_BATCH = (
    "Export with a fixed batch of 1, e.g. tf.TensorSpec((1, 28, 28, 1)) or keras.Input(batch_shape=(1, ...))"
)

# Which options table an operator must have, and what is read from it.
_WINDOW = ("Padding", "StrideW", "StrideH")
_DILATED = (*_WINDOW, "DilationWFactor", "DilationHFactor", "FusedActivationFunction")
_MASKS = ("BeginMask", "EndMask", "EllipsisMask", "NewAxisMask", "ShrinkAxisMask", "Offset")
OPTIONS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "ADD": (tflite.AddOptions, ("FusedActivationFunction",)),
    "AVERAGE_POOL_2D": (
        tflite.Pool2DOptions,
        (*_WINDOW, "FilterWidth", "FilterHeight", "FusedActivationFunction"),
    ),
    "CONCATENATION": (tflite.ConcatenationOptions, ("Axis", "FusedActivationFunction")),
    "CONV_2D": (tflite.Conv2DOptions, (*_DILATED, "QuantizedBiasType")),
    "DEPTHWISE_CONV_2D": (tflite.DepthwiseConv2DOptions, (*_DILATED, "DepthMultiplier")),
    "FULLY_CONNECTED": (
        tflite.FullyConnectedOptions,
        ("FusedActivationFunction", "WeightsFormat", "KeepNumDims", "QuantizedBiasType"),
    ),
    "LEAKY_RELU": (tflite.LeakyReluOptions, ("Alpha",)),
    "MAX_POOL_2D": (
        tflite.Pool2DOptions,
        (*_WINDOW, "FilterWidth", "FilterHeight", "FusedActivationFunction"),
    ),
    "MEAN": (tflite.ReducerOptions, ("KeepDims",)),
    "MUL": (tflite.MulOptions, ("FusedActivationFunction",)),
    "RESIZE_NEAREST_NEIGHBOR": (tflite.ResizeNearestNeighborOptions, ("AlignCorners", "HalfPixelCenters")),
    "SOFTMAX": (tflite.SoftmaxOptions, ("Beta",)),
    "SPLIT": (tflite.SplitOptions, ("NumSplits",)),
    "SQUEEZE": (tflite.SqueezeOptions, ("SqueezeDims",)),
    "STRIDED_SLICE": (tflite.StridedSliceOptions, _MASKS),
    "SUB": (tflite.SubOptions, ("FusedActivationFunction",)),
}
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def read(data: bytes) -> Graph:
    """The graph in a .tflite file.

    Raises:
        ModelError: truncated, damaged, or not quantised to int8 throughout.
        UnsupportedError: several subgraphs, dynamic shapes, sparse or variable tensors.
    """
    graph = read_any(data)
    _check_precision(graph)
    return graph


def read_any(data: bytes) -> Graph:
    """As `read`, of a float or partly quantised file too."""
    verify(data)
    try:
        return _read_model(tflite.Model.GetRootAs(data, 0))
    except (struct.error, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ModelError(f"the .tflite file is damaged: {error}", "Convert the model again") from error


def _read_model(model: Any) -> Graph:
    if model.Version() != 3:
        raise UnsupportedError(
            f"schema version {model.Version()}, expected 3", "Convert with a current TensorFlow"
        )
    if model.SubgraphsLength() != 1:
        raise UnsupportedError(
            f"{model.SubgraphsLength()} subgraphs, expected 1",
            "Export without control flow (if, while, several signatures)",
        )
    subgraph = model.Subgraphs(0)
    tensors = tuple(_read_tensor(model, subgraph, index) for index in range(subgraph.TensorsLength()))
    operators = tuple(_read_operator(model, subgraph, index) for index in range(subgraph.OperatorsLength()))
    graph = Graph(
        tensors,
        operators,
        _indices(subgraph.Inputs, subgraph.InputsLength()),
        _indices(subgraph.Outputs, subgraph.OutputsLength()),
    )
    _check_indices(graph)
    return graph


def _indices(get: Callable[[int], int], length: int) -> tuple[int, ...]:
    return tuple(int(get(i)) for i in range(length))


def _read_tensor(model: Any, subgraph: Any, index: int) -> Tensor:
    tensor = subgraph.Tensors(index)
    name = (tensor.Name() or b"").decode("utf-8", "replace")
    dtype = DTYPES.get(tensor.Type(), "unknown")
    if dtype not in STORABLE:
        raise UnsupportedError(f"tensor '{name}' is {dtype}, expected int8 or int16", FULL_INTEGER)
    shape = tuple(int(tensor.Shape(i)) for i in range(tensor.ShapeLength()))
    if any(extent < 1 for extent in shape):
        raise UnsupportedError(f"tensor '{name}' has the dynamic shape {list(shape)}", FIXED_BATCH)
    if tensor.IsVariable() or tensor.Sparsity() is not None:
        kind = "variable" if tensor.IsVariable() else "sparse"
        raise UnsupportedError(f"tensor '{name}' is {kind}, which the portable kernels do not take")
    scales, zero_points, axis = _quantisation(tensor, name, shape)
    info = TensorInfo(name, shape, dtype, scales[0] if scales else 0.0, zero_points[0] if scales else 0)
    if (
        len(shape) > 8
        or info.elements * 8 > MAX_TENSOR_BYTES * 8
        or any(extent > MAX_TENSOR_BYTES for extent in shape)
    ):
        raise UnsupportedError(f"tensor '{name}' of shape {list(shape)} is larger than any target's memory")
    return Tensor(index, info, scales, zero_points, axis, _constant(model, tensor, info))


def _quantisation(
    tensor: Any, name: str, shape: tuple[int, ...]
) -> tuple[tuple[float, ...], tuple[int, ...], int]:
    """Scales, zero points, axis; empty when the tensor has none."""
    parameters = tensor.Quantization()
    if parameters is None or parameters.ScaleLength() == 0:
        return (), (), 0
    if parameters.DetailsType():
        raise UnsupportedError(f"tensor '{name}' has a custom quantisation")
    scales = tuple(float(parameters.Scale(i)) for i in range(parameters.ScaleLength()))
    zero_points = tuple(int(parameters.ZeroPoint(i)) for i in range(parameters.ZeroPointLength()))
    if not all(SMALLEST_SCALE < scale < 1 / SMALLEST_SCALE for scale in scales):
        raise ModelError(
            f"tensor '{name}' has a scale that is none: {min(scales):g}", "Convert the model again"
        )
    if len(zero_points) != len(scales) or not all(-(1 << 31) <= zero < 1 << 31 for zero in zero_points):
        raise ModelError(
            f"tensor '{name}' has {len(scales)} scales and {len(zero_points)} zero points",
            "Convert the model again",
        )
    # Some converters give a bias the axis of its filter; a vector has but one.
    axis = 0 if len(shape) == 1 else int(parameters.QuantizedDimension())
    if len(scales) > 1 and not (0 <= axis < len(shape) and shape[axis] == len(scales)):
        raise ModelError(
            f"tensor '{name}' has {len(scales)} scales along axis {axis} of {list(shape)}",
            "Convert the model again",
        )
    return scales, zero_points, axis


def _constant(model: Any, tensor: Any, info: TensorInfo) -> NDArray[np.generic] | None:
    if tensor.Buffer() >= model.BuffersLength():
        raise ModelError(
            f"tensor '{info.name}' names buffer {tensor.Buffer()} of {model.BuffersLength()}",
            "Convert the model again",
        )
    buffer = model.Buffers(tensor.Buffer())
    if buffer.Offset() > 1 or buffer.Size() > 1:
        raise UnsupportedError(
            f"tensor '{info.name}' is stored outside the flatbuffer", "Convert to a file below 2 GB"
        )
    if buffer.DataLength() == 0:
        return None
    if buffer.DataLength() != info.size_bytes:
        raise ModelError(
            f"constant '{info.name}' has {buffer.DataLength()} bytes, expected {info.size_bytes}",
            "Convert the model again",
        )
    return np.frombuffer(buffer.DataAsNumpy().tobytes(), dtype=info.dtype).reshape(info.shape)


def _read_operator(model: Any, subgraph: Any, index: int) -> Operator:
    operator = subgraph.Operators(index)
    if operator.OpcodeIndex() >= model.OperatorCodesLength():
        raise ModelError(
            f"operator {index} names code {operator.OpcodeIndex()} of {model.OperatorCodesLength()}",
            "Convert the model again",
        )
    code = model.OperatorCodes(operator.OpcodeIndex())
    number = _operator_number(code)
    name = OPERATOR_NAMES.get(number, f"BUILTIN_{number}")
    if name == "CUSTOM":
        name = f"CUSTOM {(code.CustomCode() or b'').decode('utf-8', 'replace')}"
    return Operator(
        index=index,
        op=name,
        inputs=_indices(operator.Inputs, operator.InputsLength()),
        outputs=_indices(operator.Outputs, operator.OutputsLength()),
        options=_options(operator, name),
    )


def _operator_number(code: Any) -> int:
    """The larger of both fields, as tflite-micro has it; the package's BuiltinCode() prefers the old one."""
    table = code._tab
    slot = table.Offset(10)
    (builtin,) = struct.unpack_from("<i", table.Bytes, table.Pos + slot) if slot else (0,)
    return int(max(builtin, code.DeprecatedBuiltinCode()))


def _options(operator: Any, name: str) -> dict[str, Option]:
    """The options in snake_case; empty if the table is missing or of another operator."""
    options_class, fields = OPTIONS.get(name, (None, ()))
    table = operator.BuiltinOptions()
    expected = getattr(tflite.BuiltinOptions, options_class.__name__) if options_class else None
    if table is None or operator.BuiltinOptionsType() != expected:
        return {}
    options = options_class()
    options.Init(table.Bytes, table.Pos)
    return {re.sub(r"(?<!^)(?=[A-Z])", "_", field).lower(): _option(options, field) for field in fields}


def _option(options: Any, field: str) -> Option:
    if hasattr(options, f"{field}Length"):
        return _indices(getattr(options, field), getattr(options, f"{field}Length")())
    value: Option = getattr(options, field)()
    return value


def _check_indices(graph: Graph) -> None:
    if not graph.operators or not graph.inputs or not graph.outputs:
        raise ModelError("the model has no operators, inputs or outputs", "Convert the model again")
    count = len(graph.tensors)
    used = [(f"operator {o.index} ({o.op})", t, -1) for o in graph.operators for t in o.inputs]
    used += [(f"operator {o.index} ({o.op})", t, 0) for o in graph.operators for t in o.outputs]
    used += [("the model", t, 0) for t in (*graph.inputs, *graph.outputs)]
    for user, tensor, lowest in used:
        if not lowest <= tensor < count:
            raise ModelError(f"{user} names tensor {tensor} of {count}", "Convert the model again")


def _check_precision(graph: Graph) -> None:
    """Names the conversion that made a model these kernels cannot run."""
    for tensor in graph.tensors:
        if tensor.info.dtype == "float16":
            raise UnsupportedError(
                f"tensor '{tensor.info.name}' is float16, expected int8 or int16", QUANTISE
            )
    for operator in graph.operators:
        if operator.op not in WEIGHTED or len(operator.inputs) < 2 or min(operator.inputs[:2]) < 0:
            continue
        source, weights = (graph.tensors[index].info.dtype for index in operator.inputs[:2])
        if source == "float32" and weights == "int8":
            raise ModelError("a dynamic-range model (int8 weights, float activations)", FULL_INTEGER)
        if source == "float32":
            raise ModelError("a float model: nothing in it is quantised", QUANTISE)
