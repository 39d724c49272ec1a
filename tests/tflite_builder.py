"""Writes small int8 .tflite models for tests, without TensorFlow.

    model = ModelBuilder()
    x = model.input((1, 8, 8, 3), scale=0.05, zero_point=-3)
    w = model.constant(weights, scales=[0.01] * 4, axis=0)
    y = model.tensor((1, 8, 8, 4), scale=0.1, zero_point=5)
    model.operator("CONV_2D", [x, w], [y], padding=0, stride_w=1, stride_h=1, ...)
    data = model.build(outputs=[y])

Knows the schema's tables, not what a valid model is: tests build broken ones as well.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import tflite
from numpy.typing import NDArray

OPTIONS_TABLES = {
    "ADD": "AddOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "LEAKY_RELU": "LeakyReluOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "MUL": "MulOptions",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions",
    "SOFTMAX": "SoftmaxOptions",
    "SPLIT": "SplitOptions",
    "SQUEEZE": "SqueezeOptions",
    "STRIDED_SLICE": "StridedSliceOptions",
    "SUB": "SubOptions",
}


@dataclass
class _Tensor:
    name: str
    shape: tuple[int, ...]
    dtype: str
    scales: list[float]
    zero_points: list[int]
    axis: int
    data: NDArray[Any] | None


@dataclass
class _Operator:
    op: str
    inputs: list[int]
    outputs: list[int]
    options: dict[str, Any] = field(default_factory=dict)


class ModelBuilder:
    def __init__(self) -> None:
        self.tensors: list[_Tensor] = []
        self.operators: list[_Operator] = []
        self.inputs: list[int] = []

    def tensor(
        self,
        shape: Sequence[int],
        dtype: str = "int8",
        scale: float = 0.0,
        zero_point: int = 0,
        name: str = "",
    ) -> int:
        """An activation; scale 0 leaves it without quantisation."""
        scales, zeros = ([scale], [zero_point]) if scale else ([], [])
        return self._add(_Tensor(name, tuple(shape), dtype, scales, zeros, 0, None))

    def input(
        self, shape: Sequence[int], dtype: str = "int8", scale: float = 0.0, zero_point: int = 0
    ) -> int:
        index = self.tensor(shape, dtype, scale, zero_point, name=f"input_{len(self.inputs)}")
        self.inputs.append(index)
        return index

    def constant(
        self,
        data: NDArray[Any],
        scales: Sequence[float] = (),
        zero_points: Sequence[int] | None = None,
        axis: int = 0,
    ) -> int:
        zeros = list(zero_points) if zero_points is not None else [0] * len(scales)
        return self._add(_Tensor("", data.shape, data.dtype.name, list(scales), zeros, axis, data))

    def operator(self, op: str, inputs: Sequence[int], outputs: Sequence[int], **options: Any) -> None:
        """`options` are the schema's field names in snake_case."""
        self.operators.append(_Operator(op, list(inputs), list(outputs), options))

    def _add(self, tensor: _Tensor) -> int:
        tensor.name = tensor.name or f"tensor_{len(self.tensors)}"
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def build(self, outputs: Sequence[int], subgraphs: int = 1, version: int = 3) -> bytes:
        """The file's bytes; more than one subgraph repeats the first."""
        builder = flatbuffers.Builder(1024)
        codes = sorted({operator.op for operator in self.operators})
        buffers = [self._buffer(builder, None)]
        tensors = [self._tensor(builder, tensor, buffers) for tensor in self.tensors]
        operators = [self._operator(builder, operator, codes) for operator in self.operators]
        subgraph = _table(
            builder,
            "SubGraph",
            Tensors=_offsets(builder, tensors),
            Inputs=_vector(builder, self.inputs, np.int32),
            Outputs=_vector(builder, outputs, np.int32),
            Operators=_offsets(builder, operators),
        )
        model = _table(
            builder,
            "Model",
            Version=version,
            OperatorCodes=_offsets(builder, [self._code(builder, code) for code in codes]),
            Subgraphs=_offsets(builder, [subgraph] * subgraphs),
            Buffers=_offsets(builder, buffers),
        )
        builder.Finish(model, file_identifier=b"TFL3")
        return bytes(builder.Output())

    def _buffer(self, builder: Any, data: NDArray[Any] | None) -> int:
        if data is None:
            return _table(builder, "Buffer")
        vector = builder.CreateByteVector(np.ascontiguousarray(data).tobytes())
        return _table(builder, "Buffer", Data=vector)

    def _tensor(self, builder: Any, tensor: _Tensor, buffers: list[int]) -> int:
        buffer = 0
        if tensor.data is not None:
            buffer = len(buffers)
            buffers.append(self._buffer(builder, tensor.data))
        fields: dict[str, Any] = {"Name": builder.CreateString(tensor.name)}
        if tensor.scales:
            fields["Quantization"] = _table(
                builder,
                "QuantizationParameters",
                Scale=_vector(builder, tensor.scales, np.float32),
                ZeroPoint=_vector(builder, tensor.zero_points, np.int64),
                QuantizedDimension=tensor.axis,
            )
        fields["Shape"] = _vector(builder, tensor.shape, np.int32)
        type_number = getattr(tflite.TensorType, tensor.dtype.upper())
        return _table(builder, "Tensor", Type=type_number, Buffer=buffer, **fields)

    def _operator(self, builder: Any, operator: _Operator, codes: list[str]) -> int:
        fields: dict[str, Any] = {}
        if operator.op in OPTIONS_TABLES:
            name = OPTIONS_TABLES[operator.op]
            values = {_camel(key): value for key, value in operator.options.items()}
            for key, value in values.items():
                if isinstance(value, (list, tuple)):
                    values[key] = _vector(builder, value, np.int32)
            fields["BuiltinOptionsType"] = getattr(tflite.BuiltinOptions, name)
            fields["BuiltinOptions"] = _table(builder, name, **values)
        return _table(
            builder,
            "Operator",
            OpcodeIndex=codes.index(operator.op),
            Inputs=_vector(builder, operator.inputs, np.int32),
            Outputs=_vector(builder, operator.outputs, np.int32),
            **fields,
        )

    def _code(self, builder: Any, op: str) -> int:
        number = getattr(tflite.BuiltinOperator, op)
        return _table(
            builder, "OperatorCode", DeprecatedBuiltinCode=min(number, 127), BuiltinCode=number, Version=1
        )


def _camel(name: str) -> str:
    return re.sub(r"(?:^|_)([a-z])", lambda match: match.group(1).upper(), name)


def _table(builder: Any, name: str, **fields: Any) -> int:
    """One table; vectors and strings among `fields` are offsets made before."""
    getattr(tflite, f"{name}Start")(builder)
    for key, value in fields.items():
        getattr(tflite, f"{name}Add{key}")(builder, value)
    return int(getattr(tflite, f"{name}End")(builder))


def _vector(builder: Any, values: Sequence[Any], dtype: Any) -> int:
    return int(builder.CreateNumpyVector(np.array(values, dtype)))


def _offsets(builder: Any, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())
