"""An .espdl file (ESP-DL v3) as a `Graph`: read with bounds checks, filters un-permuted.

Every value is an integer of 8 or 16 bits times a power of two, without zero points. Refuses what is
encrypted, packed, float, or laid out for another chip. Whether an operator can be run in its
form is for the planner to say.

Sources: espressif/esp-dl v3.3.9, fbs_loader/espdl.fbs (schema) and its header; files of esp-ppq 1.3.12.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.errors import ModelError, UnsupportedError
from harness.portable.graph import Graph, Operator, Option, Tensor
from harness.portable.node import Node
from harness.runtimes.espdl.shapes import SHAPES
from harness.runtimes.espdl.slots import (
    MODEL_GRAPH,
    AttributeSlot,
    GraphSlot,
    NodeSlot,
    TensorSlot,
    ValueSlot,
)
from harness.runtimes.espdl.tables import Table, damaged
from harness.runtimes.espdl.variants import (
    Variant,
    check_filter,
    filter_layout,
    unpack_filter,
    unpack_matrices,
)
from harness.tensors import Rounding, TensorInfo

HEADER_BYTES = 16
RAW_ITEM_BYTES = 16
# TensorDataType of the schema, as far as quantised models use it; float64 in esp-ppq's test values alone.
DTYPES = {1: "float32", 3: "int8", 5: "int16", 6: "int32", 7: "int64", 11: "float64"}
# AttributeType of the schema, and which of them an option has.
INT, STRING, INTS = 2, 3, 7
KINDS = {int: INT, str: STRING, tuple: INTS}
MAX_EXPONENT = 64
FILTERED = ("Conv", "Gemm")
CASTS = ("QuantizeLinear", "DequantizeLinear")
# How the second input of a MatMul lies in memory: as a filter does, or row by row.
PACKED, ROW_BY_ROW = "packed", "native_kn"
MAX_EXTENT = 1 << 24

# Attributes an operator may have besides those that say nothing about its arithmetic, with their defaults.
_WINDOW: dict[str, Option] = {"strides": (1, 1), "pads": (0, 0, 0, 0), "dilations": (1, 1)}
ATTRIBUTES: dict[str, dict[str, Option]] = {
    "AveragePool": {**_WINDOW, "ceil_mode": 0, "kernel_shape": ()},
    "Concat": {"axis": 0},
    "Conv": {**_WINDOW, "group": 1},
    "Flatten": {"axis": 1},
    "MatMul": {"input1_layout": PACKED},
    "MaxPool": {**_WINDOW, "ceil_mode": 0, "kernel_shape": ()},
    "Pad": {"mode": ""},
    "ReduceMean": {"keepdims": 1, "noop_with_empty_axes": 0},
    "Resize": {"mode": "", "coordinate_transformation_mode": ""},
    "Softmax": {"axis": -1},
    "Transpose": {"perm": ()},
}
ACTIVATIONS = ("Linear", "Relu")


@dataclass(frozen=True)
class Quantisation:
    """An operator's quant_type: the types of its data and of its filter, and how many output channels
    of that lie side by side where filters are blocked.
    """

    data: str
    weights: str
    lanes: int


QUANTISATIONS = {
    "S8": Quantisation("int8", "int8", 16),
    "S16": Quantisation("int16", "int16", 8),
    "W8A16": Quantisation("int16", "int8", 8),
}
# Of a file, by what its operators are.
SCHEMES = {("S8",): "int8", ("S16",): "int16", ("W8A16",): "w8a16", ("S16", "W8A16"): "w8a16"}
MIXED = "mixed"
# The one operator whose input may be of another type than its output.
CONVERTING = "RequantizeLinear"


@dataclass(frozen=True)
class Stored:
    """A tensor as the file holds it: flat values without padding."""

    name: str
    dims: tuple[int, ...]
    values: NDArray[np.generic]
    exponents: tuple[int, ...]
    layout: str


@dataclass(frozen=True)
class Contents:
    """`scheme` is int8, int16, w8a16, or mixed of int8 and another. `test_inputs` and `test_outputs`: the
    sample that esp-ppq may embed, by tensor name.
    """

    graph: Graph
    scheme: str
    test_inputs: Mapping[str, NDArray[np.generic]]
    test_outputs: Mapping[str, NDArray[np.generic]]


def read(data: bytes, variant: Variant) -> Contents:
    """What is in an .espdl file for chips of `variant`.

    Raises:
        ModelError: no .espdl file, truncated, damaged, or of another chip's layout.
        UnsupportedError: encrypted, packed, not quantised, or an operator outside the list.
    """
    return _Reader(Table.root(payload(data)), variant).contents()


def payload(data: bytes) -> bytes:
    """The flatbuffer behind the 16-byte header, which is checked."""
    if data[:4] == b"PDL1":
        raise UnsupportedError(
            "several .espdl models packed into one file", "Give the models one by one, as exported"
        )
    if len(data) < HEADER_BYTES or data[:4] != b"EDL2":
        raise ModelError(
            f"not an .espdl file: {len(data)} bytes, and 'EDL2' is not at its start",
            "Check the path, or export the model again",
        )
    mode, size = struct.unpack_from("<II", data, 4)
    if mode:
        raise UnsupportedError(
            f"the .espdl file is encrypted (mode {mode})", "Give the file as it was before encryption"
        )
    if size != len(data) - HEADER_BYTES:
        raise ModelError(
            f"the .espdl file is truncated: {len(data) - HEADER_BYTES} bytes behind its header, "
            f"expected {size}",
            "Copy or export the model again",
        )
    return data[HEADER_BYTES:]


class _Reader:
    """Makes tensors in the order they appear; each gets the next index."""

    def __init__(self, model: Table, variant: Variant) -> None:
        graph = model.table(MODEL_GRAPH)
        if graph is None:
            raise damaged("it holds no graph")
        self._graph = graph
        self._variant = variant
        self._stored = {tensor.name: tensor for tensor in map(_stored, graph.tables(GraphSlot.INITIALIZERS))}
        declared = (GraphSlot.INPUTS, GraphSlot.OUTPUTS, GraphSlot.VALUE_INFO)
        self._values = {info.text(ValueSlot.NAME): info for slot in declared for info in graph.tables(slot)}
        self._tensors: list[Tensor] = []
        self._by_name: dict[str, int] = {}
        self._quantisations: set[str] = set()

    def contents(self) -> Contents:
        taken, given = (
            [info.text(ValueSlot.NAME) for info in self._graph.tables(slot)]
            for slot in (GraphSlot.INPUTS, GraphSlot.OUTPUTS)
        )
        inputs = tuple(self._activation(name, self._declared_shape(name)) for name in taken)
        nodes = self._graph.tables(GraphSlot.NODES)
        _check_supported([node.text(NodeSlot.OP_TYPE) for node in nodes])
        operators = tuple(self._operator(index, node) for index, node in enumerate(nodes))
        if not operators or not inputs or not given:
            raise damaged("the model has no operators, inputs or outputs")
        graph = Graph(tuple(self._tensors), operators, inputs, tuple(self._known(name) for name in given))
        tests = [
            {one.name: one.values.reshape(one.dims) for one in map(_stored, self._graph.tables(slot))}
            for slot in (GraphSlot.TEST_INPUTS, GraphSlot.TEST_OUTPUTS)
        ]
        scheme = SCHEMES.get(tuple(sorted(self._quantisations)), MIXED)
        return Contents(graph, scheme, *tests)

    def _known(self, name: str) -> int:
        if name not in self._by_name:
            raise damaged(f"tensor '{name}' is read before anything wrote it")
        return self._by_name[name]

    def _add(self, info: TensorInfo, scales: tuple[float, ...], data: NDArray[np.generic] | None) -> int:
        if info.name in self._by_name:
            raise damaged(f"tensor '{info.name}' is written twice")
        index = self._by_name[info.name] = len(self._tensors)
        self._tensors.append(Tensor(index, info, scales, (0,) * len(scales), 0, data))
        return index

    def _declared_shape(self, name: str) -> tuple[int, ...]:
        shape = self._type(name).table(1)
        dims = [dim.table(0) for dim in shape.tables(0)] if shape else []
        return tuple(dim.integer(1, "<q") if dim else 0 for dim in dims)

    def _type(self, name: str) -> Table:
        """TensorTypeAndShape of an activation."""
        info = self._values.get(name)
        of = info.table(ValueSlot.TYPE) if info else None
        tensor_type = of.table(1) if of else None
        if tensor_type is None:
            raise damaged(f"tensor '{name}' has no type")
        return tensor_type

    def _activation(self, name: str, shape: tuple[int, ...]) -> int:
        dtype = DTYPES.get(self._type(name).integer(0), "unknown")
        if dtype not in ("int8", "int16", "float32"):
            raise UnsupportedError(
                f"tensor '{name}' is {dtype}; runtime espdl takes int8 and int16", "Export with 8 or 16 bits"
            )
        if not shape or any(not 1 <= extent <= MAX_EXTENT for extent in shape):
            raise UnsupportedError(f"tensor '{name}' has the shape {list(shape)}", "Export with batch 1")
        if dtype == "float32":
            return self._add(TensorInfo(name, shape, dtype), (), None)
        exponents = tuple(int(e) for e in self._values[name].vector(ValueSlot.EXPONENTS, "<i8"))
        if len(exponents) != 1:
            raise damaged(f"tensor '{name}' has {len(exponents)} exponents, expected 1")
        scale = _scales(name, exponents)[0]
        rounding: Rounding = "half_even" if self._variant.half_even else "half_up"
        return self._add(TensorInfo(name, shape, dtype, scale, 0, rounding), (scale,), None)

    def _input(self, name: str, op: str, position: int, lanes: int, grouped: bool) -> int:
        """An operator's input; -1 for an optional one left out or empty."""
        if not name or (name in self._stored and not self._stored[name].values.size):
            return -1
        if name not in self._stored:
            return self._known(name)
        return self._constant(name, op, position, lanes, grouped)

    def _constant(self, name: str, op: str, position: int, lanes: int, grouped: bool) -> int:
        """A stored tensor; one that is used twice becomes two."""
        stored = self._stored[name]
        values, shape = stored.values, stored.dims
        if op in FILTERED and position == 1:
            check_filter(name, stored.layout, len(stored.exponents), self._variant, lanes)
            values = unpack_filter(values, stored.dims, stored.layout, lanes, grouped)
            shape = values.shape
        if op == "MatMul" and position == 1:
            check_filter(name, stored.layout, len(stored.exponents), self._variant, lanes)
            values = unpack_matrices(values, stored.dims, stored.layout, lanes)
        scales = _scales(name, stored.exponents)
        index = len(self._tensors)
        info = TensorInfo(name, shape, values.dtype.name, scales[0] if scales else 0.0)
        self._tensors.append(
            Tensor(index, info, scales, (0,) * len(scales), 0, np.ascontiguousarray(values).reshape(shape))
        )
        return index

    def _operator(self, index: int, node: Table) -> Operator:
        op = node.text(NodeSlot.OP_TYPE)
        attributes = {a.text(AttributeSlot.NAME): a for a in node.tables(NodeSlot.ATTRIBUTES)}
        kind = _text(attributes.get("quant_type"))
        quantisation = QUANTISATIONS.get(kind)
        if quantisation is None:
            raise UnsupportedError(
                f"operator {index} ({op}) is quantised as {kind or 'float'}; "
                f"runtime espdl takes {', '.join(QUANTISATIONS)}",
                "Export with 8 or 16 bits and for a target ESP-DL knows",
            )
        options = self._options(op, index, attributes)
        grouped = options.get("group", 1) != 1
        names = node.texts(NodeSlot.INPUTS)
        if options["table"]:  # what it was made of, such as the limits of a Clip, no longer counts
            names = [*names[:1], _text(attributes["lut"])]
        if op == CONVERTING:
            names = names[:1]  # ESP-DL goes by the exponents alone
        else:
            self._quantisations.add(kind)
        if op in FILTERED and len(names) > 1 and names[1] not in self._stored:
            raise UnsupportedError(f"operator {index} ({op}): its filter '{names[1]}' is computed")
        if (
            op == "MatMul"
            and options["input1_layout"] != ROW_BY_ROW
            and names[1:]
            and names[1] not in self._stored
        ):
            raise UnsupportedError(
                f"operator {index} (MatMul): its second input is computed and rearranged as a filter",
                "Export with esp-ppq 1.3.12 or later",
            )
        inputs = tuple(
            self._input(name, op, position, quantisation.lanes, grouped)
            for position, name in enumerate(names)
        )
        outputs = node.texts(NodeSlot.OUTPUTS)
        if not inputs or len(outputs) != 1:
            raise damaged(f"operator {index} ({op}) has {len(inputs)} inputs and {len(outputs)} outputs")
        # The node without its output is enough to tell that output's shape.
        unfinished = Operator(index, op, inputs, (), options)
        shape = SHAPES[op](Node(Graph(tuple(self._tensors), (), (), ()), unfinished))
        output = self._activation(outputs[0], shape)
        self._check_types(f"operator {index} ({op}) is {kind}", op, quantisation, inputs, output)
        return Operator(index, op, inputs, (output,), options)

    def _check_types(
        self, title: str, op: str, quantisation: Quantisation, inputs: tuple[int, ...], output: int
    ) -> None:
        """ESP-DL takes the bytes of every tensor for what the operator's quant_type says."""
        if op == CONVERTING:
            return
        data = [self._tensors[i] for i in (*inputs, output) if i >= 0 and self._tensors[i].data is None]
        wrong = [one.info for one in data if one.info.dtype not in (quantisation.data, "float32")]
        if op in (*FILTERED, "MatMul") and inputs[1:] and self._tensors[inputs[1]].data is not None:
            weights = self._tensors[inputs[1]].info
            wrong += [weights] if weights.dtype != quantisation.weights else []
        if wrong:
            raise damaged(f"{title}, but '{wrong[0].name}' is {wrong[0].dtype}")

    def _options(self, op: str, index: int, attributes: Mapping[str, Table]) -> dict[str, Option]:
        options = dict(ATTRIBUTES.get(op, {}))
        for name in options.keys() & attributes.keys():
            table = attributes[name]
            kind = table.integer(AttributeSlot.TYPE)
            if kind != KINDS[type(options[name])]:
                raise damaged(f"attribute {name} of operator {index} ({op}) has type {kind}")
            if kind == INT:
                options[name] = table.integer(AttributeSlot.INTEGER, "<q")
            elif kind == STRING:
                options[name] = _text(table)
            else:
                options[name] = tuple(int(value) for value in table.vector(AttributeSlot.INTEGERS, "<i8"))
        activation = _text(attributes.get("activation")) or "Linear"
        if activation not in ACTIVATIONS:
            raise UnsupportedError(f"operator {index} ({op}): fused activation {activation}")
        return {
            **options,
            "relu": activation == "Relu",
            # In 16 bits ESP-DL looks at the table of no operator but this; the others compute.
            "table": "lut" in attributes and (op == "LUT" or _text(attributes["quant_type"]) == "S8"),
            "half_even": self._variant.half_even,
        }


