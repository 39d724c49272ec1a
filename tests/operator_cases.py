"""Random configurations of every supported operator, for comparison with the oracle.

Each function adds one operator with its own inputs to a model and returns its outputs,
so that many configurations share one model, one compilation and one interpreter.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.tflite_builder import ModelBuilder

Generator = np.random.Generator
ACTIVATIONS = (0, 0, 1, 2, 3)


def scale(rng: Generator, low: float = 0.002, high: float = 0.4) -> float:
    """Log-uniform, as a float32."""
    return float(np.float32(np.exp(rng.uniform(np.log(low), np.log(high)))))


def zero_point(rng: Generator) -> int:
    """Mostly anything, often an extreme."""
    return int(rng.choice([-128, 127, 0, *rng.integers(-128, 128, 5)]))


def quantised(rng: Generator, model: ModelBuilder, shape: tuple[int, ...]) -> int:
    return model.input(shape, scale=scale(rng), zero_point=zero_point(rng))


def weights(
    rng: Generator, model: ModelBuilder, shape: tuple[int, ...], axis: int
) -> tuple[int, list[float]]:
    """int8 weights, per tensor or per channel, with scales that differ by orders of magnitude."""
    channels = shape[axis] if rng.random() < 0.6 else 1
    scales = [scale(rng, 0.0005, 0.05) for _ in range(channels)]
    data = rng.integers(-127, 128, shape, np.int8)
    return model.constant(data, scales=scales, axis=axis), scales


def bias(rng: Generator, model: ModelBuilder, channels: int, scales: list[float]) -> list[int]:
    """Usually a bias of the size of the sums; its scale must be input scale times weight scale."""
    if rng.random() < 0.2:
        return []
    data = rng.integers(-20000, 20000, channels, np.int32)
    input_scale = model.tensors[model.inputs[-1]].scales[0]
    products = [float(np.float32(input_scale * weight)) for weight in scales]
    return [model.constant(data, scales=products, axis=0)]


def output_scale(rng: Generator, model: ModelBuilder, scales: list[float], count: int) -> float:
    """Such that sums of `count` random products fill the output's range; now and then far from it."""
    product = model.tensors[model.inputs[-1]].scales[0] * float(np.mean(scales))
    fitting = product * 74 * 73 * np.sqrt(count) / 40
    return float(np.float32(fitting * rng.choice([1, 1, 1, 1, 0.05, 20, 1e-3, 1e8])))


