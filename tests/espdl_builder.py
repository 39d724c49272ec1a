"""Writes small .espdl files for tests, without esp-ppq.

    model = EspdlBuilder("esp32s3")
    x = model.input("x", (1, 8, 8, 3), exponent=-5)
    model.filter("w", weights, exponents=[-7])
    model.constant("b", bias, exponents=[-12])
    y = model.operator("Conv", [x, "w", "b"], "y", exponent=-4, activation="Relu", strides=[1, 1])
    data = model.build(outputs=[y])

Slots are those of espdl.fbs. Filters are packed by loops over single elements, so that a test of the
reader does not compare its array tricks with themselves. Knows no valid model: tests build broken ones.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np
from numpy.typing import NDArray

DTYPES = {"float32": 1, "int8": 3, "int16": 5, "int32": 6, "int64": 7}
PLAIN_VARIANT = "c"
# quant_type of an operator, and of one with int8 filter in w8a16.
SCHEMES = {"int8": ("S8", "S8"), "int16": ("S16", "S16"), "w8a16": ("S16", "W8A16")}


class EspdlBuilder:
    def __init__(self, variant: str = PLAIN_VARIANT, scheme: str = "int8") -> None:
        self.variant = variant
        self.scheme = scheme
        self.data = "int8" if scheme == "int8" else "int16"
        self.lanes = 16 if scheme == "int8" else 8
        self.inputs: list[str] = []
        self.values: dict[str, tuple[tuple[int, ...], str, list[int]]] = {}
        self.constants: dict[str, tuple[NDArray[Any], tuple[int, ...], list[int], str]] = {}
        self.operators: list[tuple[str, list[str], str, dict[str, Any]]] = []

    def input(self, name: str, shape: Sequence[int], exponent: int = -5, dtype: str = "") -> str:
        self.inputs.append(name)
        self.values[name] = (tuple(shape), dtype or self.data, [exponent])
        return name

    def constant(self, name: str, data: NDArray[Any], exponents: Sequence[int] = (0,)) -> str:
        self.constants[name] = (data, data.shape, list(exponents), "layout ==> UNK")
        return name

    def filter(self, name: str, data: NDArray[Any], exponents: Sequence[int], grouped: bool = False) -> str:
        """`data` is [out channel][row][column][filter channel]; stored as the variant's chips have it."""
        n, h, w, c = data.shape
        dims = (h, w, n, c) if grouped else (h, w, c, n)
        packed, layout = pack(data, self.variant, grouped, self.lanes)
        self.constants[name] = (packed, dims, list(exponents), f"layout ==> {layout}")
        return name

    def matrices(self, name: str, data: NDArray[Any], exponents: Sequence[int]) -> str:
        """The constant side of a MatMul, [..., row, column]; each matrix is stored as a 1 x 1 filter is."""
        parts = [
            pack(matrix.T[:, None, None, :], self.variant, False, self.lanes)
            for matrix in data.reshape(-1, *data.shape[-2:])
        ]
        packed = np.concatenate([values for values, _ in parts])
        self.constants[name] = (packed, data.shape, list(exponents), f"layout ==> {parts[0][1]}")
        return name

    def operator(
        self,
        op: str,
        inputs: Sequence[str],
        output: str,
        exponent: int = 0,
        dtype: str = "",
        **options: Any,
    ) -> str:
        # The shape in value_info is left at (1,): readers must not use it.
        self.values[output] = ((1,), dtype or self.data, [exponent])
        filters = [self.constants[name][0] for name in inputs[1:2] if name in self.constants]
        narrow = op in ("Conv", "Gemm", "MatMul") and any(values.dtype == np.int8 for values in filters)
        self.operators.append(
            (op, list(inputs), output, {"quant_type": SCHEMES[self.scheme][narrow], **options})
        )
        return output

    def build(
        self,
        outputs: Sequence[str],
        tests: tuple[Mapping[str, NDArray[Any]], Mapping[str, NDArray[Any]]] = ({}, {}),
    ) -> bytes:
        b = flatbuffers.Builder(1024)
        nodes = [self._node(b, *operator) for operator in self.operators]
        stored = [
            _tensor(b, name, data, dims, exponents, doc)
            for name, (data, dims, exponents, doc) in self.constants.items()
        ]
        infos = [
            [_value_info(b, name, *self.values[name]) for name in names]
            for names in (self.inputs, outputs, list(self.values))
        ]
        embedded = [
            [_tensor(b, name, data, data.shape, [0], "") for name, data in side.items()] for side in tests
        ]
        given, ready, all_values = (_offsets(b, side) for side in infos)
        samples = [_offsets(b, side) for side in embedded]
        # node, name, initializer, doc_string, input, output, value_info, annotation, test values.
        slots = [
            _offsets(b, nodes),
            None,
            _offsets(b, stored),
            None,
            given,
            ready,
            all_values,
            None,
            *samples,
        ]
        graph = _table(b, slots)
        b.Finish(_table(b, [*[None] * 7, graph]))
        body = bytes(b.Output())
        return b"EDL2" + struct.pack("<III", 0, len(body), 0) + body

    def _node(self, b: Any, op: str, inputs: list[str], output: str, options: dict[str, Any]) -> int:
        attributes = [_attribute(b, name, value) for name, value in options.items()]
        names = [_offsets(b, [b.CreateString(name) for name in side]) for side in (inputs, [output])]
        return _table(b, [*names, None, b.CreateString(op), None, _offsets(b, attributes)])


