"""Random configurations of every operator of runtime espdl, for comparison with its oracle.

Each function adds one operator with its own input to a model and returns its output.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.espdl_builder import EspdlBuilder

Generator = np.random.Generator


def network(
    rng: Generator, variant: str, ops: tuple[str, ...], count: int, scheme: str = "int8"
) -> tuple[EspdlBuilder, list[str]]:
    """`count` configurations of each of `ops` side by side, and their outputs."""
    model = EspdlBuilder(variant, scheme)
    cases = CASES if scheme == "int8" else CASES16
    return model, [cases[op](rng, model) for op in ops for _ in range(count)]


def _name(model: EspdlBuilder, stem: str) -> str:
    return f"{stem}_{len(model.values)}_{len(model.constants)}"


def _integers(rng: Generator, dtype: str, shape: Any) -> NDArray[Any]:
    """The whole range of a type."""
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, np.dtype(dtype), endpoint=True)


def _weights(rng: Generator, model: EspdlBuilder, shape: Any, grouped: bool = False) -> NDArray[Any]:
    """int8 where the scheme has it; grouped filters of w8a16 are int16. Small ones leave a sum 32 bits."""
    if model.scheme == "int8" or (model.scheme == "w8a16" and not grouped):
        return _integers(rng, "int8", shape)
    values = _integers(rng, "int16", shape)
    return values >> 9 if rng.random() < 0.4 else values


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
        if model.data == "int16":
            bias = bias.astype(np.int64) << int(rng.choice([0, 12, 28]))
        names.append(model.constant(_name(model, "b"), bias, [source + e for e in exponents]))
    fitting = _fitting(float(weights.std()), taps)
    far = 12 if model.data == "int8" else int(rng.choice([12, 31, 40]))
    shift = int(
        rng.choice([fitting, fitting, fitting - 1, 1, 3 if per_channel else 0, 3 if per_channel else -1, far])
    )
    # The smallest exponent makes the largest shift; none of several channels may be scaled up.
    return names, source + max(exponents) + max(shift, 0 if per_channel else -2)


def _fitting(spread: float, taps: int) -> int:
    """The shift that brings typical sums to half the output's range; `spread` is the weights' deviation."""
    return int(np.ceil(np.log2(2 / np.sqrt(3) * max(spread, 1) * np.sqrt(taps))))


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
    weights = _weights(rng, model, shape, groups > 1)
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
    weights = _weights(rng, model, (outputs, 1, 1, inputs))
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


def nearest_table(rng: Generator, model: EspdlBuilder) -> str:
    """Steps of 1 to all there is."""
    x, _ = _image(rng, model, 4)
    step = int(rng.choice([1, 2, 32, 256, 65536]))
    lut = model.constant(_name(model, "lut"), _integers(rng, "int16", 65536 // step + 1), [-15])
    return model.operator("LUT", [x], _name(model, "y"), -15, lut=lut)


def relu16(rng: Generator, model: EspdlBuilder) -> str:
    """With the table that esp-ppq adds and ESP-DL does not look at."""
    x, _ = _image(rng, model, 4)
    lut = model.constant(_name(model, "lut"), _integers(rng, "int16", 257), [-15])
    by = int(rng.choice([0, 0, -3, 1, 4]))
    return model.operator("Relu", [x], _name(model, "y"), _exponent(model, x) + by, lut=lut)


def clip16(rng: Generator, model: EspdlBuilder) -> str:
    x, _ = _image(rng, model, 4)
    limits = np.sort(_integers(rng, "int16", 2))
    names = [
        model.constant(_name(model, "limit"), limit.reshape(()), [_exponent(model, x)]) for limit in limits
    ]
    by = int(rng.choice([0, -1, -15, 1, 5]))
    return model.operator("Clip", [x, *names], _name(model, "y"), _exponent(model, x) + by)


def convert(rng: Generator, model: EspdlBuilder) -> str:
    """Between 8 and 16 bits."""
    source = str(rng.choice(["int8", "int16"]))
    target = "int16" if source == "int8" else "int8"
    x = model.input(_name(model, "x"), (1, 30), -9, source)
    by = int(rng.choice([-3, 0, 2]) + (8 if source == "int16" else -8))
    return model.operator("RequantizeLinear", [x], _name(model, "y"), -9 + by, target)


def softmax(rng: Generator, model: EspdlBuilder) -> str:
    """Every exponent ESP-DL can do; the largest reaches subnormal and vanishing probabilities."""
    shape = (int(rng.choice([1, 3])), int(rng.choice([1, 2, 10, 300])))
    exponents = [-1, -2, -3, -5, -9] if model.data == "int8" else [2, 0, -6, -9, -11, -14]
    x = model.input(_name(model, "x"), shape, int(rng.choice(exponents)))
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
            values = _integers(rng, model.data, shape)
            parts.append(model.constant(_name(model, "part"), values, [exponent]))
        else:
            parts.append(model.input(_name(model, "x"), shape.tolist(), exponent))
    return model.operator("Concat", parts, _name(model, "y"), exponent, axis=axis)


def flatten(rng: Generator, model: EspdlBuilder) -> str:
    x, _ = _image(rng, model, 3)
    return model.operator(
        "Flatten", [x], _name(model, "y"), model.values[x][2][0], axis=int(rng.integers(-3, 4))
    )


def _exponent(model: EspdlBuilder, name: str) -> int:
    return model.values[name][2][0]


def add_or_sub(op: str) -> Callable[[Generator, EspdlBuilder], str]:
    def case(rng: Generator, model: EspdlBuilder) -> str:
        exponent = int(rng.integers(-8, 2))
        return model.operator(op, _operands(rng, model, exponent, exponent), _name(model, "y"), exponent)

    return case


def mul(rng: Generator, model: EspdlBuilder) -> str:
    exponents = [int(e) for e in rng.integers(-8, 2, 2)]
    target = sum(exponents) + int(rng.choice([7, 7, 6, 3, 1, 0, -1, 14]))
    return model.operator("Mul", _operands(rng, model, *exponents), _name(model, "y"), target)


def _operands(rng: Generator, model: EspdlBuilder, *exponents: int) -> list[str]:
    """Two tensors that broadcast, of up to four dimensions; now and then one is a constant."""
    shape = rng.integers(1, 6, int(rng.integers(1, 5)))
    names: list[str] = []
    for exponent in exponents:
        own = np.where(rng.random(len(shape)) < 0.25, 1, shape)[int(rng.choice([0, 0, len(shape) - 1])) :]
        if names and rng.random() < 0.3:
            values = _integers(rng, model.data, own)
            names.append(model.constant(_name(model, "c"), values, [exponent]))
        else:
            names.append(model.input(_name(model, "x"), own.tolist(), exponent))
    return names if rng.random() < 0.5 or exponents[0] != exponents[1] else names[::-1]


def prelu(rng: Generator, model: EspdlBuilder) -> str:
    x, shape = _image(rng, model, int(rng.choice([1, 3, 16])))
    slopes = _integers(rng, model.data, (shape[3], 1, 1))
    alpha = model.constant(_name(model, "alpha"), slopes, [int(rng.choice([-7, -8, -2, 0]))])
    return model.operator("PRelu", [x, alpha], _name(model, "y"), _exponent(model, x))


def requantize(rng: Generator, model: EspdlBuilder) -> str:
    """With the scale and offset that esp-ppq writes and ESP-DL does not look at."""
    x, _ = _image(rng, model, 3)
    by = int(rng.choice([-3, -1, 1, 2, 5]))
    scale = model.constant(_name(model, "scale"), np.array([2.0**by], np.float32))
    offset = model.constant(_name(model, "offset"), np.array([0], np.int8))
    return model.operator("RequantizeLinear", [x, scale, offset], _name(model, "y"), _exponent(model, x) + by)


def matmul(rng: Generator, model: EspdlBuilder) -> str:
    """Of two activations, or with constant matrices: one for all, or one for each of the batch."""
    rows, inner, columns = int(rng.integers(1, 6)), int(rng.integers(1, 40)), int(rng.choice([1, 5, 16, 19]))
    batch = rng.integers(1, 4, int(rng.integers(0, 3)))
    left = model.input(_name(model, "x"), [*batch.tolist(), rows, inner], int(rng.integers(-8, 2)))
    shape = [*np.where(rng.random(len(batch)) < 0.3, 1, batch).tolist(), inner, columns]
    shape = shape[int(rng.integers(0, len(batch) + 1)) :]
    exponent = int(rng.integers(-8, 2))
    if rng.random() < 0.5:
        values = _weights(rng, model, shape)
        right, layout = model.matrices(_name(model, "w"), values, [exponent]), "packed"
        spread = float(values.std())
    else:
        right, layout = model.input(_name(model, "x"), shape, exponent), "native_kn"
        spread = np.iinfo(model.data).max / np.sqrt(3)
    fitting = _fitting(spread, inner)
    target = _exponent(model, left) + exponent + int(rng.choice([fitting, fitting, fitting - 1, 0, -1]))
    return model.operator(
        "MatMul", [left, right], _name(model, "y"), target, activation=_activation(rng), input1_layout=layout
    )


def average_pool(rng: Generator, model: EspdlBuilder) -> str:
    """3 x 5 windows among them, whose halves single precision puts on either side."""
    x, _ = _image(rng, model, int(rng.integers(1, 6)))
    kernel = [3, 5] if rng.random() < 0.3 else rng.integers(1, 5, 2).tolist()
    pads = [int(rng.integers(0, k)) for k in (*kernel, *kernel)]
    options = {"kernel_shape": kernel, "pads": pads, "strides": rng.integers(1, 4, 2).tolist()}
    return model.operator("AveragePool", [x], _name(model, "y"), _averaged(rng, model, x), **options)


def _averaged(rng: Generator, model: EspdlBuilder, x: str) -> int:
    return _exponent(model, x) + int(rng.choice([0, 0, -1, -2, 1]))


def global_average_pool(rng: Generator, model: EspdlBuilder) -> str:
    x, _ = _image(rng, model, int(rng.integers(1, 6)))
    return model.operator("GlobalAveragePool", [x], _name(model, "y"), _averaged(rng, model, x))


def reduce_mean(rng: Generator, model: EspdlBuilder) -> str:
    x, _ = _image(rng, model, int(rng.integers(1, 6)))
    names, options = [x], {"keepdims": int(rng.integers(0, 2))}
    if rng.random() < 0.8:
        axes = rng.choice(4, int(rng.integers(1, 5)), replace=False) - rng.choice([0, 4])
        names.append(model.constant(_name(model, "axes"), axes.astype(np.int64)))
    return model.operator("ReduceMean", names, _name(model, "y"), _averaged(rng, model, x), **options)


def pad(rng: Generator, model: EspdlBuilder) -> str:
    x, _ = _image(rng, model, int(rng.integers(1, 4)))
    amounts = np.where(rng.random(8) < 0.5, 0, rng.integers(0, 3, 8)).astype(np.int64)
    names = [x, model.constant(_name(model, "pads"), amounts)]
    if rng.random() < 0.6:
        value = _integers(rng, model.data, ())
        names.append(model.constant(_name(model, "value"), np.asarray(value), [_exponent(model, x)]))
    return model.operator("Pad", names, _name(model, "y"), _exponent(model, x), mode="constant")


def slice_(rng: Generator, model: EspdlBuilder) -> str:
    """Of some axes or the first ones; now and then beyond the end, counted from the end, or in steps."""
    x, shape = _image(rng, model, 4)
    count = int(rng.integers(1, 5))
    axes = rng.choice(4, count, replace=False) if rng.random() < 0.7 else np.arange(count)
    sizes = np.array(shape)[axes]
    begins = rng.integers(0, sizes)
    ends = begins + 1 + rng.integers(0, sizes - begins)
    coins = rng.random((2, count)) < 0.4
    ends = np.where(coins[0], np.where(ends < sizes, ends - sizes, 2**62), ends)
    operands = [begins - np.where(coins[1], sizes, 0), ends]
    if (axes != np.arange(count)).any() or rng.random() < 0.5:
        operands.append(axes - np.where(rng.random(count) < 0.3, 4, 0))
        operands += [rng.integers(1, 4, count)] if rng.random() < 0.5 else []
    stored = [model.constant(_name(model, "places"), values.astype(np.int64)) for values in operands]
    return model.operator("Slice", [x, *stored], _name(model, "y"), _exponent(model, x))


def resize(rng: Generator, model: EspdlBuilder) -> str:
    """By factors or to sizes; 6 to 26 rows is where a reciprocal and a quotient lead to different rows."""
    rows = int(rng.choice([6, 3, 5]))
    x = model.input(_name(model, "x"), (1, rows, 4, 3), -5)
    operands = [x, "", ""]
    if rng.random() < 0.5:
        sizes = np.array([1, 3, rng.choice([26, 7, 2]), rng.integers(1, 10)], np.int64)
        operands.append(model.constant(_name(model, "sizes"), sizes))
    else:
        scales = np.array([1, 1, rng.choice([2, 0.5, 1.7]), rng.choice([2, 1, 3.3])], np.float32)
        operands[2] = model.constant(_name(model, "scales"), scales)
    return model.operator(
        "Resize",
        operands,
        _name(model, "y"),
        -5,
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
    )


def squeeze(rng: Generator, model: EspdlBuilder) -> str:
    x = model.input(_name(model, "x"), (1, 5, 1, 3))
    axes = [np.array(rng.choice([0, 2, -2]), np.int64).reshape(1)] if rng.random() < 0.6 else []
    names = [model.constant(_name(model, "axes"), values) for values in axes]
    return model.operator("Squeeze", [x, *names], _name(model, "y"), -5)


def unsqueeze(rng: Generator, model: EspdlBuilder) -> str:
    x = model.input(_name(model, "x"), (5, 3))
    axes = np.array([[0], [1, -1], [0, 1], [-2]][int(rng.integers(4))], np.int64)
    return model.operator("Unsqueeze", [x, model.constant(_name(model, "axes"), axes)], _name(model, "y"), -5)


TABLES = ("Clip", "Elu", "Exp", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Log")
TABLES += ("PRelu", "Relu", "Sigmoid", "Sqrt", "Swish", "Tanh")

CASES: dict[str, Callable[[Generator, EspdlBuilder], str]] = {
    **{f"{op} as a table": table(op) for op in TABLES},
    "Add": add_or_sub("Add"),
    "AveragePool": average_pool,
    "Concat": concat,
    "Conv": conv,
    "Flatten": flatten,
    "Gemm": gemm,
    "GlobalAveragePool": global_average_pool,
    "MatMul": matmul,
    "MaxPool": max_pool,
    "Mul": mul,
    "PRelu": prelu,
    "Pad": pad,
    "ReduceMean": reduce_mean,
    "Relu": relu,
    "RequantizeLinear": requantize,
    "Reshape": reshape,
    "Resize": resize,
    "Slice": slice_,
    "Softmax": softmax,
    "Squeeze": squeeze,
    "Sub": add_or_sub("Sub"),
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
    "depthwise Conv": depthwise,
}

# In 16 bits: those of `CASES` that ESP-DL has, and others of which it makes something else.
CASES16: dict[str, Callable[[Generator, EspdlBuilder], str]] = {
    **{
        op: case
        for op, case in CASES.items()
        if not op.endswith("as a table")
        and op not in ("AveragePool", "GlobalAveragePool", "Mul", "ReduceMean", "Resize")
    },
    "Clip": clip16,
    "LUT": nearest_table,
    "Relu": relu16,
    "RequantizeLinear between types": convert,
}

# Compiled and run together: one program costs more than its operators.
FAMILIES: dict[str, tuple[str, ...]] = {
    "sums": ("Conv", "depthwise Conv", "Gemm", "MatMul"),
    "windows": ("AveragePool", "GlobalAveragePool", "MaxPool", "ReduceMean"),
    "elementwise": ("Add", "Mul", "PRelu", "Relu", "RequantizeLinear", "Sub"),
    "moves": ("Concat", "Flatten", "Pad", "Reshape", "Resize", "Slice", "Squeeze", "Transpose", "Unsqueeze"),
    "softmax": ("Softmax",),
    "tables": tuple(f"{op} as a table" for op in TABLES),
}
