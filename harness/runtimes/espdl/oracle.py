"""The integers ESP-DL's kernels give for a file, in numpy: sums in 64 bits, shifts, the file's tables.

Written for itself, from the file's own numbers: it shares the reader with the firmware generator
and nothing of the planner's arithmetic. Sources: espressif/esp-dl v3.3.9, dl/base (C kernels),
dl/tool/src/dl_tool.cpp (shift_and_round), dl/module/include/dl_module_softmax.hpp.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from harness.portable.graph import Graph, Operator, Tensor
from harness.runtimes.base import Array, Oracle

Integers = NDArray[np.int64]


def shift_and_round(x: Integers, shifts: Integers, half_even: bool) -> Integers:
    """x / 2^shift, to nearest; halves up, or to even. A negative shift multiplies.

    `shifts` broadcasts against the last axis of `x`.
    """
    right = np.maximum(shifts, 0)
    floor = x >> right
    twice_rest = (x - (floor << right)) * 2
    unit = np.int64(1) << right
    up = (twice_rest > unit) | ((twice_rest == unit) & ((floor & 1 == 1) | (not half_even)))
    rounded = floor + ((right > 0) & up)
    return np.asarray(np.where(shifts < 0, x << np.maximum(-shifts, 0), rounded), np.int64)


def exponents(tensor: Tensor) -> Integers:
    """Of the tensor's scales, which are powers of two."""
    return np.asarray(np.frexp(np.array(tensor.scales))[1], np.int64) - 1


class EspdlOracle(Oracle):
    """Runs a graph, one inference at a time."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        values = self._values(inputs)
        return [values[index] for index in self._graph.outputs]

    def run_layers(self, inputs: Sequence[Array]) -> list[Array]:
        values = self._values(inputs)
        return [values[operator.outputs[0]] for operator in self._graph.operators]

    def _values(self, inputs: Sequence[Array]) -> dict[int, Array]:
        expected = [self._graph.tensors[index].info for index in self._graph.inputs]
        if len(inputs) != len(expected):
            raise DataError(f"the model takes {len(expected)} inputs, {len(inputs)} came")
        values: dict[int, Array] = {}
        for index, value, info in zip(self._graph.inputs, inputs, expected, strict=True):
            if value.dtype.name != info.dtype or value.size != info.elements:
                raise DataError(
                    f"input '{info.name}' is {info.dtype} {list(info.shape)}; "
                    f"{value.dtype.name} {list(value.shape)} came"
                )
            values[index] = value.reshape(info.shape)
        for operator in self._graph.operators:
            target = self._graph.tensors[operator.outputs[0]]
            result = KERNELS[operator.op](_Call(self._graph, operator, values))
            values[target.index] = result.reshape(target.info.shape).astype(target.info.dtype)
        return values


class _Call:
    """One operator with the values that are there when it runs."""

    def __init__(self, graph: Graph, operator: Operator, values: dict[int, Array]) -> None:
        self._graph = graph
        self._values = values
        self.operator = operator

    def tensor(self, position: int) -> Tensor:
        return self._graph.tensors[self.operator.inputs[position]]

    def value(self, position: int = 0) -> Array:
        stored = self.tensor(position).data
        return self._values[self.tensor(position).index] if stored is None else stored

    def wide(self, position: int = 0) -> Integers:
        return self.value(position).astype(np.int64)

    def ints(self, name: str) -> tuple[int, ...]:
        value = self.operator.options[name]
        return value if isinstance(value, tuple) else (int(value),)

    def finish(self, sums: Integers) -> Integers:
        """Sums of products, channels last, to the output's exponent, activated and saturated."""
        if len(self.operator.inputs) > 2:
            sums = sums + self.wide(2).reshape(-1)
        target = self._graph.tensors[self.operator.outputs[0]]
        shifts = exponents(target) - exponents(self.tensor(0)) - exponents(self.tensor(1))
        rounded = shift_and_round(sums, shifts, bool(self.operator.options["half_even"]))
        return np.clip(rounded, 0 if self.operator.options["relu"] else -128, 127)


def _windows(call: _Call, kernel: Sequence[int], fill: int) -> Integers:
    """(batch, y, x, channel, row, column) of every window of the input."""
    top, left, bottom, right = call.ints("pads")
    padded = np.pad(call.wide(), ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill)
    dilations, strides = call.ints("dilations"), call.ints("strides")
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
    views = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(1, 2))
    return views[:, :: strides[0], :: strides[1], :, :: dilations[0], :: dilations[1]]


def _conv(call: _Call) -> Integers:
    weights = call.wide(1)
    windows = _windows(call, weights.shape[1:3], fill=0)
    (groups,) = call.ints("group")
    parts = zip(np.split(windows, groups, axis=3), np.split(weights, groups, axis=0), strict=True)
    sums = [np.einsum("byxchw,nhwc->byxn", window, part, optimize=True) for window, part in parts]
    return call.finish(np.concatenate(sums, axis=-1))


def _gemm(call: _Call) -> Integers:
    weights = call.wide(1)
    return call.finish(call.wide() @ weights.reshape(len(weights), -1).T)


def _max_pool(call: _Call) -> Integers:
    return np.asarray(_windows(call, call.ints("kernel_shape"), fill=-128).max(axis=(-1, -2)))


def _concat(call: _Call) -> Array:
    parts = [call.value(position) for position in range(len(call.operator.inputs))]
    return np.concatenate(parts, axis=call.ints("axis")[0])


def _table(call: _Call) -> Array:
    """The file's own 256 results, from that of -128 up."""
    return call.value(1).reshape(-1)[call.wide() + 128]


def _relu(call: _Call) -> Integers:
    """Of the input's integers; the output has the same exponent."""
    return np.maximum(call.wide(), 0)


def exponentials(scale: float) -> NDArray[np.float32]:
    """exp(q * scale) in float32 for q = -128 ... 127, correctly rounded."""
    return np.asarray(np.exp(np.arange(-128, 128) * scale), np.float32)


def _softmax(call: _Call) -> NDArray[np.float32]:
    """A table without subtracting the maximum, a float32 sum in order, a float32 division."""
    terms = exponentials(call.tensor(0).scales[0])[call.wide() + 128]
    sums = np.zeros((*terms.shape[:-1], 1), np.float32)
    for index in range(terms.shape[-1]):
        sums = sums + terms[..., index : index + 1]
    return np.asarray(terms / sums, np.float32)


KERNELS: dict[str, Callable[[_Call], Array]] = {
    "Concat": _concat,
    "Conv": _conv,
    "Flatten": lambda call: call.value(),
    "Gemm": _gemm,
    "HardSwish": _table,
    "LeakyRelu": _table,
    "MaxPool": _max_pool,
    "Relu": _relu,
    "Reshape": lambda call: call.value(),
    "Sigmoid": _table,
    "Softmax": _softmax,
    "Tanh": _table,
    "Transpose": lambda call: call.value().transpose(call.ints("perm")),
}
