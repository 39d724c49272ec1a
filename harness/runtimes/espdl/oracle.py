"""The integers ESP-DL's kernels give for a file, in numpy: sums in 64 bits, shifts, the file's tables.

Written for itself, from the file's own numbers: it shares the reader with the firmware generator
and nothing of the planner's arithmetic. Sources: espressif/esp-dl v3.3.9, dl/base (C kernels),
dl/tool/src/dl_tool.cpp (shift_and_round), dl/module/include/dl_module_softmax.hpp.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.portable.graph import Graph, Operator, Tensor
from harness.runtimes.base import Array
from harness.runtimes.graph_oracle import GraphOracle

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


class EspdlOracle(GraphOracle):
    """Runs the graph of an .espdl file.

    With `as_exporter` it gives what esp-ppq's executor does where that differs from ESP-DL's kernels
    (averages, PRelu, Resize): the test values in a file come from there.
    """

    def __init__(self, graph: Graph, *, as_exporter: bool = False) -> None:
        super().__init__(graph)
        self._as_exporter = as_exporter

    def compute(self, operator: Operator, values: dict[int, Array]) -> Array:
        return KERNELS[operator.op](_Call(self._graph, operator, values, self._as_exporter))


class _Call:
    """One operator with the values that are there when it runs."""

    def __init__(self, graph: Graph, operator: Operator, values: dict[int, Array], as_exporter: bool) -> None:
        self._graph = graph
        self._values = values
        self.operator = operator
        self.as_exporter = as_exporter
        self.half_even = bool(operator.options["half_even"])
        self.target = graph.tensors[operator.outputs[0]]

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

    def has(self, position: int) -> bool:
        return position < len(self.operator.inputs) and self.operator.inputs[position] >= 0

    def saturate(self, values: NDArray[np.generic]) -> Integers:
        limits = np.iinfo(self.target.info.dtype)
        return np.asarray(np.clip(values, limits.min, limits.max), np.int64)

    def rescale(self) -> np.float32:
        """Steps of the output in one of the input."""
        return np.float32(np.exp2(float((exponents(self.tensor(0)) - exponents(self.target))[0])))

    def single(self, values: NDArray[np.float32]) -> Integers:
        """Real numbers in the output's steps, rounded as ESP-DL rounds float32, and saturated."""
        rounded = np.rint(values) if self.half_even else np.floor(values + np.float32(0.5))
        return self.saturate(rounded)

    def finish(self, sums: Integers) -> Integers:
        """Sums of products, channels last, to the output's exponent, activated and saturated."""
        if len(self.operator.inputs) > 2:
            sums = sums + self.wide(2).reshape(-1)
        shifts = exponents(self.target) - exponents(self.tensor(0)) - exponents(self.tensor(1))
        rounded = self.saturate(shift_and_round(sums, shifts, self.half_even))
        return np.maximum(rounded, 0) if self.operator.options["relu"] else rounded


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
    lowest = int(np.iinfo(call.target.info.dtype).min)
    return np.asarray(_windows(call, call.ints("kernel_shape"), fill=lowest).max(axis=(-1, -2)))


def _concat(call: _Call) -> Array:
    parts = [call.value(position) for position in range(len(call.operator.inputs))]
    return np.concatenate(parts, axis=call.ints("axis")[0])


def _table(call: _Call) -> Array:
    """The file's own results from the lowest input up; in 16 bits every so many, the nearest counts."""
    table = call.value(1).reshape(-1)
    if table.dtype == np.int8:
        return table[call.wide() + 128]
    step = (1 << 16) // (len(table) - 1)
    shift = np.array([step.bit_length() - 1])
    return table[shift_and_round(call.wide() + (1 << 15), shift, call.half_even)]


def _relu(call: _Call) -> Array:
    return _table(call) if call.operator.options["table"] else np.maximum(_requantize(call), 0)


def _mul(call: _Call) -> Integers:
    shifts = exponents(call.target) - exponents(call.tensor(0)) - exponents(call.tensor(1))
    return call.saturate(shift_and_round(call.wide(0) * call.wide(1), shifts, call.half_even))


def _prelu(call: _Call) -> Array:
    """Products of negative values lose their fraction downwards; esp-ppq rounds them, as does the ESP32-P4
    in 8 bits.
    """
    if call.operator.options["table"]:
        return _table(call)
    x, shifts = call.wide(), -exponents(call.tensor(1))
    products = x * call.wide(1).reshape(-1)
    if call.as_exporter or (call.half_even and call.value().dtype == np.int8):
        scaled = shift_and_round(products, shifts, call.half_even)
    else:
        scaled = products >> shifts
    return call.saturate(np.where(x < 0, scaled, x))


def _clip(call: _Call) -> Array:
    """Without a table: limits in the input's integers."""
    if call.operator.options["table"]:
        return _table(call)
    limits = np.iinfo(call.target.info.dtype)
    low, high = (
        int(call.value(i + 1).reshape(-1)[0]) if call.has(i + 1) else limit
        for i, limit in enumerate((limits.min, limits.max))
    )
    shifts = exponents(call.target) - exponents(call.tensor(0))
    return call.saturate(shift_and_round(np.clip(call.wide(), low, high), shifts, call.half_even))


