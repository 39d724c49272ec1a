"""What each Keras layer is in ONNX, channels first: one function per layer, in `LAYERS`.

Sizes are (height, width, channels), as in Keras. Files are for `keras_file.py`, the whole model for
`keras_onnx.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from harness.model.keras_file import KerasLayer

OPSET = 13
IR_VERSION = 8
ACTIVATIONS: dict[str, tuple[str, dict[str, float]]] = {
    "elu": ("Elu", {"alpha": 1.0}),
    "leaky_relu": ("LeakyRelu", {"alpha": 0.2}),
    "relu": ("Relu", {}),
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
}
"""Keras name -> ONNX operator and attributes."""


class NotConvertedError(Exception):
    """A setting that is not converted; the message says which."""


class Chain:
    """The graph so far; `shape` is Keras' shape of the tensor reached, without the batch.

    A tensor of three dimensions lies channels first. `moved`, after a Flatten, holds for each place of
    the ONNX vector its place in Keras' one; None where the two are alike.
    """

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        self.shape = input_shape
        self.moved: NDArray[np.int64] | None = None
        self._input_dims = self.dims
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._tensor = "input"

    @property
    def dims(self) -> list[int]:
        """The tensor's shape in ONNX."""
        if len(self.shape) == 3:
            height, width, channels = self.shape
            return [1, channels, height, width]
        return [1, *self.shape]

    def add(self, op: str, name: str, *constants: NDArray[np.generic], **attributes: Any) -> None:
        """A node behind the last one; `constants` are its further inputs."""
        name = f"{name}_{op.lower()}"
        names = [f"{name}_{place}" for place in range(1, len(constants) + 1)]
        self._constants += [
            numpy_helper.from_array(np.ascontiguousarray(values), constant)
            for values, constant in zip(constants, names, strict=True)
        ]
        self._nodes.append(helper.make_node(op, [self._tensor, *names], [name], name=name, **attributes))
        self._tensor = name

    def reshape(self, name: str, shape: tuple[int, ...]) -> None:
        """Keras' Reshape: in the order of height, width, channels."""
        if self.moved is not None:
            self.add("Gather", name, np.argsort(self.moved), axis=1)
            self.moved = None
        if len(self.shape) == 3 and not _alike(self.shape):
            self.add("Transpose", f"{name}_last", perm=[0, 2, 3, 1])
        if len(shape) == 3 and not _alike(shape):
            self.add("Reshape", name, np.array([1, *shape], np.int64))
            self.add("Transpose", f"{name}_first", perm=[0, 3, 1, 2])
            self.shape = shape
        else:
            self.shape = shape
            self.add("Reshape", name, np.array(self.dims, np.int64))

    def model(self) -> Any:
        """The finished ONNX model, checked."""
        if self.moved is not None or not self._nodes:
            self.reshape("output", self.shape)
        self._nodes[-1].output[0] = "output"
        float32 = onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            self._nodes,
            "model",
            [helper.make_tensor_value_info("input", float32, self._input_dims)],
            [helper.make_tensor_value_info("output", float32, self.dims)],
            self._constants,
        )
        opsets = [helper.make_opsetid("", OPSET)]
        made = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="harness")
        onnx.checker.check_model(made, full_check=True)
        return made


def _alike(shape: tuple[int, ...]) -> bool:
    """Whether (H, W, C) has its elements in the same order channels first."""
    return shape[2] == 1 or shape[0] * shape[1] == 1


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
        if chain.moved is not None:
            chain.reshape(name, chain.shape)
        # Keras' last axis is the channels, which lie second in ONNX.
        chain.add("Softmax", name, axis=1 if len(chain.shape) == 3 else -1)
    elif activation == "relu6":
        chain.add("Clip", name, np.array(0, np.float32), np.array(6, np.float32))
    elif isinstance(activation, str) and activation in ACTIVATIONS:
        op, attributes = ACTIVATIONS[activation]
        chain.add(op, name, **attributes)
    else:
        known = ", ".join(sorted(["linear", "relu6", "softmax", *ACTIVATIONS]))
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
    if chain.moved is not None:
        kernel = kernel[chain.moved]
        chain.moved = None
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
    if len(chain.shape) == 3 and not _alike(chain.shape):
        chain.moved = np.arange(size).reshape(chain.shape).transpose(2, 0, 1).reshape(-1)
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
    if chain.moved is not None:
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
    "AveragePooling2D": _average_pool,
    "BatchNormalization": _batch_normalization,
    "Conv2D": _conv2d,
    "Dense": _dense,
    "DepthwiseConv2D": _depthwise_conv2d,
    "Dropout": _nothing,
    "Flatten": _flatten,
    "GlobalAveragePooling2D": _global_average_pool,
    "LeakyReLU": _leaky_relu,
    "MaxPooling2D": _max_pool,
    "ReLU": _relu,
    "Reshape": _reshape,
    "Softmax": _softmax,
    "ZeroPadding2D": _zero_padding,
}
