"""The integers a QDQ file stands for, in numpy: sums in 64 bits, one rounding, halves to even.

These are the values that ONNX defines for the file: with scales that are powers of two every step of
its float arithmetic is exact, so any executor of ONNX gives them too, onnxruntime included. It shares
the reader with the firmware generator and nothing of its arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from harness.portable.graph import Graph, Operator, Tensor
from harness.runtimes.base import Array
from harness.runtimes.graph_oracle import GraphOracle

Integers = NDArray[np.int64]
SMALLEST_NORMAL = np.finfo(np.float32).tiny


def divide(numbers: Integers, divisors: Integers | int) -> Integers:
    """numbers / divisors to the nearest integer, halves to even; divisors are positive."""
    floor = numbers // divisors
    twice_rest = 2 * (numbers - floor * divisors)
    up = (twice_rest > divisors) | ((twice_rest == divisors) & (floor % 2 == 1))
    return np.asarray(floor + up, np.int64)


class TvmOracle(GraphOracle):
    """Runs the graph of a QDQ file."""

    def compute(self, operator: Operator, values: dict[int, Array]) -> Array:
        return KERNELS[operator.op](_Call(self._graph, operator, values))


class _Call:
    """One operator with the values that are there when it runs."""

    def __init__(self, graph: Graph, operator: Operator, values: dict[int, Array]) -> None:
        self._graph = graph
        self._values = values
        self.operator = operator
        self.target = graph.tensors[operator.outputs[0]]

    def tensor(self, position: int = 0) -> Tensor:
        return self._graph.tensors[self.operator.inputs[position]]

    def value(self, position: int = 0) -> Array:
        stored = self.tensor(position).data
        return self._values[self.tensor(position).index] if stored is None else stored

    def wide(self, position: int = 0) -> Integers:
        return self.value(position).astype(np.int64)

    def ints(self, name: str) -> tuple[int, ...]:
        value = self.operator.options[name]
        return value if isinstance(value, tuple) else (int(value),)

    def finish(self, results: Integers, scales: Sequence[float], divisor: int = 1) -> Integers:
        """results x scales / divisor in the output's integers; several scales go along the last axis."""
        ratios = [Fraction(scale) / Fraction(self.target.scales[0]) / divisor for scale in scales]
        over = np.array([ratio.numerator for ratio in ratios], np.int64)
        under = np.array([ratio.denominator for ratio in ratios], np.int64)
        low, high = self.ints("low")[0], self.ints("high")[0]
        return np.clip(divide(results * over, under), low, high)


def _windows(call: _Call, kernel: Sequence[int], fill: int) -> Integers:
    """(batch, channel, y, x, row, column) of every window of the input."""
    top, left, bottom, right = call.ints("pads")
    dilations, strides = call.ints("dilations"), call.ints("strides")
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    sizes = call.target.info.shape[2:]
    image = call.wide()
    # ceil_mode may let the last window reach past the padding.
    ends = [(sizes[i] - 1) * strides[i] + reach[i] - image.shape[2 + i] - (top, left)[i] for i in (0, 1)]
    bottom, right = max(bottom, ends[0]), max(right, ends[1])
    padded = np.pad(image, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=fill)
    views = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(2, 3))
    views = views[:, :, :: strides[0], :: strides[1], :: dilations[0], :: dilations[1]]
    return views[:, :, : sizes[0], : sizes[1]]


def _sum_scales(call: _Call) -> list[float]:
    return [call.tensor(0).scales[0] * scale for scale in call.tensor(1).scales]


def _conv(call: _Call) -> Integers:
    weights = call.wide(1)
    windows = _windows(call, weights.shape[2:], fill=0)
    (groups,) = call.ints("group")
    parts = zip(np.split(windows, groups, axis=1), np.split(weights, groups, axis=0), strict=True)
    sums = [np.tensordot(_exact(window), _exact(part), axes=((1, 4, 5), (1, 2, 3))) for window, part in parts]
    totals = np.concatenate(sums, axis=-1).astype(np.int64) + call.wide(2)
    return call.finish(totals, _sum_scales(call)).transpose(0, 3, 1, 2)


def _gemm(call: _Call) -> Integers:
    sums = (_exact(call.value()) @ _exact(call.value(1)).T).astype(np.int64)
    return call.finish(sums + call.wide(2), _sum_scales(call))


def _exact(values: Array) -> NDArray[np.float64]:
    """For BLAS: sums of int8 products stay far below 2^53, so float64 adds them exactly in any order."""
    return values.astype(np.float64)


def _max_pool(call: _Call) -> Integers:
    largest = _windows(call, call.ints("kernel"), fill=-128).max(axis=(-1, -2))
    return call.finish(largest, call.tensor().scales)


def _average_pool(call: _Call) -> Integers:
    kernel = call.ints("kernel")
    sums = _windows(call, kernel, fill=0).sum(axis=(-1, -2))
    return call.finish(sums, call.tensor().scales, divisor=kernel[0] * kernel[1])


def _sum_of(sign: int) -> Callable[[_Call], Integers]:
    def run(call: _Call) -> Integers:
        left, right = call.tensor(0).scales[0], call.tensor(1).scales[0]
        unit = min(left, right)
        total = call.wide(0) * int(left / unit) + sign * call.wide(1) * int(right / unit)
        return call.finish(total, [unit])

    return run


def _multiply(call: _Call) -> Integers:
    return call.finish(call.wide(0) * call.wide(1), [call.tensor(0).scales[0] * call.tensor(1).scales[0]])


def _concat(call: _Call) -> Integers:
    parts = range(len(call.operator.inputs))
    scaled = [call.finish(call.wide(position), call.tensor(position).scales) for position in parts]
    return np.concatenate(scaled, axis=call.ints("axis")[0])


def _transpose(call: _Call) -> Integers:
    return call.finish(call.wide().transpose(call.ints("perm")), call.tensor().scales)


def _table(call: _Call) -> Array:
    return call.value(1)[call.wide() + 128]


def _softmax(call: _Call) -> NDArray[np.float32]:
    """exp of the difference from the largest, rounded to float32; a float32 sum in order; a quotient."""
    scores = call.wide()
    below = (scores - scores.max(axis=-1, keepdims=True)) * call.tensor().scales[0]
    terms = np.maximum(np.exp(below.astype(np.float64)), SMALLEST_NORMAL).astype(np.float32)
    sums = np.zeros((*terms.shape[:-1], 1), np.float32)
    for index in range(terms.shape[-1]):
        sums = sums + terms[..., index : index + 1]
    return np.asarray(terms / sums, np.float32)


def _same(call: _Call) -> Array:
    return call.value()


KERNELS: dict[str, Callable[[_Call], Array]] = {
    "Add": _sum_of(1),
    "AveragePool": _average_pool,
    "Clip": _table,
    "Concat": _concat,
    "Conv": _conv,
    "Elu": _table,
    "Flatten": _same,
    "Gemm": _gemm,
    "HardSigmoid": _table,
    "HardSwish": _table,
    "LeakyRelu": _table,
    "MaxPool": _max_pool,
    "Mul": _multiply,
    "Relu": _table,
    "Requantise": _table,
    "Reshape": _same,
    "Sigmoid": _table,
    "Softmax": _softmax,
    "Squeeze": _same,
    "Sub": _sum_of(-1),
    "Tanh": _table,
    "Transpose": _transpose,
    "Unsqueeze": _same,
}
