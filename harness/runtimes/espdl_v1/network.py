"""An optimised float graph as the layers an ESP-DL v1 device runs: one chain, height-width-channel.

Reshapes and transposes of ONNX are followed as a map from each element to its place on the device,
so a Keras model (which transposes) and a PyTorch one (whose dense layers count channels first) come
out alike. Nothing is quantised here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import ModelError, UnsupportedError
from harness.runtimes.espdl_v1.graph import Graph, attribute

Shape3 = tuple[int, int, int]
FLOAT_OPS = ("Softmax", "Sigmoid")
FILTER_OPS = ("Conv2D", "DepthwiseConv2D")
POOL_OPS = ("GlobalMaxPool2D", "MaxPool2D")
SUPPORTED = (
    "BatchNormalization (after Conv or Gemm), Conv, Flatten, Gemm, GlobalMaxPool, LeakyRelu (after Conv or "
    "Gemm), MatMul, MaxPool, Relu, Reshape, Sigmoid (last), Softmax (last), Squeeze, Transpose, Unsqueeze"
)

_CLOSED = "v1's layer for it is in a closed library, and its numerics are not published"
UNKNOWN = {
    **dict.fromkeys(("Add", "AveragePool", "GlobalAveragePool", "Mul", "Pad", "PRelu", "Sub"), _CLOSED),
    "Tanh": "v1 computes it with the chip's own exp",
}
"""What v1 has layers for whose integers cannot be foretold, and why."""


@dataclass(frozen=True)
class Layer:
    """One layer of a v1 model; `op` is its class there. Shapes are (height, width, channels).

    `tensor` is the ONNX tensor whose range sets the output exponent: the activation's, where one
    is fused. `filter` is (kh, kw, in, out), (kh, kw, channels, 1) for DepthwiseConv2D; a dense
    layer is a 1 x 1 Conv2D, as Espressif's exporter makes it. `pads` are top, bottom, left, right;
    `kernel` is the window of a MaxPool2D. `alpha` is LeakyReLU's slope.
    """

    op: str
    onnx_op: str
    name: str
    tensor: str
    input_shape: Shape3
    output_shape: Shape3
    filter: NDArray[np.float32] | None = None
    bias: NDArray[np.float32] | None = None
    activation: str | None = None
    alpha: float = 0.0
    kernel: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(frozen=True)
class Network:
    """`order` has the ONNX input's shape and holds each element's flat place on the device."""

    input: str
    input_shape: Shape3
    order: NDArray[np.int64]
    layers: tuple[Layer, ...]

    def to_device(self, values: NDArray[np.generic]) -> NDArray[np.generic]:
        """(N, *ONNX input shape without batch) to (N, height, width, channels)."""
        result = np.empty((len(values), self.order.size), dtype=values.dtype)
        result[:, self.order.reshape(-1)] = values.reshape(len(values), -1)
        return result.reshape(len(values), *self.input_shape)


def read_network(graph: Graph) -> Network:
    """The device's layers of an optimised graph.

    Raises:
        UnsupportedError: an operator or form that v1 has not, or whose numerics are not known, by
            index and name; a branch.
        ModelError: shapes that do not fit.
    """
    reader = _Reader(graph)
    reader.read()
    return Network(graph.input, reader.input_shape, reader.input_order, tuple(reader.layers))


class _Reader:
    """Walks the chain; `order` and `shape` describe the tensor reached so far."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.layers: list[Layer] = []
        self.tensor = graph.input
        self.reshaped: tuple[str, str] | None = None
        shape = graph.input_shape
        first = next((n.op_type for n in graph.nodes if n.op_type != "Relu"), "")
        if len(shape) == 4 and first in ("Conv", "GlobalMaxPool", "MaxPool"):
            self.shape: Shape3 = (shape[2], shape[3], shape[1])
            self.order = _planes(self.shape)
        else:
            sizes = (1, 1, *shape[1:]) if len(shape) == 2 else (*shape[1:], 1)
            self.shape = (sizes[0], sizes[1], sizes[2])
            self.order = np.arange(int(np.prod(shape))).reshape(shape)
        self.input_shape, self.input_order = self.shape, self.order

    def read(self) -> None:
        for index, node in enumerate(self.graph.nodes):
            if node.op_type in UNKNOWN:
                self.where = self._where(index, node)
                raise self._refuse(f"is not supported: {UNKNOWN[node.op_type]}")
        index = 0
        while index < len(self.graph.nodes):
            node = self.graph.nodes[index]
            self.where = self._where(index, node)
            if list(node.input[:1]) != [self.tensor] or len(self.graph.consumers(self.tensor)) > 1:
                raise self._refuse("branches off: only a chain of layers is read")
            if self.layers and self.layers[-1].op in FLOAT_OPS:
                raise self._refuse(f"comes after {self.layers[-1].op}, whose output is floating point")
            method = getattr(self, f"_{node.op_type.lower()}", None)
            if method is None:
                raise self._refuse("is not supported")
            try:
                index += method(node)
            except (IndexError, ValueError) as error:  # numpy's, on axes and sizes
                raise ModelError(f"{self.where} does not fit shape {self.order.shape}: {error}") from error
        if self.tensor != self.graph.output:
            raise ModelError(f"the chain of layers ends in {self.tensor}, the output is {self.graph.output}")
        if not self.layers:
            raise ModelError("the model has no layer that computes anything")

    # One method per ONNX operator; each returns how many nodes it used.

    def _conv(self, node: Any) -> int:
        weights = self._weights(node)
        if weights.ndim != 4:
            raise self._refuse(f"has a {weights.ndim}-dimensional filter, expected 4 dimensions")
        self._enter_planes()
        out, per_group, *kernel = weights.shape
        group, channels = attribute(node, "group", 1), self.shape[2]
        if per_group * group != channels:
            raise ModelError(f"{self.where} takes {per_group * group} channels, its input has {channels}")
        if group not in (1, channels) or (group > 1 and out != channels):
            raise self._refuse(f"has {group} groups: expected 1, or depthwise with one filter per channel")
        depthwise = group > 1
        window = self._window(node, (kernel[0], kernel[1]))
        return self._filter_layer(
            node,
            "DepthwiseConv2D" if depthwise else "Conv2D",
            weights.transpose(2, 3, 0, 1) if depthwise else weights.transpose(2, 3, 1, 0),
            self._bias(node, out),
            window,
        )

    def _gemm(self, node: Any) -> int:
        weights = self._weights(node)
        if attribute(node, "transA", 0) or weights.ndim != 2:
            raise self._refuse("is not a vector times a constant matrix")
        weights = weights.T if attribute(node, "transB", 0) else weights
        if self.order.shape != (1, len(weights)):
            raise ModelError(
                f"{self.where} takes {len(weights)} values, its input has shape {self.order.shape}"
            )
        weights = weights * np.float32(attribute(node, "alpha", 1.0))
        bias = self._bias(node, weights.shape[1])
        bias = None if bias is None else bias * np.float32(attribute(node, "beta", 1.0))
        placed = np.empty_like(weights)
        placed[self.order.reshape(-1)] = weights
        self._reshape_to((1, 1, len(weights)))
        return self._filter_layer(node, "Conv2D", placed[np.newaxis, np.newaxis], bias, {})

    def _maxpool(self, node: Any) -> int:
        self._enter_planes()
        kernel = attribute(node, "kernel_shape", [1, 1])
        if len(kernel) != 2 or attribute(node, "ceil_mode", 0) or len(node.output) > 1:
            raise self._refuse("has a form that v1 has not (ceil_mode, indices or not 2-D)")
        window = self._window(node, (kernel[0], kernel[1]))
        if any(window["pads"]) or window["dilations"] != (1, 1):
            raise self._refuse("has padding or dilation: what libdl.a fills in is not known")
        del window["dilations"]
        self._append(node, "MaxPool2D", channels=self.shape[2], kernel=(kernel[0], kernel[1]), **window)
        return 1

    def _globalmaxpool(self, node: Any) -> int:
        self._enter_planes()
        self._append(node, "GlobalMaxPool2D", channels=self.shape[2], kernel=self.shape[:2])
        return 1

    def _relu(self, node: Any) -> int:
        layer = Layer("Relu", "Relu", self._name(node), node.output[0], self.shape, self.shape)
        self.layers.append(layer)
        self.tensor = node.output[0]
        return 1

    def _softmax(self, node: Any) -> int:
        axis = attribute(node, "axis", 1 if self.graph.opset < 13 else -1)
        if self.order.ndim != 2 or axis not in (1, -1):
            raise self._refuse("is not over one vector of classes")
        self._reshape_to((1, 1, self.order.size))
        return self._float_layer(node)

    def _sigmoid(self, node: Any) -> int:
        return self._float_layer(node)

    def _float_layer(self, node: Any) -> int:
        layer = Layer(node.op_type, node.op_type, self._name(node), node.output[0], self.shape, self.shape)
        self.layers.append(layer)
        self.tensor = node.output[0]
        return 1

    def _transpose(self, node: Any) -> int:
        perm = attribute(node, "perm", None)
        return self._move(node, np.transpose(self.order, perm))

    def _flatten(self, node: Any) -> int:
        if attribute(node, "axis", 1) != 1:
            raise self._refuse("does not keep the batch axis apart")
        self.reshaped = (self._name(node), "Flatten")
        return self._move(node, self.order.reshape(1, -1))

    def _reshape(self, node: Any) -> int:
        wanted = self.graph.constant(node, 1)
        if wanted is None or attribute(node, "allowzero", 0):
            raise self._refuse("has no constant shape")
        sizes = [self.order.shape[i] if size == 0 else int(size) for i, size in enumerate(wanted)]
        try:
            order = self.order.reshape(sizes)
        except ValueError:
            raise ModelError(f"{self.where} turns shape {self.order.shape} into {tuple(sizes)}") from None
        self.reshaped = (self._name(node), "Reshape")
        return self._move(node, order)

    def _squeeze(self, node: Any) -> int:
        axes = self._axes(node)
        return self._move(node, self.order.squeeze(None if axes is None else axes))

    def _unsqueeze(self, node: Any) -> int:
        axes = self._axes(node)
        if axes is None:
            raise self._refuse("has no constant axes")
        return self._move(node, np.expand_dims(self.order, axes))

    # What the operators share.

    def _filter_layer(self, node: Any, op: str, weights: Any, bias: Any, window: dict[str, Any]) -> int:
        """Appends a layer with weights, together with a ReLU or LeakyReLU behind it."""
        if not all(np.isfinite(values).all() for values in (weights, bias) if values is not None):
            raise ModelError(f"{self.where} has weights that are NaN or infinite")
        activation, alpha, last = None, 0.0, node
        for kind, name in (("Relu", "ReLU"), ("LeakyRelu", "LeakyReLU")):
            after = self.graph.only_consumer(node.output[0], kind)
            if after is not None:
                activation, last = name, after
                alpha = attribute(after, "alpha", 0.01) if kind == "LeakyRelu" else 0.0
        self._append(
            node,
            op,
            tensor=last.output[0],
            channels=weights.shape[2] if op == "DepthwiseConv2D" else weights.shape[3],
            kernel=weights.shape[:2],
            filter=np.ascontiguousarray(weights, dtype=np.float32),
            bias=bias,
            activation=activation,
            alpha=alpha,
            **window,
        )
        return 2 if last is not node else 1

    def _append(self, node: Any, op: str, *, channels: int, tensor: str = "", **fields: Any) -> None:
        kernel, pads = fields["kernel"], fields.get("pads", (0, 0, 0, 0))
        strides, dilations = fields.get("strides", (1, 1)), fields.get("dilations", (1, 1))
        sizes = [
            window_size(
                self.shape[axis],
                kernel[axis],
                strides[axis],
                dilations[axis],
                pads[2 * axis] + pads[2 * axis + 1],
            )
            for axis in (0, 1)
        ]
        if min(sizes) < 1:
            raise ModelError(f"{self.where} has a window larger than its input {self.shape}")
        output = (sizes[0], sizes[1], channels)
        tensor = tensor or node.output[0]
        self.layers.append(Layer(op, node.op_type, self._name(node), tensor, self.shape, output, **fields))
        self.tensor, self.shape = tensor, output
        flat = node.op_type == "Gemm"
        self.order = np.arange(channels).reshape(1, channels) if flat else _planes(output)

    def _window(self, node: Any, kernel: tuple[int, int]) -> dict[str, Any]:
        """strides, dilations and pads (top, bottom, left, right) of a Conv or MaxPool."""
        strides = tuple(attribute(node, "strides", [1, 1]))
        dilations = tuple(attribute(node, "dilations", [1, 1]))
        auto = attribute(node, "auto_pad", b"NOTSET")
        top, left, bottom, right = attribute(node, "pads", [0, 0, 0, 0])
        if auto in (b"SAME_UPPER", b"SAME_LOWER"):
            reach = [(kernel[axis] - 1) * dilations[axis] + 1 for axis in (0, 1)]
            upper = auto == b"SAME_UPPER"
            top, bottom = same_pads(self.shape[0], reach[0], strides[0], upper)
            left, right = same_pads(self.shape[1], reach[1], strides[1], upper)
        return {"strides": strides, "dilations": dilations, "pads": (top, bottom, left, right)}

    def _weights(self, node: Any) -> Any:
        weights = self.graph.constant(node, 1)
        if weights is None:
            raise self._refuse("has weights that are not constant")
        return weights

    def _bias(self, node: Any, channels: int) -> Any:
        if len(node.input) < 3 or not node.input[2]:
            return None
        bias = self.graph.constant(node, 2)
        if bias is None or bias.size not in (1, channels):
            raise self._refuse(f"has a bias that is not {channels} constants")
        return np.broadcast_to(bias.reshape(-1), (channels,)).astype(np.float32)

    def _axes(self, node: Any) -> tuple[int, ...] | None:
        axes = self.graph.constant(node, 1) if len(node.input) > 1 else attribute(node, "axes", None)
        return None if axes is None else tuple(int(axis) for axis in axes)

    def _move(self, node: Any, order: NDArray[np.int64]) -> int:
        self.order = order
        self.tensor = node.output[0]
        return 1

    def _enter_planes(self) -> None:
        """Makes the tensor (height, width, channels) on the device, or refuses."""
        if self.order.ndim != 4:
            raise self._refuse(f"takes an input of shape {self.order.shape}, expected (1, C, H, W)")
        _, channels, height, width = self.order.shape
        if not np.array_equal(self.order, _planes((height, width, channels))):
            raise self._refuse("needs its input's elements moved, which v1's own exporter does not do either")
        self._reshape_to((height, width, channels))

    def _reshape_to(self, shape: Shape3) -> None:
        """A Reshape layer, where the device's shape has to change."""
        if shape != self.shape:
            name, onnx_op = self.reshaped or (f"reshape_{len(self.layers)}", "Reshape")
            self.layers.append(Layer("Reshape", onnx_op, name, self.tensor, self.shape, shape))
        self.shape, self.reshaped = shape, None

    def _name(self, node: Any) -> str:
        return str(node.name or node.output[0])

    @staticmethod
    def _where(index: int, node: Any) -> str:
        return f"operator {index} ({node.op_type} {node.name or node.output[0]})"

    def _refuse(self, why: str) -> UnsupportedError:
        return UnsupportedError(f"{self.where} {why}", f"Supported: {SUPPORTED}")


def _planes(shape: Shape3) -> NDArray[np.int64]:
    """The order of an ONNX (1, C, H, W) tensor that lies on the device as (H, W, C)."""
    return np.arange(int(np.prod(shape))).reshape(shape).transpose(2, 0, 1)[np.newaxis]


def window_size(size: int, taps: int, stride: int, dilation: int, padding: int) -> int:
    """Output positions along one axis; below 1 where the window does not fit."""
    return (size + padding - (taps - 1) * dilation - 1) // stride + 1


def same_pads(size: int, reach: int, stride: int, upper: bool) -> tuple[int, int]:
    """Zeros before and after an axis that leave ceil(size / stride) positions; an odd one goes after
    where `upper` (TensorFlow, v1's PADDING_SAME_END), else before (MXNet, PADDING_SAME_BEGIN).
    """
    total = max((-(-size // stride) - 1) * stride + reach - size, 0)
    small = total // 2
    return (small, total - small) if upper else (total - small, small)
