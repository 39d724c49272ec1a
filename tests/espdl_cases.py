"""Random configurations of every operator of runtime espdl, for comparison with its oracle.

Each function adds one operator with its own input to a model and returns its output.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.espdl_builder import EspdlBuilder

Generator = np.random.Generator


def network(rng: Generator, variant: str, ops: tuple[str, ...], count: int) -> tuple[EspdlBuilder, list[str]]:
    """`count` configurations of each of `ops` side by side, and their outputs."""
    model = EspdlBuilder(variant)
    return model, [CASES[op](rng, model) for op in ops for _ in range(count)]


def _name(model: EspdlBuilder, stem: str) -> str:
    return f"{stem}_{len(model.values)}_{len(model.constants)}"


def _image(rng: Generator, model: EspdlBuilder, channels: int) -> tuple[str, tuple[int, ...]]:
    shape = (1, int(rng.integers(5, 10)), int(rng.integers(5, 10)), channels)
    return model.input(_name(model, "x"), shape, int(rng.integers(-8, 2))), shape


def _sums(
    rng: Generator, model: EspdlBuilder, x: str, weights: np.ndarray, grouped: bool
) -> tuple[list[str], int]:
    """Filter and bias as inputs, and an output exponent that mostly fits the sums."""
    n, taps = len(weights), weights[0].size
    per_channel = model.variant == "esp32p4"
    exponents = [int(e) for e in rng.integers(-9, -6, n if per_channel else 1)]
    source = model.values[x][2][0]
    names = [x, model.filter(_name(model, "w"), weights, exponents, grouped)]
    if rng.random() < 0.8:
        bias = rng.integers(-4000, 4000, n, np.int32)
        names.append(model.constant(_name(model, "b"), bias, [source + e for e in exponents]))
    fitting = int(np.ceil(np.log2(74 * 74 * np.sqrt(taps) / 60)))
    shift = int(
        rng.choice([fitting, fitting, fitting - 1, 1, 3 if per_channel else 0, 3 if per_channel else -1, 12])
    )
    # The smallest exponent makes the largest shift; none of several channels may be scaled up.
    return names, source + max(exponents) + max(shift, 0 if per_channel else -2)


def _activation(rng: Generator) -> str:
    return str(rng.choice(["Linear", "Relu"]))


def conv(rng: Generator, model: EspdlBuilder) -> str:
    groups = int(rng.choice([1, 1, 2]))
    x, _ = _image(rng, model, int(rng.integers(1, 5)) * groups)
    channels = model.values[x][0][3]
    taps = rng.integers(1, 4, 2)
    shape = (int(rng.choice([3, 8, 16, 20])) * groups, *taps, channels // groups)
    return _convolve(rng, model, x, shape, groups)


def depthwise(rng: Generator, model: EspdlBuilder) -> str:
    channels = int(rng.choice([3, 16, 18]))
    x, _ = _image(rng, model, channels)
    return _convolve(
        rng, model, x, (channels * int(rng.choice([1, 1, 2])), *rng.integers(1, 4, 2), 1), channels
    )


def _convolve(rng: Generator, model: EspdlBuilder, x: str, shape: Any, groups: int) -> str:
    weights = rng.integers(-128, 128, shape, np.int8)
    names, exponent = _sums(rng, model, x, weights, groups > 1)
    options: dict[str, Any] = {"activation": _activation(rng)}
    if groups > 1:
        options["group"] = groups
    if rng.random() < 0.6:
        options["pads"] = [int(rng.integers(0, k)) for k in (*shape[1:3], *shape[1:3])]
    if rng.random() < 0.5:
        options["strides"] = rng.integers(1, 4, 2).tolist()
    if rng.random() < 0.4:
        options["dilations"] = rng.integers(1, 3, 2).tolist()
    return model.operator("Conv", names, _name(model, "y"), exponent, **options)


def gemm(rng: Generator, model: EspdlBuilder) -> str:
    inputs, outputs, batches = (
        int(rng.integers(1, 70)),
        int(rng.choice([1, 10, 16, 33])),
        int(rng.choice([1, 1, 3])),
    )
    x = model.input(_name(model, "x"), (batches, inputs), int(rng.integers(-8, 2)))
    weights = rng.integers(-128, 128, (outputs, 1, 1, inputs), np.int8)
    names, exponent = _sums(rng, model, x, weights, grouped=False)
    return model.operator("Gemm", names, _name(model, "y"), exponent, activation=_activation(rng))


def max_pool(rng: Generator, model: EspdlBuilder) -> str:
    x, _ = _image(rng, model, int(rng.integers(1, 6)))
    kernel = rng.integers(1, 4, 2).tolist()
    pads = [int(rng.integers(0, k)) for k in (*kernel, *kernel)]
    options = {"kernel_shape": kernel, "pads": pads, "strides": rng.integers(1, 4, 2).tolist()}
    return model.operator("MaxPool", [x], _name(model, "y"), model.values[x][2][0], **options)


def relu(rng: Generator, model: EspdlBuilder) -> str:
    x, _ = _image(rng, model, 4)
    return model.operator("Relu", [x], _name(model, "y"), model.values[x][2][0])


def table(op: str) -> Callable[[Generator, EspdlBuilder], str]:
    def case(rng: Generator, model: EspdlBuilder) -> str:
        x, _ = _image(rng, model, 4)
        lut = model.constant(_name(model, "lut"), rng.integers(-128, 128, 256, np.int8), [-7])
        return model.operator(op, [x], _name(model, "y"), -7, lut=lut)

    return case


def softmax(rng: Generator, model: EspdlBuilder) -> str:
    """Every exponent ESP-DL can do; the largest reaches subnormal and vanishing probabilities."""
    shape = (int(rng.choice([1, 3])), int(rng.choice([1, 2, 10, 300])))
    x = model.input(_name(model, "x"), shape, int(rng.choice([-1, -2, -3, -5, -9])))
    return model.operator("Softmax", [x], _name(model, "y"), dtype="float32", axis=int(rng.choice([-1, 1])))


def transpose(rng: Generator, model: EspdlBuilder) -> str:
    x, _ = _image(rng, model, int(rng.choice([1, 3])))
    perm = rng.permutation(4).tolist()
    return model.operator("Transpose", [x], _name(model, "y"), model.values[x][2][0], perm=perm)


def reshape(rng: Generator, model: EspdlBuilder) -> str:
    x, shape = _image(rng, model, 6)
    wanted = rng.choice(["split", "keep", "rest"])
    to = {"split": [shape[1] * shape[2], 2, 3], "keep": [0, 0, -1], "rest": [-1]}[str(wanted)]
    target = model.constant(_name(model, "shape"), np.array(to, np.int64))
    return model.operator("Reshape", [x, target], _name(model, "y"), model.values[x][2][0])


def concat(rng: Generator, model: EspdlBuilder) -> str:
    """Along any axis; now and then one part is a constant."""
    axis, exponent = int(rng.integers(-4, 4)), int(rng.integers(-8, 2))
    shape = rng.integers(1, 5, 4)
    parts = []
    for _ in range(int(rng.integers(2, 5))):
        shape[axis] = rng.integers(1, 5)
        if parts and rng.random() < 0.2:
            values = rng.integers(-128, 128, shape, np.int8)
            parts.append(model.constant(_name(model, "part"), values, [exponent]))
        else:
            parts.append(model.input(_name(model, "x"), shape.tolist(), exponent))
    return model.operator("Concat", parts, _name(model, "y"), exponent, axis=axis)


def flatten(rng: Generator, model: EspdlBuilder) -> str:
    x, _ = _image(rng, model, 3)
    return model.operator(
        "Flatten", [x], _name(model, "y"), model.values[x][2][0], axis=int(rng.integers(-3, 4))
    )


CASES: dict[str, Callable[[Generator, EspdlBuilder], str]] = {
    "Concat": concat,
    "Conv": conv,
    "depthwise Conv": depthwise,
    "Flatten": flatten,
    "Gemm": gemm,
    "HardSwish": table("HardSwish"),
    "LeakyRelu": table("LeakyRelu"),
    "MaxPool": max_pool,
    "Relu": relu,
    "Reshape": reshape,
    "Sigmoid": table("Sigmoid"),
    "Softmax": softmax,
    "Tanh": table("Tanh"),
    "Transpose": transpose,
}
