"""What each Keras layer is in ONNX, channels first: one function per layer, in `LAYERS`.

Sizes are (height, width, channels), as in Keras. Files are for `keras_file.py`, the whole model for
`keras_onnx.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.model.keras_file import KerasLayer
from harness.model.onnx_chain import Chain, Point, alike

ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "elu": ("Elu", {"alpha": 1.0}),
    "leaky_relu": ("LeakyRelu", {"alpha": 0.2}),
    "relu": ("Relu", {}),
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
}
"""Keras name -> ONNX operator and attributes."""


class NotConvertedError(Exception):
    """A setting that is not converted; the message says which."""


@dataclass(frozen=True)
class _Window:
    """What a window makes of an image: its output size, and the attributes that ONNX wants."""

    size: tuple[int, int]
    attributes: dict[str, Any]


def _window(chain: Chain, layer: KerasLayer, reach: tuple[int, ...]) -> _Window:
    """`reach` is how many rows and columns the window spans, dilation included."""
    _require_image(chain, layer)
    padding = layer.config.get("padding", "valid")
    if padding not in ("valid", "same"):
        raise NotConvertedError(f"padding '{padding}': expected valid or same")
    strides = _pair(layer.config.get("strides") or layer.config.get("pool_size", 1))
    sizes, before, after = [], [], []
    for size, span, stride in zip(chain.shape[:2], reach, strides, strict=True):
        if padding == "same":
            total = max((-(-size // stride) - 1) * stride + span - size, 0)
        elif size >= span:
            total = 0
        else:
            raise ValueError(f"a window of {reach} on an image of {chain.shape[:2]}")
        sizes.append((size + total - span) // stride + 1)
        before.append(total // 2)
        after.append(total - total // 2)
    return _Window((sizes[0], sizes[1]), {"strides": strides, "pads": [*before, *after]})


def _require_image(chain: Chain, layer: KerasLayer) -> None:
    if layer.config.get("data_format", "channels_last") == "channels_first":
        raise NotConvertedError("data_format channels_first: expected channels_last")
    if len(chain.shape) != 3:
        raise NotConvertedError(f"its input has the shape {chain.shape}, expected (height, width, channels)")


def _pair(value: Any) -> tuple[int, int]:
    first, second = (value, value) if isinstance(value, int) else value
    return int(first), int(second)


def _activate(chain: Chain, name: str, activation: Any) -> None:
    """An activation by its Keras name."""
    if activation in ("linear", None):
        return
    if activation == "softmax":
        if chain.image is not None:
            chain.reshape(name, chain.shape)
        # Keras' last axis is the channels, which lie second in ONNX.
        chain.add("Softmax", name, axis=1 if len(chain.shape) == 3 else -1)
    elif activation == "relu6":
        chain.add("Clip", name, np.array(0, np.float32), np.array(6, np.float32))
    elif activation == "hard_swish":
        source = chain.point
        chain.add("HardSigmoid", name, alpha=1 / 6, beta=0.5)
        chain.add("Mul", name, beside=[source.tensor])
    elif isinstance(activation, str) and activation in ACTIVATIONS:
        op, attributes = ACTIVATIONS[activation]
        chain.add(op, name, **attributes)
    else:
        known = ", ".join(sorted(["hard_swish", "linear", "relu6", "softmax", *ACTIVATIONS]))
        shown = activation.get("class_name", activation) if isinstance(activation, dict) else activation
        raise NotConvertedError(f"activation {shown}: expected one of {known}")


# One function per layer.


def _nothing(chain: Chain, layer: KerasLayer) -> None:
    """For layers that act in training alone."""


def _conv2d(chain: Chain, layer: KerasLayer) -> None:
    kernel, *bias = layer.weights
    _convolution(chain, layer, kernel.transpose(3, 2, 0, 1), bias, layer.config.get("groups", 1))


def _depthwise_conv2d(chain: Chain, layer: KerasLayer) -> None:
    kernel, *bias = layer.weights
    height, width, channels, multiplier = kernel.shape
    filters = kernel.transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)
    _convolution(chain, layer, filters, bias, channels)


def _convolution(
    chain: Chain, layer: KerasLayer, filters: NDArray[np.float32], bias: list[Any], groups: int
) -> None:
    """`filters` as ONNX has them: (out, in / groups, height, width)."""
    dilations = _pair(layer.config.get("dilation_rate", 1))
    reach = tuple((size - 1) * step + 1 for size, step in zip(filters.shape[2:], dilations, strict=True))
    window = _window(chain, layer, reach)
    if chain.dims[1] != filters.shape[1] * groups:
        raise ValueError(f"{filters.shape[1] * groups} channels expected, {chain.dims[1]} came")
    chain.add(
        "Conv",
        layer.name,
        filters,
        *bias,
        kernel_shape=filters.shape[2:],
        dilations=dilations,
        group=groups,
        **window.attributes,
    )
    chain.shape = (*window.size, filters.shape[0])
    _activate(chain, layer.name, layer.config.get("activation", "linear"))


def _dense(chain: Chain, layer: KerasLayer) -> None:
    kernel, *bias = layer.weights
    if len(chain.shape) != 1:
        raise NotConvertedError(
            f"its input has the shape {chain.shape}, expected a vector: put a Flatten before it"
        )
    if chain.shape[0] != kernel.shape[0]:
        raise ValueError(f"{kernel.shape[0]} inputs expected, {chain.shape[0]} came")
    if chain.image is not None:
        # Its rows in the vector's order, channels first.
        kernel = kernel.reshape(*chain.image, -1).transpose(2, 0, 1, 3).reshape(kernel.shape)
        chain.image = None
    chain.add("Gemm", layer.name, kernel, *bias)
    chain.shape = (kernel.shape[1],)
    _activate(chain, layer.name, layer.config.get("activation", "linear"))


def _max_pool(chain: Chain, layer: KerasLayer) -> None:
    _pool(chain, layer, "MaxPool")


def _average_pool(chain: Chain, layer: KerasLayer) -> None:
    _pool(chain, layer, "AveragePool", count_include_pad=0)


def _pool(chain: Chain, layer: KerasLayer, op: str, **attributes: Any) -> None:
    kernel = _pair(layer.config["pool_size"])
    window = _window(chain, layer, kernel)
    chain.add(op, layer.name, kernel_shape=kernel, **window.attributes, **attributes)
    chain.shape = (*window.size, chain.shape[2])


def _global_average_pool(chain: Chain, layer: KerasLayer) -> None:
    _require_image(chain, layer)
    channels = chain.shape[2]
    chain.add("GlobalAveragePool", layer.name)
    chain.shape = (1, 1, channels)
    if not layer.config.get("keepdims", False):
        chain.add("Flatten", layer.name, axis=1)
        chain.shape = (channels,)


def _flatten(chain: Chain, layer: KerasLayer) -> None:
    if len(chain.shape) == 1:
        return
    size = int(np.prod(chain.shape))
    if len(chain.shape) == 3 and not alike(chain.shape):
        chain.image = chain.shape
    chain.add("Flatten", layer.name, axis=1)
    chain.shape = (size,)


def _reshape(chain: Chain, layer: KerasLayer) -> None:
    wanted = [int(size) for size in layer.config["target_shape"]]
    size = int(np.prod(chain.shape))
    if -1 in wanted:
        wanted[wanted.index(-1)] = size // int(np.prod([extent for extent in wanted if extent != -1]))
    if int(np.prod(wanted)) != size:
        raise ValueError(f"{size} elements cannot have the shape {tuple(wanted)}")
    chain.reshape(layer.name, tuple(wanted))


def _zero_padding(chain: Chain, layer: KerasLayer) -> None:
    _require_image(chain, layer)
    padding = layer.config["padding"]
    (top, bottom), (left, right) = (
        (side, side) if isinstance(side, int) else tuple(side)
        for side in ((padding, padding) if isinstance(padding, int) else padding)
    )
    chain.add("Pad", layer.name, np.array([0, 0, top, left, 0, 0, bottom, right], np.int64), mode="constant")
    height, width, channels = chain.shape
    chain.shape = (height + top + bottom, width + left + right, channels)


def _batch_normalization(chain: Chain, layer: KerasLayer) -> None:
    axis = layer.config.get("axis", -1)
    axis = axis[0] if isinstance(axis, list) else axis
    if axis not in (-1, len(chain.shape)):
        raise NotConvertedError(f"axis {axis}: expected the last one")
    if chain.image is not None:
        chain.reshape(layer.name, chain.shape)
    weights = list(layer.weights)
    channels = chain.shape[-1]
    ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
    scale = weights.pop(0) if layer.config.get("scale", True) else ones
    offset = weights.pop(0) if layer.config.get("center", True) else zeros
    mean, variance = weights
    chain.add(
        "BatchNormalization", layer.name, scale, offset, mean, variance, epsilon=layer.config["epsilon"]
    )


def _binary(op: str) -> Callable[[Chain, KerasLayer], None]:
    def layer_of(chain: Chain, layer: KerasLayer) -> None:
        if layer.weights:
            (constant,) = layer.weights
            chain.settle(layer.name)
            if constant.size > 1:
                constant = _in_place(chain, constant)
            first = layer.config["constant_first"]
            chain.add(op, layer.name, constant.reshape(constant.shape or (1,)), constants_first=first)
            return
        one, other = _together(chain, layer)
        shape = np.broadcast_shapes(one.shape, other.shape)
        if len(one.shape) != len(other.shape):
            raise NotConvertedError(f"{one.shape} and {other.shape}: expected as many dimensions in both")
        chain.go_to(one)
        chain.add(op, layer.name, beside=[other.tensor])
        chain.shape = shape

    return layer_of


def _in_place(chain: Chain, constant: NDArray[np.float32]) -> NDArray[np.float32]:
    """A constant beside the tensor reached, its axes as that has them in ONNX."""
    sizes = constant.shape[1:] if constant.ndim > len(chain.shape) else constant.shape
    sizes = (1,) * (len(chain.shape) - len(sizes)) + sizes
    if np.broadcast_shapes(sizes, chain.shape) != chain.shape:
        raise NotConvertedError(f"a constant of {constant.shape} beside {chain.shape}")
    values = constant.reshape(sizes)
    return (values.transpose(2, 0, 1) if len(sizes) == 3 else values)[np.newaxis]


def _together(chain: Chain, layer: KerasLayer) -> list[Point]:
    """What a layer reads, vectors in Keras' order where they are not all in the same other one."""
    points = [chain.point, *chain.others]
    if len({point.image for point in points}) == 1:
        return points
    return _settled(chain, layer)