def out_size(size: int, taps: int, stride: int, dilation: int, padding: int) -> int:
    reach = (taps - 1) * dilation + 1
    return -(-size // stride) if padding == 0 else (size - reach) // stride + 1


def window(
    rng: Generator, dilated: bool
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Sizes, taps, strides, dilations such that VALID leaves at least one output."""
    taps = (int(rng.integers(1, 5)), int(rng.integers(1, 5)))
    dilations = (int(rng.integers(1, 4)), int(rng.integers(1, 4))) if dilated else (1, 1)
    strides = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
    height, width = ((taps[i] - 1) * dilations[i] + 1 + int(rng.integers(0, 7)) for i in range(2))
    return (height, width), taps, strides, dilations


def conv_2d(rng: Generator, model: ModelBuilder) -> list[int]:
    size, taps, strides, dilations = window(rng, dilated=rng.random() < 0.4)
    groups = int(rng.choice([1, 1, 1, 2]))
    filter_channels, group_outputs = int(rng.integers(1, 6)), int(rng.integers(1, 6))
    channels, outputs = filter_channels * groups, group_outputs * groups
    padding, batch = int(rng.integers(0, 2)), int(rng.choice([1, 1, 2]))
    x = quantised(rng, model, (batch, *size, channels))
    w, scales = weights(rng, model, (outputs, *taps, filter_channels), axis=0)
    b = bias(rng, model, outputs, scales)
    out = [out_size(size[i], taps[i], strides[i], dilations[i], padding) for i in range(2)]
    y_scale = output_scale(rng, model, scales, taps[0] * taps[1] * filter_channels)
    y = model.tensor((batch, *out, outputs), scale=y_scale, zero_point=zero_point(rng))
    model.operator("CONV_2D", [x, w, *b], [y], **_window_options(rng, padding, strides, dilations))
    return [y]


def depthwise_conv_2d(rng: Generator, model: ModelBuilder) -> list[int]:
    size, taps, strides, dilations = window(rng, dilated=rng.random() < 0.4)
    channels, multiplier = int(rng.integers(1, 7)), int(rng.choice([1, 1, 2, 3]))
    padding, batch = int(rng.integers(0, 2)), int(rng.choice([1, 1, 2]))
    x = quantised(rng, model, (batch, *size, channels))
    w, scales = weights(rng, model, (1, *taps, channels * multiplier), axis=3)
    b = bias(rng, model, channels * multiplier, scales)
    out = [out_size(size[i], taps[i], strides[i], dilations[i], padding) for i in range(2)]
    y_scale = output_scale(rng, model, scales, taps[0] * taps[1])
    y = model.tensor((batch, *out, channels * multiplier), scale=y_scale, zero_point=zero_point(rng))
    options = _window_options(rng, padding, strides, dilations)
    model.operator("DEPTHWISE_CONV_2D", [x, w, *b], [y], depth_multiplier=multiplier, **options)
    return [y]


def _window_options(
    rng: Generator, padding: int, strides: tuple[int, int], dilations: tuple[int, int]
) -> dict[str, int]:
    return {
        "padding": padding,
        "stride_h": strides[0],
        "stride_w": strides[1],
        "dilation_h_factor": dilations[0],
        "dilation_w_factor": dilations[1],
        "fused_activation_function": int(rng.choice(ACTIVATIONS)),
    }


def fully_connected(rng: Generator, model: ModelBuilder) -> list[int]:
    inputs, outputs, batch = int(rng.integers(1, 90)), int(rng.integers(1, 20)), int(rng.choice([1, 1, 3]))
    shape = (batch, 1, inputs) if rng.random() < 0.3 else (batch, inputs)
    x = quantised(rng, model, shape)
    w, scales = weights(rng, model, (outputs, inputs), axis=0)
    b = bias(rng, model, outputs, scales)
    y_scale = output_scale(rng, model, scales, inputs)
    y = model.tensor((batch, outputs), scale=y_scale, zero_point=zero_point(rng))
    activation = int(rng.choice(ACTIVATIONS))
    model.operator("FULLY_CONNECTED", [x, w, *(b or [-1])], [y], fused_activation_function=activation)
    return [y]


def _pool(rng: Generator, model: ModelBuilder, op: str) -> list[int]:
    size, taps, strides, _ = window(rng, dilated=False)
    if rng.random() < 0.2:
        taps, strides = size, (1, 1)
    padding, batch, channels = int(rng.integers(0, 2)), int(rng.choice([1, 1, 2])), int(rng.integers(1, 7))
    x = quantised(rng, model, (batch, *size, channels))
    out = [out_size(size[i], taps[i], strides[i], 1, padding) for i in range(2)]
    source = model.tensors[x]
    y = model.tensor((batch, *out, channels), scale=source.scales[0], zero_point=source.zero_points[0])
    options = _window_options(rng, padding, strides, (1, 1))
    del options["dilation_h_factor"], options["dilation_w_factor"]
    model.operator(op, [x], [y], filter_height=taps[0], filter_width=taps[1], **options)
    return [y]


def max_pool_2d(rng: Generator, model: ModelBuilder) -> list[int]:
    return _pool(rng, model, "MAX_POOL_2D")


def average_pool_2d(rng: Generator, model: ModelBuilder) -> list[int]:
    return _pool(rng, model, "AVERAGE_POOL_2D")


def _shape(rng: Generator, rank: int) -> tuple[int, ...]:
    return tuple(int(extent) for extent in rng.integers(1, 6, rank))


def mean(rng: Generator, model: ModelBuilder) -> list[int]:
    shape = _shape(rng, int(rng.integers(1, 5)))
    count = int(rng.integers(1, len(shape) + 1))
    axes = [int(axis) for axis in rng.choice(len(shape), count, replace=False)]
    keep = bool(rng.integers(0, 2))
    expected = [1 if i in axes else extent for i, extent in enumerate(shape) if keep or i not in axes]
    x = quantised(rng, model, shape)
    given = [axis - len(shape) if rng.random() < 0.3 else axis for axis in axes]
    a = model.constant(np.array(given, np.int32))
    y = model.tensor(expected, scale=scale(rng), zero_point=zero_point(rng))
    model.operator("MEAN", [x, a], [y], keep_dims=keep)
    return [y]


def _binary(rng: Generator, model: ModelBuilder, op: str) -> list[int]:
    shape = _shape(rng, int(rng.integers(1, 6)))
    shapes = [shape, shape]
    if rng.random() < 0.6:
        shapes = [tuple(1 if rng.random() < 0.35 else extent for extent in shape) for _ in range(2)]
        which = int(rng.integers(0, 2))
        shapes[which] = shapes[which][int(rng.integers(0, len(shape))) :]
    constant = int(rng.integers(0, 6))
    operands = []
    for i, part in enumerate(shapes):
        if i == constant:
            data = rng.integers(-128, 128, part, np.int8)
            operands.append(model.constant(data, scales=[scale(rng)], zero_points=[zero_point(rng)]))
        else:
            operands.append(quantised(rng, model, part))
    expected = np.broadcast_shapes(*shapes)
    y = model.tensor(expected, scale=scale(rng, 0.01, 0.5), zero_point=zero_point(rng))
    model.operator(op, operands, [y], fused_activation_function=int(rng.choice(ACTIVATIONS)))
    return [y]


def add(rng: Generator, model: ModelBuilder) -> list[int]:
    return _binary(rng, model, "ADD")


def sub(rng: Generator, model: ModelBuilder) -> list[int]:
    return _binary(rng, model, "SUB")


def mul(rng: Generator, model: ModelBuilder) -> list[int]:
    return _binary(rng, model, "MUL")


def pad(rng: Generator, model: ModelBuilder) -> list[int]:
    shape = _shape(rng, int(rng.integers(1, 5)))
    amounts = rng.integers(0, 3, (len(shape), 2), np.int32)
    x = quantised(rng, model, shape)
    expected = [extent + int(amounts[i].sum()) for i, extent in enumerate(shape)]
    y_scale, y_zero = scale(rng), zero_point(rng)
    y = model.tensor(expected, scale=y_scale, zero_point=y_zero)
    operands, op = [x, model.constant(amounts)], "PAD"
    if rng.random() < 0.5:
        value = rng.integers(-128, 128, (1,), np.int8)
        operands.append(model.constant(value, scales=[y_scale], zero_points=[y_zero]))
        op = "PADV2"
    model.operator(op, operands, [y])
    return [y]


def concatenation(rng: Generator, model: ModelBuilder) -> list[int]:
    shape = list(_shape(rng, int(rng.integers(1, 5))))
    axis = int(rng.integers(0, len(shape)))
    common, zero = scale(rng), zero_point(rng)
    parts, total = [], 0
    for i in range(int(rng.integers(2, 5))):
        part = [*shape[:axis], int(rng.integers(1, 5)), *shape[axis + 1 :]]
        total += part[axis]
        if i and rng.random() < 0.2:
            data = rng.integers(-128, 128, part, np.int8)
            parts.append(model.constant(data, scales=[common], zero_points=[zero]))
        else:
            parts.append(model.input(tuple(part), scale=common, zero_point=zero))
    y = model.tensor([*shape[:axis], total, *shape[axis + 1 :]], scale=common, zero_point=zero)
    given = axis - len(shape) if rng.random() < 0.4 else axis
    model.operator("CONCATENATION", parts, [y], axis=given, fused_activation_function=0)
    return [y]


def split(rng: Generator, model: ModelBuilder) -> list[int]:
    shape = list(_shape(rng, int(rng.integers(1, 5))))
    axis, count = int(rng.integers(0, len(shape))), int(rng.integers(1, 4))
    x = quantised(rng, model, (*shape[:axis], shape[axis] * count, *shape[axis + 1 :]))
    source = model.tensors[x]
    given = axis - len(shape) if rng.random() < 0.4 else axis
    a = model.constant(np.array(given, np.int32))
    parts = [
        model.tensor(shape, scale=source.scales[0], zero_point=source.zero_points[0]) for _ in range(count)
    ]
    model.operator("SPLIT", [a, x], parts, num_splits=count)
    return parts


def transpose(rng: Generator, model: ModelBuilder) -> list[int]:
    shape = _shape(rng, int(rng.integers(1, 6)))
    permutation = rng.permutation(len(shape)).astype(np.int32)
    x = quantised(rng, model, shape)
    source = model.tensors[x]
    expected = [shape[axis] for axis in permutation]
    y = model.tensor(expected, scale=source.scales[0], zero_point=source.zero_points[0])
    model.operator("TRANSPOSE", [x, model.constant(permutation)], [y])
    return [y]


def strided_slice(rng: Generator, model: ModelBuilder) -> list[int]:
    shape = tuple(int(extent) for extent in rng.integers(1, 8, int(rng.integers(1, 5))))
    begin_mask, end_mask, shrink_mask = (int(mask) for mask in rng.integers(0, 1 << len(shape), 3))
    shrink_mask &= int(rng.integers(0, 1 << len(shape)))
    begins, ends, steps, expected = [], [], [], []
    for axis, size in enumerate(shape):
        bit = 1 << axis
        begin, step = int(rng.integers(0, size)), int(rng.choice([1, 1, 2, -1, -2, 3]))
        shrink = bool(shrink_mask & bit)
        if shrink:
            begin_mask &= ~bit
            step = abs(step)
        start = (0 if step > 0 else size - 1) if begin_mask & bit else begin
        end = int(rng.integers(start + 1, size + 2)) if step > 0 else int(rng.integers(-1, start))
        positions = range(start, min(end, size), step)
        if end_mask & bit:
            positions = range(start, size if step > 0 else -1, step)
        if end < 0:
            end = -size - 1
        elif end < size and rng.random() < 0.3:
            end -= size
        begins.append(begin - size if rng.random() < 0.3 else begin)
        ends.append(end)
        steps.append(step)
        expected += [] if shrink else [len(positions)]
    x = quantised(rng, model, shape)
    source = model.tensors[x]
    y = model.tensor(expected, scale=source.scales[0], zero_point=source.zero_points[0])
    operands = [model.constant(np.array(values, np.int32)) for values in (begins, ends, steps)]
    masks = {"begin_mask": begin_mask, "end_mask": end_mask, "shrink_axis_mask": shrink_mask}
    model.operator("STRIDED_SLICE", [x, *operands], [y], **masks)
    return [y]


def resize_nearest_neighbor(rng: Generator, model: ModelBuilder) -> list[int]:
    height, width, channels = (int(extent) for extent in rng.integers(1, 9, 3))
    size = rng.integers(1, 20, 2).astype(np.int32)
    batch = int(rng.choice([1, 1, 2]))
    x = quantised(rng, model, (batch, height, width, channels))
    source = model.tensors[x]
    y = model.tensor(
        (batch, *map(int, size), channels), scale=source.scales[0], zero_point=source.zero_points[0]
    )
    align, half = bool(rng.integers(0, 2)), bool(rng.integers(0, 2))
    model.operator(
        "RESIZE_NEAREST_NEIGHBOR",
        [x, model.constant(size)],
        [y],
        align_corners=align,
        half_pixel_centers=half,
    )
    return [y]


def reshape(rng: Generator, model: ModelBuilder) -> list[int]:
    """RESHAPE, SQUEEZE, EXPAND_DIMS behind an operator that computes, so that they alias an activation."""
    shape = _shape(rng, 3)
    x = quantised(rng, model, shape)
    middle = model.tensor(shape, scale=scale(rng), zero_point=zero_point(rng))
    model.operator("QUANTIZE", [x], [middle])
    same = {"scale": model.tensors[middle].scales[0], "zero_point": model.tensors[middle].zero_points[0]}
    kind = int(rng.integers(0, 3))
    if kind == 0:
        y = model.tensor((shape[0] * shape[1], shape[2]), **same)
        model.operator("RESHAPE", [middle, model.constant(np.array([-1, shape[2]], np.int32))], [y])
    elif kind == 1:
        y = model.tensor((shape[0], 1, *shape[1:]), **same)
        model.operator("EXPAND_DIMS", [middle, model.constant(np.array(1, np.int32))], [y])
    else:
        wide = model.tensor((1, *shape), **same)
        model.operator("RESHAPE", [middle, model.constant(np.array([1, *shape], np.int32))], [wide])
        y = model.tensor(shape, **same)
        model.operator("SQUEEZE", [wide], [y], squeeze_dims=[0])
    return [y]


def softmax(rng: Generator, model: ModelBuilder) -> list[int]:
    shape = (*_shape(rng, int(rng.integers(0, 3))), int(rng.integers(1, 40)))
    x = model.input(shape, scale=scale(rng, 0.0001, 2.0), zero_point=zero_point(rng))
    y = model.tensor(shape, scale=1 / 256, zero_point=-128)
    model.operator("SOFTMAX", [x], [y], beta=float(rng.choice([1.0, 1.0, 0.5, 2.0])))
    return [y]


def _every_value(rng: Generator, model: ModelBuilder, low: float = 0.002, high: float = 0.4) -> int:
    """512 elements: most of the 256 values of int8."""
    return model.input((2, 256), scale=scale(rng, low, high), zero_point=zero_point(rng))


def _unary(
    rng: Generator,
    model: ModelBuilder,
    op: str,
    y_scale: float | None = None,
    y_zero: int | None = None,
    **options: float,
) -> list[int]:
    x = _every_value(rng, model, 0.0005, 2.0)
    zero = zero_point(rng) if y_zero is None else y_zero
    y = model.tensor((2, 256), scale=y_scale or scale(rng), zero_point=zero)
    model.operator(op, [x], [y], **options)
    return [y]


def logistic(rng: Generator, model: ModelBuilder) -> list[int]:
    return _unary(rng, model, "LOGISTIC", 1 / 256, -128)


def tanh(rng: Generator, model: ModelBuilder) -> list[int]:
    return _unary(rng, model, "TANH", 1 / 128, 0)


def relu(rng: Generator, model: ModelBuilder) -> list[int]:
    return _unary(rng, model, "RELU")


def relu6(rng: Generator, model: ModelBuilder) -> list[int]:
    return _unary(rng, model, "RELU6")


def leaky_relu(rng: Generator, model: ModelBuilder) -> list[int]:
    return _unary(rng, model, "LEAKY_RELU", alpha=float(rng.choice([0.1, 0.3, 0.01, -0.2, 1.7])))


def hard_swish(rng: Generator, model: ModelBuilder) -> list[int]:
    x = _every_value(rng, model)
    y = model.tensor((2, 256), scale=scale(rng, 0.02, 0.3), zero_point=zero_point(rng))
    model.operator("HARD_SWISH", [x], [y])
    return [y]


def quantize(rng: Generator, model: ModelBuilder) -> list[int]:
    kinds = (("int8", "int8"), ("uint8", "int8"), ("int8", "uint8"), ("float32", "int8"))
    source, target = kinds[int(rng.integers(0, len(kinds)))]
    zero_in = zero_point(rng) + (128 if source == "uint8" else 0)
    zero_out = zero_point(rng) + (128 if target == "uint8" else 0)
    x_scale = 0.0 if source == "float32" else scale(rng)
    y_scale = x_scale if source != "float32" and rng.random() < 0.3 else scale(rng)
    x = model.input((2, 256), source, x_scale, zero_in if x_scale else 0)
    y = model.tensor((2, 256), target, y_scale, zero_out)
    model.operator("QUANTIZE", [x], [y])
    return [y]


def dequantize(rng: Generator, model: ModelBuilder) -> list[int]:
    source = str(rng.choice(["int8", "uint8"]))
    zero = zero_point(rng) + (128 if source == "uint8" else 0)
    x = model.input((2, 256), source, scale(rng), zero)
    y = model.tensor((2, 256), "float32")
    model.operator("DEQUANTIZE", [x], [y])
    return [y]


CASES: dict[str, Callable[[Generator, ModelBuilder], list[int]]] = {
    case.__name__: case
    for case in (
        conv_2d, depthwise_conv_2d, fully_connected, max_pool_2d, average_pool_2d, mean, add, sub, mul,
        pad, concatenation, split, transpose, strided_slice, resize_nearest_neighbor, reshape, softmax,
        logistic, tanh, relu, relu6, leaky_relu, hard_swish, quantize, dequantize,
    )
}  # fmt: skip


def bundle(name: str, seed: int, count: int) -> bytes:
    """A model of `count` random configurations of one operator, side by side."""
    rng = np.random.default_rng([seed, *name.encode()])
    model = ModelBuilder()
    outputs = [output for _ in range(count) for output in CASES[name](rng, model)]
    return model.build(outputs)
