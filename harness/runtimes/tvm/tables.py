"""Functions of one int8 value: all 256 results, worked out ahead.

The function is the chain of ONNX operators that stands between a DequantizeLinear and the next
QuantizeLinear, in float32 as executors of ONNX compute it; exp and tanh are rounded correctly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.runtimes.tvm.qdq import QdqFile

Reals = NDArray[np.float32]


def _sigmoid(x: Reals) -> Reals:
    return np.asarray(1.0 / (1.0 + np.exp(-x.astype(np.float64))), np.float32)


def _clip(x: Reals, low: float, high: float) -> Reals:
    return np.minimum(np.maximum(x, np.float32(low)), np.float32(high))


def clip_bounds(file: QdqFile, node: Any) -> tuple[float, float]:
    """What Relu or Clip limits values to."""
    if node.op_type == "Relu":
        return 0.0, np.inf
    bounds = []
    for position, default in ((1, -np.inf), (2, np.inf)):
        value = file.constant(node, position)
        if value is None and position < len(node.input) and node.input[position]:
            file.refuse(node, "its limits are computed, expected constants")
        bounds.append(default if value is None else float(np.asarray(value).reshape(())))
    return bounds[0], bounds[1]


def _parameters(file: QdqFile, node: Any, *names: tuple[str, float]) -> tuple[float, ...]:
    return tuple(float(file.attribute(node, name, default)) for name, default in names)


def _leaky(x: Reals, alpha: float) -> Reals:
    return np.where(x < 0, np.float32(alpha) * x, x)


def _elu(x: Reals, alpha: float) -> Reals:
    below = np.expm1(np.minimum(x, 0).astype(np.float64)).astype(np.float32)
    return np.where(x < 0, np.float32(alpha) * below, x)


FUNCTIONS: dict[str, Callable[[QdqFile, Any, Reals], Reals]] = {
    "Clip": lambda file, node, x: _clip(x, *clip_bounds(file, node)),
    "Elu": lambda file, node, x: _elu(x, *_parameters(file, node, ("alpha", 1.0))),
    "HardSigmoid": lambda file, node, x: _hard_sigmoid(
        x, *_parameters(file, node, ("alpha", 0.2), ("beta", 0.5))
    ),
    "HardSwish": lambda file, node, x: x * _hard_sigmoid(x, 1 / 6, 0.5),  # noqa: ARG005
    "LeakyRelu": lambda file, node, x: _leaky(x, *_parameters(file, node, ("alpha", 0.01))),
    "Relu": lambda file, node, x: _clip(x, *clip_bounds(file, node)),
    "Sigmoid": lambda file, node, x: _sigmoid(x),  # noqa: ARG005
    "Tanh": lambda file, node, x: np.tanh(x.astype(np.float64)).astype(np.float32),  # noqa: ARG005
}


def _hard_sigmoid(x: Reals, alpha: float, beta: float) -> Reals:
    return _clip(np.float32(alpha) * x + np.float32(beta), 0.0, 1.0)


def reals(file: QdqFile, chain: Sequence[Any], exponent: int) -> Reals:
    """The chain's results for q * 2^exponent, q = -128 ... 127."""
    values = np.arange(-128, 128).astype(np.float32) * np.float32(2.0**exponent)
    with np.errstate(over="ignore"):
        for node in chain:
            values = FUNCTIONS[node.op_type](file, node, values)
    return values


def int8_table(file: QdqFile, chain: Sequence[Any], exponent: int, target: int) -> NDArray[np.int8]:
    """The same, as integers of exponent `target`."""
    scaled = np.rint(reals(file, chain, exponent) * np.float32(2.0**-target))
    return np.asarray(np.clip(scaled, -128, 127), np.int8)