def _check_supported(names: list[str]) -> None:
    """Refuses the first operator outside the list; rather one that esp-ppq left in float than its casts."""
    unknown = [(index, name) for index, name in enumerate(names) if name not in SHAPES]
    if unknown:
        index, name = next((one for one in unknown if one[1] not in CASTS), unknown[0])
        raise UnsupportedError(
            f"operator {index} ({name}) is not supported", f"Supported: {', '.join(sorted(SHAPES))}"
        )


def _text(attribute: Table | None) -> str:
    """The value of a string attribute; empty for an absent one."""
    return bytes(attribute.vector(AttributeSlot.STRING, "u1")).decode("utf-8", "replace") if attribute else ""


def _scales(name: str, exponents: tuple[int, ...]) -> tuple[float, ...]:
    if any(abs(exponent) > MAX_EXPONENT for exponent in exponents):
        raise damaged(f"tensor '{name}' has the exponents {min(exponents)} to {max(exponents)}")
    return tuple(math.ldexp(1.0, exponent) for exponent in exponents)


def _stored(tensor: Table) -> Stored:
    name = tensor.text(TensorSlot.NAME)
    dims = tuple(int(dim) for dim in tensor.vector(TensorSlot.DIMS, "<i8"))
    if any(not 0 <= dim <= MAX_EXTENT for dim in dims) or len(dims) > 8:
        raise damaged(f"tensor '{name}' has the dimensions {list(dims)}")
    dtype = DTYPES.get(tensor.integer(TensorSlot.DATA_TYPE))
    if dtype is None:
        raise UnsupportedError(
            f"tensor '{name}' has data type {tensor.integer(TensorSlot.DATA_TYPE)}",
            "Export with 8 or 16 bits",
        )
    if tensor.integer(TensorSlot.DATA_LOCATION):
        raise UnsupportedError(f"tensor '{name}' is stored outside the file")
    little = np.dtype(dtype).newbyteorder("<")
    raw = tensor.vector(TensorSlot.RAW_DATA, "u1", RAW_ITEM_BYTES).tobytes()
    wanted = math.prod(dims) * little.itemsize
    if not wanted <= len(raw) < wanted + RAW_ITEM_BYTES:
        raise damaged(f"tensor '{name}' of {list(dims)} has {len(raw)} bytes, expected {wanted}")
    exponents = tuple(int(exponent) for exponent in tensor.vector(TensorSlot.EXPONENTS, "<i8"))
    values = np.frombuffer(raw[:wanted], little).astype(dtype)
    return Stored(name, dims, values, exponents, filter_layout(tensor.text(TensorSlot.DOC_STRING)))