def _settled(chain: Chain, layer: KerasLayer) -> list[Point]:
    """What a layer reads, vectors in Keras' order."""
    points = []
    for place, point in enumerate([chain.point, *chain.others]):
        chain.go_to(point)
        chain.settle(f"{layer.name}_{place}")
        points.append(chain.point)
    return points


def _concatenate(chain: Chain, layer: KerasLayer) -> None:
    """`axis` counts the batch, as in Keras."""
    points = _settled(chain, layer)
    dimensions = len(points[0].shape)
    axis = layer.config["axis"] % (dimensions + 1)
    if axis == 0 or any(len(point.shape) != dimensions for point in points):
        raise NotConvertedError(f"axis {axis} of {', '.join(str(point.shape) for point in points)}")
    chain.go_to(points[0])
    there = {1: 2, 2: 3, 3: 1}[axis] if dimensions == 3 else axis
    chain.add("Concat", layer.name, beside=[point.tensor for point in points[1:]], axis=there)
    sizes = list(chain.shape)
    sizes[axis - 1] = sum(point.shape[axis - 1] for point in points)
    chain.shape = tuple(sizes)


def _activation(chain: Chain, layer: KerasLayer) -> None:
    _activate(chain, layer.name, layer.config["activation"])


def _softmax(chain: Chain, layer: KerasLayer) -> None:
    if layer.config.get("axis", -1) not in (-1, len(chain.shape)):
        raise NotConvertedError(f"axis {layer.config['axis']}: expected the last one")
    _activate(chain, layer.name, "softmax")