def pack(data: NDArray[Any], variant: str, grouped: bool, lanes: int = 16) -> tuple[NDArray[Any], str]:
    """Flat values and the layout's name."""
    n, h, w, c = data.shape
    order: list[tuple[int, int, int, int]] = []
    if variant == PLAIN_VARIANT and grouped:
        order = [(o, y, x, i) for y in range(h) for x in range(w) for i in range(c) for o in range(n)]
        layout = "HWCN"
    elif variant == PLAIN_VARIANT:
        order = [(o, y, x, i) for o in range(n) for y in range(h) for x in range(w) for i in range(c)]
        layout = "NHWC"
    else:
        whole = n // lanes * lanes
        for first in range(0, whole, lanes):
            for y in range(h):
                for x in range(w):
                    for i in range(c):
                        order += [(first + lane, y, x, i) for lane in range(lanes)]
        rest = range(whole, n)
        if grouped:
            order += [(o, y, x, i) for i in range(c) for y in range(h) for x in range(w) for o in rest]
        else:
            order += [(o, y, x, i) for o in rest for y in range(h) for x in range(w) for i in range(c)]
        layout = f"(N/{lanes})HWC{lanes}" + ("_UNALIGNED" if n % lanes else "")
    return np.array([data[place] for place in order], data.dtype), layout


def _table(b: Any, offsets: Sequence[int | None], scalars: Mapping[int, int] | None = None) -> int:
    """One table: offsets by slot, and int32 scalars by slot."""
    fields = {**dict(enumerate(offsets)), **dict.fromkeys(scalars or {})}
    b.StartObject(max(fields, default=-1) + 1)
    for slot, offset in enumerate(offsets):
        if offset is not None:
            b.PrependUOffsetTRelativeSlot(slot, offset, 0)
    for slot, value in (scalars or {}).items():
        b.PrependInt32Slot(slot, value, 0)
    return int(b.EndObject())


def _offsets(b: Any, offsets: Sequence[int]) -> int:
    b.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        b.PrependUOffsetTRelative(offset)
    return int(b.EndVector())


def _tensor(
    b: Any, name: str, data: NDArray[Any], dims: Sequence[int], exponents: Sequence[int], doc: str
) -> int:
    raw = np.ascontiguousarray(data).tobytes()
    raw += bytes(-len(raw) % 16)
    b.StartVector(16, len(raw) // 16, 16)
    for byte in reversed(raw):
        b.PrependByte(byte)
    values = b.EndVector()
    slots: list[int | None] = [None] * 14
    slots[0] = b.CreateNumpyVector(np.array(dims, np.int64))
    slots[6], slots[7], slots[8] = b.CreateString(name), b.CreateString(doc), values
    slots[13] = b.CreateNumpyVector(np.array(exponents, np.int64))
    return _table(b, slots, {1: DTYPES[data.dtype.name]})


def _value_info(b: Any, name: str, shape: Sequence[int], dtype: str, exponents: Sequence[int]) -> int:
    dims = []
    for extent in shape:
        b.StartObject(3)
        b.PrependInt8Slot(0, 1, 0)
        b.PrependInt64Slot(1, extent, 0)
        dims.append(_table(b, [b.EndObject()]))
    tensor_type = _table(b, [None, _table(b, [_offsets(b, dims)])], {0: DTYPES[dtype]})
    b.StartObject(3)
    b.PrependUint8Slot(0, 1, 0)
    b.PrependUOffsetTRelativeSlot(1, tensor_type, 0)
    info = b.EndObject()
    label = b.CreateString(name)
    return _table(b, [label, info, None, b.CreateNumpyVector(np.array(exponents, np.int64))])


def _attribute(b: Any, name: str, value: Any) -> int:
    label = b.CreateString(name)
    vector = 0
    if isinstance(value, str):
        vector = b.CreateByteVector(value.encode())
    elif isinstance(value, (list, tuple)):
        vector = b.CreateNumpyVector(np.array(value, np.int64))
    b.StartObject(16)
    b.PrependUOffsetTRelativeSlot(0, label, 0)
    if isinstance(value, str):
        b.PrependInt32Slot(3, 3, 0)
        b.PrependUOffsetTRelativeSlot(6, vector, 0)
    elif isinstance(value, (list, tuple)):
        b.PrependInt32Slot(3, 7, 0)
        b.PrependUOffsetTRelativeSlot(11, vector, 0)
    else:
        b.PrependInt32Slot(3, 2, 0)
        b.Prep(8, 8)
        b.PrependInt64(value)
        b.PrependStructSlot(5, b.Offset(), 0)
    return int(b.EndObject())