def _requantize(call: _Call) -> Integers:
    shifts = exponents(call.target) - exponents(call.tensor(0))
    return call.saturate(shift_and_round(call.wide(), shifts, call.half_even))


def _quotient(call: _Call, sums: Integers, count: int) -> Integers:
    """Sum / count in float32."""
    return call.single(sums.astype(np.float32) * call.rescale() / np.float32(count))


def _mean_of_windows(call: _Call, windows: Integers) -> Integers:
    """The sum times 1 / area in float32; esp-ppq divides. Padding counts."""
    sums, area = windows.sum(axis=(-1, -2)), windows.shape[-1] * windows.shape[-2]
    if call.as_exporter:
        return _quotient(call, sums, area)
    return call.single(sums.astype(np.float32) * (np.float32(1) / np.float32(area) * call.rescale()))


def _average_pool(call: _Call) -> Integers:
    return _mean_of_windows(call, _windows(call, call.ints("kernel_shape"), fill=0))


def _global_average_pool(call: _Call) -> Integers:
    return _mean_of_windows(call, call.wide().transpose(0, 3, 1, 2)[:, None, None])


def _reduce_mean(call: _Call) -> Integers:
    x = call.wide()
    axes = tuple(int(axis) for axis in call.value(1).reshape(-1)) if call.has(1) else tuple(range(x.ndim))
    if not call.has(1) and call.operator.options["noop_with_empty_axes"]:
        axes = ()
    sums = x.sum(axis=axes)
    return _quotient(call, sums, x.size // sums.size)


def _pad(call: _Call) -> Integers:
    amounts = call.wide(1).reshape(2, -1).T
    fill = int(call.value(2).reshape(-1)[0]) if call.has(2) else 0
    return np.pad(call.wide(), amounts, constant_values=fill)


def _slice(call: _Call) -> Array:
    begins, ends = call.wide(1), call.wide(2)
    axes = call.wide(3) if call.has(3) else np.arange(len(begins))
    steps = call.wide(4) if call.has(4) else np.ones_like(begins)
    taken = [slice(None)] * call.value().ndim
    for begin, end, axis, step in zip(begins, ends, axes, steps, strict=True):
        taken[axis] = slice(begin, end, step)
    return call.value()[tuple(taken)]


def _resize(call: _Call) -> Array:
    """Nearest; ESP-DL takes the reciprocal of the scale, esp-ppq the quotient of two given sizes."""
    x = call.value()
    for axis, channels_first in ((1, 2), (2, 3)):
        size, out = x.shape[axis], call.target.info.shape[axis]
        if call.has(3):
            scale = np.float32(out) / np.float32(size)
        else:
            scale = call.value(2).reshape(-1)[channels_first]
        inverse = np.float32(1) / scale
        if call.as_exporter and call.has(3):
            inverse = np.float32(size) / np.float32(out)
        places = (np.arange(out, dtype=np.float32) * inverse).astype(np.int64)
        x = x.take(np.minimum(places, size - 1), axis)
    return x


def exponentials(scale: float) -> NDArray[np.float32]:
    """exp(q * scale) in float32 for q = -128 ... 127, correctly rounded."""
    return np.asarray(np.exp(np.arange(-128, 128) * scale), np.float32)


def _softmax(call: _Call) -> NDArray[np.float32]:
    """Exponentials, from a table without subtracting the maximum in 8 bits, correctly rounded after
    subtracting it in 16; a float32 sum in order, a float32 division.
    """
    q, scale = call.wide(), call.tensor(0).scales[0]
    if call.value().dtype == np.int8:
        terms = exponentials(scale)[q + 128]
    else:
        terms = np.asarray(np.exp((q - q.max(axis=-1, keepdims=True)) * scale), np.float32)
    sums = np.zeros((*terms.shape[:-1], 1), np.float32)
    for index in range(terms.shape[-1]):
        sums = sums + terms[..., index : index + 1]
    return np.asarray(terms / sums, np.float32)


def _same(call: _Call) -> Array:
    return call.value()


KERNELS: dict[str, Callable[[_Call], Array]] = {
    "Add": lambda call: call.saturate(call.wide(0) + call.wide(1)),
    "AveragePool": _average_pool,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "Elu": _table,
    "Exp": _table,
    "Flatten": _same,
    "Gelu": _table,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average_pool,
    "HardSigmoid": _table,
    "HardSwish": _table,
    "LUT": _table,
    "LeakyRelu": _table,
    "Log": _table,
    "MatMul": lambda call: call.finish(call.wide(0) @ call.wide(1)),
    "MaxPool": _max_pool,
    "Mul": _mul,
    "PRelu": _prelu,
    "Pad": _pad,
    "ReduceMean": _reduce_mean,
    "Relu": _relu,
    "RequantizeLinear": _requantize,
    "Reshape": _same,
    "Resize": _resize,
    "Sigmoid": _table,
    "Slice": _slice,
    "Softmax": _softmax,
    "Sqrt": _table,
    "Squeeze": _same,
    "Sub": lambda call: call.saturate(call.wide(0) - call.wide(1)),
    "Swish": _table,
    "Tanh": _table,
    "Transpose": lambda call: call.value().transpose(call.ints("perm")),
    "Unsqueeze": _same,
}