def _relu(chain: Chain, layer: KerasLayer) -> None:
    limit, slope = layer.config.get("max_value"), layer.config.get("negative_slope") or 0.0
    if layer.config.get("threshold"):
        raise NotConvertedError(f"threshold {layer.config['threshold']}: expected 0")
    if limit is not None and slope:
        raise NotConvertedError("negative_slope together with max_value")
    if limit is not None:
        chain.add("Clip", layer.name, np.array(0, np.float32), np.array(limit, np.float32))
    elif slope:
        chain.add("LeakyRelu", layer.name, alpha=slope)
    else:
        chain.add("Relu", layer.name)


def _leaky_relu(chain: Chain, layer: KerasLayer) -> None:
    """`alpha` is Keras 2's name of the slope."""
    chain.add(
        "LeakyRelu", layer.name, alpha=layer.config.get("negative_slope", layer.config.get("alpha", 0.3))
    )


LAYERS: dict[str, Callable[[Chain, KerasLayer], None]] = {
    "Activation": _activation,
    "Add": _binary("Add"),
    "AveragePooling2D": _average_pool,
    "BatchNormalization": _batch_normalization,
    "Concatenate": _concatenate,
    "Conv2D": _conv2d,
    "Dense": _dense,
    "DepthwiseConv2D": _depthwise_conv2d,
    "Dropout": _nothing,
    "Flatten": _flatten,
    "GlobalAveragePooling2D": _global_average_pool,
    "LeakyReLU": _leaky_relu,
    "MaxPooling2D": _max_pool,
    "Multiply": _binary("Mul"),
    "ReLU": _relu,
    "Reshape": _reshape,
    "Softmax": _softmax,
    "Subtract": _binary("Sub"),
    "ZeroPadding2D": _zero_padding,
}
