"""A `Graph` as a .tflite file: for steps that change a model before it goes to a device.

Writes what `reader` reads and nothing else: names, shapes, scales, constants, and the options the
portable operators need. Metadata, and the options of other operators, are lost, so a caller
makes sure that the graph has only operators of `harness.portable.ops`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
import tflite
from numpy.typing import NDArray

from harness.portable.graph import Graph, Operator, Option, Tensor
from harness.runtimes.tflm.reader import OPTIONS

# TFLM reads constants in place, some in words: schema.fbs has force_align 16 on Buffer.data.
_DATA_ALIGNMENT = 16


def write(graph: Graph) -> bytes:
    """The file's bytes; the same graph gives the same bytes."""
    builder = flatbuffers.Builder(1024)
    codes = sorted({operator.op for operator in graph.operators})
    buffers = [_table(builder, "Buffer")]
    tensors = [_tensor(builder, tensor, buffers) for tensor in graph.tensors]
    operators = [_operator(builder, operator, codes) for operator in graph.operators]
    subgraph = _table(
        builder,
        "SubGraph",
        Tensors=_offsets(builder, tensors),
        Inputs=_vector(builder, graph.inputs, np.int32),
        Outputs=_vector(builder, graph.outputs, np.int32),
        Operators=_offsets(builder, operators),
    )
    model = _table(
        builder,
        "Model",
        Version=3,
        OperatorCodes=_offsets(builder, [_code(builder, code) for code in codes]),
        Subgraphs=_offsets(builder, [subgraph]),
        Buffers=_offsets(builder, buffers),
    )
    builder.Finish(model, file_identifier=b"TFL3")
    return bytes(builder.Output())


def _tensor(builder: Any, tensor: Tensor, buffers: list[int]) -> int:
    buffer = 0
    if tensor.data is not None:
        buffer = len(buffers)
        buffers.append(_table(builder, "Buffer", Data=_data(builder, tensor.data)))
    fields = {"Name": builder.CreateString(tensor.info.name)}
    if tensor.scales:
        fields["Quantization"] = _table(
            builder,
            "QuantizationParameters",
            Scale=_vector(builder, tensor.scales, np.float32),
            ZeroPoint=_vector(builder, tensor.zero_points, np.int64),
            QuantizedDimension=tensor.axis,
        )
    fields["Shape"] = _vector(builder, tensor.info.shape, np.int32)
    kind = getattr(tflite.TensorType, tensor.info.dtype.upper())
    return _table(builder, "Tensor", Type=kind, Buffer=buffer, **fields)


def _operator(builder: Any, operator: Operator, codes: list[str]) -> int:
    fields: dict[str, int] = {}
    if operator.op in OPTIONS and operator.options:
        name = OPTIONS[operator.op][0].__name__
        values = {_camel(key): _option(builder, value) for key, value in operator.options.items()}
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


def _option(builder: Any, value: Option) -> int | float | bool | str:
    return _vector(builder, value, np.int32) if isinstance(value, tuple) else value


def _code(builder: Any, op: str) -> int:
    number = getattr(tflite.BuiltinOperator, op)
    # Numbers above 127 do not fit the old field, which then holds 127 (schema.fbs, OperatorCode).
    return _table(
        builder, "OperatorCode", DeprecatedBuiltinCode=min(number, 127), BuiltinCode=number, Version=1
    )


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _table(builder: Any, name: str, **fields: Any) -> int:
    """One table; vectors and strings among `fields` are offsets made before."""
    getattr(tflite, f"{name}Start")(builder)
    for key, value in fields.items():
        getattr(tflite, f"{name}Add{key}")(builder, value)
    return int(getattr(tflite, f"{name}End")(builder))


def _vector(builder: Any, values: Sequence[Any], dtype: Any) -> int:
    return int(builder.CreateNumpyVector(np.array(values, dtype)))


def _data(builder: Any, values: NDArray[np.generic]) -> int:
    raw = np.ascontiguousarray(values).tobytes()
    builder.StartVector(1, len(raw), _DATA_ALIGNMENT)
    builder.head -= len(raw)
    builder.Bytes[builder.head : builder.head + len(raw)] = raw
    return int(builder.EndVector())


def _offsets(builder: Any, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())
