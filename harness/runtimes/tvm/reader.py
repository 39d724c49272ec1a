"""A QDQ file as a graph of integer operators.

What stands between DequantizeLinear and the next QuantizeLinear becomes one operator on int8: by
ONNX's definitions and with scales that are powers of two, its result is a sum of products, a shift
rounded half to even and a clamp. Only Softmax and functions of one value may end the network in float.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import ModelError, UnsupportedError
from harness.portable.graph import Graph, Operator, Option, Tensor
from harness.runtimes.tvm.qdq import REMEDY, Parameter, QdqFile
from harness.runtimes.tvm.tables import FUNCTIONS, clip_bounds, int8_table, reals
from harness.tensors import TensorInfo

ALIASES = ("Flatten", "Reshape", "Squeeze", "Unsqueeze")
LINEAR = ("Conv", "Gemm", "MatMul")
POOLS = ("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool")
BINARY = ("Add", "Mul", "Sub")
SUPPORTED = sorted((*ALIASES, *LINEAR, *POOLS, *BINARY, *FUNCTIONS, "Concat", "Softmax", "Transpose"))
CLAMPS = ("Relu", "Clip")


def read(data: bytes) -> Graph:
    """The graph of a QDQ file; tensors keep ONNX's layout and names.

    Raises:
        ModelError: not an ONNX file, a float model, or shapes that are open.
        UnsupportedError: an operator, type, scale or place of a quantiser outside the list.
    """
    return _Reader(QdqFile(data)).graph()


class _Reader:
    def __init__(self, file: QdqFile) -> None:
        self.file = file
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self.inputs: list[int] = []
        # Tensors by the names of their int8 and of their dequantised edges.
        self.integers: dict[str, int] = {}
        self.reals: dict[str, int] = {}
        self.parameters: dict[str, Parameter] = {}

    def graph(self) -> Graph:
        for name in self.file.inputs:
            if self.file.dtype(name) not in ("float32", "int8"):
                raise UnsupportedError(
                    f"input '{name}' is {self.file.dtype(name)}, expected float32 or int8", REMEDY
                )
        for node in self.file.nodes:
            if node.op_type == "DequantizeLinear":
                self._dequantise(node)
            elif node.op_type == "QuantizeLinear":
                self._quantise(node)
        outputs = tuple(self._output(name) for name in self.file.outputs)
        if not self.inputs:
            raise ModelError("no input of the model is quantised", REMEDY)
        return Graph(tuple(self.tensors), tuple(self.operators), tuple(self.inputs), outputs)

    # Edges.

    def _tensor(self, name: str, dtype: str, exponents: tuple[int, ...] = (), **given: Any) -> int:
        """Adds a tensor; its shape is that of `name`, or of the `data` given."""
        scales = tuple(2.0**exponent for exponent in exponents)
        data = given.get("data")
        shape = self.file.shape(name) if data is None else tuple(data.shape)
        info = TensorInfo(name, shape, dtype, scales[0] if scales else 0.0, rounding="half_even")
        index = len(self.tensors)
        self.tensors.append(Tensor(index, info, scales, (0,) * len(scales), **given))
        return index

    def _quantise(self, node: Any) -> None:
        source, (name,) = node.input[0], node.output
        exponents = self.file.exponents(node)
        if source in self.file.constants:
            self._quantise_constant(node, exponents)
            return
        kind = self.file.quantised_dtype(node)
        if kind != "int8" or len(exponents) != 1:
            what = f"{kind}" if kind != "int8" else "quantised by channel"
            self.file.refuse(node, f"activation '{source}' becomes {what}, expected int8", REMEDY)
        if source in self.file.inputs:
            known = [index for index in self.inputs if self.tensors[index].info.name == source]
            index = known[0] if known else self._tensor(source, "int8", exponents)
            if not known:
                self.inputs.append(index)
            elif self.exponent(index) != exponents[0]:
                self.file.refuse(node, f"input '{source}' is quantised in two ways")
            self.integers[name] = index
        else:
            index = self._tensor(source, "int8", exponents)
            self._island(source, index)
            self.integers[name] = index

    def _quantise_constant(self, node: Any, exponents: tuple[int, ...]) -> None:
        """Weights that are stored as floats, their QuantizeLinear beside them."""
        limits = np.iinfo(np.dtype(self.file.quantised_dtype(node)))
        values = np.asarray(self.file.constants[node.input[0]], np.float64)
        axis = self.file.attribute(node, "axis", 1) if len(exponents) > 1 else 0
        shape = [-1 if index == axis % max(values.ndim, 1) else 1 for index in range(values.ndim)]
        scaled = np.rint(values / (2.0 ** np.array(exponents, np.float64)).reshape(shape))
        self.file.constants[node.output[0]] = np.clip(scaled, limits.min, limits.max).astype(limits.dtype)

    def _dequantise(self, node: Any) -> None:
        source, (name,) = node.input[0], node.output
        exponents = self.file.exponents(node)
        if (values := self.file.constants.get(source)) is not None:
            if values.dtype.name not in ("int8", "int16", "int32"):
                self.file.refuse(node, f"'{source}' is {values.dtype.name}, expected int8 or, a bias, int32")
            axis = self.file.attribute(node, "axis", 1) if len(exponents) > 1 else 0
            axis = axis % max(values.ndim, 1)
            self.parameters[name] = Parameter(source, values.astype(np.int64), exponents, axis)
            return
        if source in self.file.inputs and source not in self.integers:
            self.integers[source] = self._tensor(source, "int8", exponents[:1])
            self.inputs.append(self.integers[source])
        if source not in self.integers:
            self.file.refuse(node, f"'{source}' does not come from a QuantizeLinear")
        if exponents != (self.exponent(self.integers[source]),):
            self.file.refuse(node, f"'{source}' is quantised by one scale and dequantised by another")
        self.reals[name] = self.integers[source]

    def exponent(self, index: int) -> int:
        return int(np.frexp(self.tensors[index].scales[0])[1]) - 1

    def _output(self, name: str) -> int:
        if name in self.integers:
            return self.integers[name]
        if name in self.reals:
            return self.reals[name]
        chain, main = self._walk(name)
        if main is None and chain:
            source = self._activation(chain[0], 0)
            values = reals(self.file, chain, self.exponent(source))
            index = self._tensor(name, "float32")
            table = self._tensor(f"{name} table", "float32", data=values)
            self._operator(chain[-1].op_type, (source, table), index)
            return index
        if main is None:
            raise ModelError(f"output '{name}' is not computed from a quantised tensor", REMEDY)
        if main.op_type != "Softmax" or chain:
            self.file.refuse(
                main,
                f"its result is the output '{name}', not quantised; only Softmax and functions of one value "
                "may end in float",
                REMEDY,
            )
        index = self._tensor(name, "float32")
        axis = int(self.file.attribute(main, "axis", -1))
        self._operator("Softmax", (self._activation(main, 0),), index, axis=axis)
        return index

    # Operators.

    def _operator(self, op: str, inputs: Sequence[int], output: int, **options: Option) -> None:
        self.operators.append(Operator(len(self.operators), op, tuple(inputs), (output,), options))

    def _activation(self, node: Any, position: int) -> int:
        """The int8 tensor a node reads, a constant included."""
        name = node.input[position]
        if name in self.parameters and name not in self.reals:
            parameter = self.parameters[name]
            if len(parameter.exponents) > 1 or not _fits_int8(parameter.values):
                self.file.refuse(node, f"its constant '{parameter.name}' is not int8 of one scale")
            self.reals[name] = self._tensor(
                parameter.name, "int8", parameter.exponents, data=parameter.values.astype(np.int8)
            )
        if name not in self.reals:
            self.file.refuse(
                node, f"its input '{name}' is not quantised: expected DequantizeLinear before it", REMEDY
            )
        return self.reals[name]

    def _parameter(self, node: Any, position: int, what: str) -> Parameter:
        name = node.input[position]
        if name not in self.parameters:
            kind = "float" if name in self.file.constants else "computed"
            self.file.refuse(node, f"its {what} '{name}' is {kind}, expected stored integers", REMEDY)
        return self.parameters[name]

    def _walk(self, name: str) -> tuple[list[Any], Any | None]:
        """The functions of one value that end in `name`, and the operator before them."""
        chain: list[Any] = []
        while name not in self.reals:
            node = self.file.producers.get(name)
            if node is None or node.op_type not in FUNCTIONS:
                return chain, node
            chain.insert(0, node)
            name = node.input[0]
        return chain, None

    def _island(self, name: str, target: int) -> None:
        """One operator for what leads from dequantised tensors to `name`."""
        chain, main = self._walk(name)
        if main is None:
            if name not in self.reals and not chain:
                raise ModelError(f"nothing computes '{name}'", "Export the model again")
            source = self._activation(chain[0], 0) if chain else self.reals[name]
            values = int8_table(self.file, chain, self.exponent(source), self.exponent(target))
            table = self._tensor(f"{name} table", "int8", (self.exponent(target),), data=values)
            self._operator(chain[-1].op_type if chain else "Requantise", (source, table), target)
            return
        low, high = self._clamp(chain, self.exponent(target))
        bias_add = None
        if main.op_type == "Add" and (before := self._linear_before(main)) is not None:
            bias_add, main = main, before
        if main.op_type in LINEAR:
            self._linear(main, bias_add, target, low=low, high=high)
        elif main.op_type in POOLS:
            self._pool(main, target, low, high)
        elif main.op_type in BINARY:
            pair = (self._activation(main, 0), self._activation(main, 1))
            self._operator(main.op_type, pair, target, low=low, high=high)
        elif main.op_type == "Concat":
            parts = [self._activation(main, position) for position in range(len(main.input))]
            axis = self.file.attribute(main, "axis") % len(self.tensors[target].info.shape)
            self._operator("Concat", parts, target, axis=axis, low=low, high=high)
        elif main.op_type == "Transpose":
            source = self._activation(main, 0)
            rank = len(self.tensors[source].info.shape)
            perm = tuple(self.file.attribute(main, "perm", range(rank)[::-1]))
            self._operator("Transpose", (source,), target, perm=perm, low=low, high=high)
        elif main.op_type in ALIASES:
            self._alias(main, chain, target)
        elif main.op_type == "Softmax":
            self.file.refuse(main, "its result is quantised again; it may only end the network", REMEDY)
        else:
            self.file.refuse(main, "is not supported", f"Supported: {', '.join(SUPPORTED)}")

    def _clamp(self, chain: Sequence[Any], exponent: int) -> tuple[int, int]:
        """The integers to which Relu and Clip limit a result; rounding keeps the order, so this is exact."""
        low, high = -128, 127
        for node in chain:
            if node.op_type not in CLAMPS:
                self.file.refuse(
                    node, "expected QuantizeLinear and DequantizeLinear between it and what it reads", REMEDY
                )
            bounds = np.rint(np.array(clip_bounds(self.file, node)) * 2.0**-exponent)
            at_least, at_most = (int(bound) for bound in np.clip(bounds, -128, 127))
            low, high = (min(max(value, at_least), at_most) for value in (low, high))
        return low, high

    def _linear_before(self, add: Any) -> Any | None:
        """The MatMul or Conv whose bias an Add brings."""
        for position in (0, 1):
            node = self.file.producers.get(add.input[position])
            if node is not None and node.op_type in LINEAR and add.input[1 - position] in self.parameters:
                return node
        return None

    def _linear(self, node: Any, bias_add: Any | None, target: int, **options: Option) -> None:
        source = self._activation(node, 0)
        weights = self._parameter(node, 1, "weights")
        values, axis = weights.values, weights.axis
        if self.tensors[source].data is not None or not _fits_int8(values):
            self.file.refuse(node, "expected an int8 activation times int8 weights")
        if node.op_type == "Conv":
            if values.ndim != 4:
                self.file.refuse(node, f"a filter of {values.ndim} dimensions, expected 4")
            options |= self._window(node, values.shape[2:], source, target)
            options["group"] = int(self.file.attribute(node, "group", 1))
        else:
            self._check_gemm(node, values)
            if not (node.op_type == "Gemm" and self.file.attribute(node, "transB", 0)):
                values, axis = values.T, 1 - axis
        if len(weights.exponents) > 1 and axis != 0:
            self.file.refuse(node, "its weights have a scale per input, expected one per output")
        exponents = [self.exponent(source) + exponent for exponent in weights.exponents]
        biases = [(node, 2)] if len(node.input) > 2 and node.input[2] else []
        if bias_add is not None:
            biases.append((bias_add, int(bias_add.input[1] in self.parameters)))
        total: NDArray[np.int64] = np.zeros(len(values), np.int64)
        for where in biases:
            total += self._bias(*where, exponents, len(values))
        if np.abs(total).max(initial=0) >= 1 << 31:
            self.file.refuse(node, f"its bias reaches {np.abs(total).max()} units of its sums: over 32 bits")
        filters = self._tensor(
            weights.name, "int8", weights.exponents, data=np.ascontiguousarray(values).astype(np.int8)
        )
        bias = self._tensor(f"{weights.name} bias", "int32", tuple(exponents), data=total.astype(np.int32))
        op = "Conv" if node.op_type == "Conv" else "Gemm"
        self._operator(op, (source, filters, bias), target, **options)

    def _check_gemm(self, node: Any, values: NDArray[np.int64]) -> None:
        get = self.file.attribute
        plain = not get(node, "transA", 0) and get(node, "alpha", 1.0) == get(node, "beta", 1.0) == 1.0
        if values.ndim != 2 or not plain:
            self.file.refuse(node, "expected a matrix of weights, alpha and beta 1, the input not transposed")

    def _bias(self, node: Any, position: int, exponents: Sequence[int], channels: int) -> NDArray[np.int64]:
        """A bias in units of the sums."""
        bias = self._parameter(node, position, "bias")
        if bias.values.size not in (1, channels) or max(bias.values.shape, default=1) != bias.values.size:
            self.file.refuse(node, f"biases of shape {bias.values.shape} for {channels} outputs")
        finer = [mine - sums for mine, sums in np.broadcast(bias.exponents, exponents)]
        if min(finer) < 0:
            self.file.refuse(node, "its bias is finer than its sums, expected input scale x weight scale")
        if max(finer) > 31:
            self.file.refuse(node, f"its bias is 2^{max(finer)} times as coarse as its sums")
        return np.broadcast_to(bias.values.reshape(-1) << np.array(finer), channels)

    def _window(self, node: Any, kernel: Sequence[int], source: int, target: int) -> dict[str, Option]:
        """Strides, dilations and pads (top, left, bottom, right), auto_pad resolved."""
        get = self.file.attribute
        strides = tuple(get(node, "strides", (1, 1)))
        dilations = tuple(get(node, "dilations", (1, 1)))
        pads = tuple(get(node, "pads", (0, 0, 0, 0)))
        sizes = [self.tensors[index].info.shape[2:] for index in (source, target)]
        if not all(len(each) == 2 for each in (strides, dilations, *sizes)) or len(pads) != 4:
            self.file.refuse(node, "expected height and width")
        auto = get(node, "auto_pad", b"NOTSET").decode()
        if auto.startswith("SAME"):
            whole = [
                max((out - 1) * stride + (taps - 1) * step + 1 - size, 0)
                for size, out, stride, taps, step in zip(*sizes, strides, kernel, dilations, strict=True)
            ]
            first = [(all_ + (auto == "SAME_LOWER")) // 2 for all_ in whole]
            pads = (*first, *(all_ - one for all_, one in zip(whole, first, strict=True)))
        return {"kernel": tuple(kernel), "strides": strides, "dilations": dilations, "pads": pads}

    def _pool(self, node: Any, target: int, low: int, high: int) -> None:
        source = self._activation(node, 0)
        height, width = self.tensors[source].info.shape[2:] or (0, 0)
        get = self.file.attribute
        if node.op_type.startswith("Global"):
            options: dict[str, Option] = {
                "kernel": (height, width),
                "strides": (1, 1),
                "dilations": (1, 1),
                "pads": (0, 0, 0, 0),
            }
        else:
            options = self._window(node, get(node, "kernel_shape"), source, target)
        op = "MaxPool" if "Max" in node.op_type else "AveragePool"
        pads = options["pads"]
        uncounted = op == "AveragePool" and any(pads) and not get(node, "count_include_pad", 0)  # type: ignore[arg-type]
        if uncounted or (op == "AveragePool" and get(node, "ceil_mode", 0)):
            self.file.refuse(node, "averages over fewer values at the edges; expected windows of one size")
        if len(node.output) > 1 and node.output[1]:
            self.file.refuse(node, "gives indices, expected values alone")
        self._operator(op, (source,), target, low=low, high=high, **options)

    def _alias(self, node: Any, chain: Sequence[Any], target: int) -> None:
        source = self._activation(node, 0)
        if chain or self.exponent(source) != self.exponent(target):
            self.file.refuse(node, "changes values as well as shape; expected equal scales around it", REMEDY)
        self._operator(node.op_type, (source,), target)


def _fits_int8(values: NDArray[np.int64]) -> bool:
    return bool(values.min(initial=0) >= -128 and values.max(initial=0) <= 127)
