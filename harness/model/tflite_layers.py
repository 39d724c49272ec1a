"""A float .tflite file as the Keras layers it was made of, so that `keras_onnx.py` makes ONNX of it.

One input, one output, branches where the net has them; what is no layer here runs in tflm alone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tflite
from numpy.typing import NDArray

from harness.errors import ModelError, UnsupportedError
from harness.model.keras_file import INPUT, KerasLayer, KerasModel
from harness.portable.graph import Graph, Operator
from harness.runtimes.tflm.float_file import read_float

OTHERWISE = "Give what it was converted from, as .onnx; runtime tflm may take this file"
PADDING = {tflite.Padding.SAME: "same", tflite.Padding.VALID: "valid"}
ACTIVATIONS = {
    tflite.ActivationFunctionType.NONE: "linear",
    tflite.ActivationFunctionType.RELU: "relu",
    tflite.ActivationFunctionType.RELU6: "relu6",
    tflite.ActivationFunctionType.TANH: "tanh",
}
Config = dict[str, Any]
Weights = tuple[NDArray[np.float32], ...]


class _OtherError(Exception):
    """An operator that is no Keras layer here; the message says why."""


def read_tflite_layers(path: Path) -> KerasModel:
    """Reads a float .tflite file; one operator may become several layers.

    Raises:
        ModelError: as `read_float`; or constants do not fit their operator.
        UnsupportedError: several inputs or outputs, or an operator is not converted, by index and name.
    """
    graph = read_float(path)
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise UnsupportedError(
            f"{path}: {len(graph.inputs)} inputs and {len(graph.outputs)} outputs, expected one of each",
            OTHERWISE,
        )
    layers: list[KerasLayer] = []
    made_by = {graph.inputs[0]: INPUT}  # tensor to the layer that makes it
    for operator in graph.operators:
        where = f"{path}: operator {operator.index} ({operator.op})"
        if operator.op not in LAYERS:
            raise UnsupportedError(f"{where} is not converted", f"Converted: {', '.join(sorted(LAYERS))}")
        try:
            at = _Reading(graph, operator)
            made = LAYERS[operator.op](at)
        except _OtherError as error:
            raise UnsupportedError(f"{where}: {error}", OTHERWISE) from None
        except (IndexError, KeyError, ValueError) as error:
            raise ModelError(f"{where} does not fit: {error}", "Convert the model again") from error
        if unmade := [index for index in at.read if index not in made_by]:
            raise ModelError(
                f"{where} reads tensor {unmade[0]}, which none before it makes", "Convert it again"
            )
        reads = tuple(made_by[index] for index in at.read)
        for kind, config, weights in made:
            name = f"{kind.lower()}_{len(layers)}"
            layers.append(KerasLayer(operator.index, kind, name, config, weights, reads))
            reads = (len(layers) - 1,)
        made_by[operator.outputs[0]] = reads[0]
    if graph.outputs[0] not in made_by:
        raise ModelError(f"{path}: no operator makes its output", "Convert it again")
    shape = graph.tensors[graph.inputs[0]].info.shape[1:]
    return KerasModel(shape, tuple(layers), made_by[graph.outputs[0]])


class _Reading:
    """One operator: its options, constants and shapes; `read` are the tensors it reads that are computed."""

    def __init__(self, graph: Graph, operator: Operator) -> None:
        self._graph = graph
        self._operator = operator
        given = [index for index in operator.inputs if index >= 0]
        self.read = [index for index in given if graph.tensors[index].data is None]
        if not self.read:
            raise _OtherError("all its inputs are constants")
        self.source = graph.tensors[self.read[0]].info.shape
        self.target = graph.tensors[operator.outputs[0]].info.shape
        if self.source[:1] != (1,) or self.target[:1] != (1,):
            raise _OtherError(f"from {self.source} to {self.target}, expected batch 1 in both")

    def option(self, name: str) -> Any:
        if name not in self._operator.options:
            raise _OtherError(f"it has no {name}")
        return self._operator.options[name]

    def constant(self, place: int) -> NDArray[Any]:
        index = self._operator.inputs[place] if place < len(self._operator.inputs) else -1
        data = self._graph.tensors[index].data if index >= 0 else None
        if data is None:
            raise _OtherError(f"its input {place} is no constant")
        return data

    @property
    def inputs(self) -> int:
        return len(self._operator.inputs)

    def is_constant(self, place: int) -> bool:
        index = self._operator.inputs[place]
        return index >= 0 and self._graph.tensors[index].data is not None

    def bias(self) -> Weights:
        given = len(self._operator.inputs) > 2 and self._operator.inputs[2] >= 0
        return (self.constant(2),) if given else ()

    def window(self) -> Config:
        return {
            "padding": PADDING[self.option("padding")],
            "strides": (self.option("stride_h"), self.option("stride_w")),
        }

    def activation(self) -> str:
        number = self._operator.options.get("fused_activation_function", 0)
        if number not in ACTIVATIONS:
            raise _OtherError(f"fused activation {number} is not converted")
        return ACTIVATIONS[number]


Made = list[tuple[str, Config, Weights]]


def _conv2d(at: _Reading) -> Made:
    # TFLite has (out, height, width, in), Keras (height, width, in, out).
    return [("Conv2D", _convolution(at), (at.constant(1).transpose(1, 2, 3, 0), *at.bias()))]


def _depthwise(at: _Reading) -> Made:
    channels, kernel = at.source[-1], at.constant(1)
    # TFLite has (1, height, width, in x multiplier), Keras (height, width, in, multiplier).
    kernel = kernel.reshape(*kernel.shape[1:3], channels, -1)
    return [("DepthwiseConv2D", _convolution(at), (kernel, *at.bias()))]


def _convolution(at: _Reading) -> Config:
    dilation = (at.option("dilation_h_factor"), at.option("dilation_w_factor"))
    return {**at.window(), "dilation_rate": dilation, "activation": at.activation()}


def _dense(at: _Reading) -> Made:
    flat: Made = [("Flatten", {}, ())] if len(at.source) > 2 else []
    if len(at.target) != 2:
        raise _OtherError(f"its output has the shape {at.target}, expected two dimensions")
    return [*flat, ("Dense", {"activation": at.activation()}, (at.constant(1).T, *at.bias()))]


def _pool(kind: str) -> Callable[[_Reading], Made]:
    def layers(at: _Reading) -> Made:
        size = (at.option("filter_height"), at.option("filter_width"))
        # A pool over the whole image has a leaner name, which every runtime knows.
        if kind == "AveragePooling2D" and size == at.source[1:3] and at.target[1:3] == (1, 1):
            return [("GlobalAveragePooling2D", {"keepdims": True}, ()), *_then(at.activation())]
        return [(kind, {**at.window(), "pool_size": size}, ()), *_then(at.activation())]

    return layers


def _then(activation: str) -> Made:
    return [] if activation == "linear" else [("Activation", {"activation": activation}, ())]


def _mean(at: _Reading) -> Made:
    axes = sorted(int(axis) % len(at.source) for axis in at.constant(1).reshape(-1))
    if len(at.source) != 4 or axes != [1, 2]:
        raise _OtherError(f"mean over the axes {axes}, expected height and width")
    return [("GlobalAveragePooling2D", {"keepdims": bool(at.option("keep_dims"))}, ())]


def _reshape(at: _Reading) -> Made:
    if len(at.target) == 2:
        return [("Flatten", {}, ())]
    return [("Reshape", {"target_shape": at.target[1:]}, ())]


def _pad(at: _Reading) -> Made:
    sides = at.constant(1)
    if sides.shape != (4, 2) or sides[0].any() or sides[3].any():
        raise _OtherError("padding of other axes than height and width")
    return [("ZeroPadding2D", {"padding": sides[1:3].tolist()}, ())]


def _softmax(at: _Reading) -> Made:
    if at.option("beta") != 1:
        raise _OtherError(f"beta {at.option('beta')}, expected 1")
    return [("Softmax", {}, ())]


def _binary(kind: str) -> Callable[[_Reading], Made]:
    def layers(at: _Reading) -> Made:
        # A constant side is the layer's weight; `constant_first` says on which side.
        if len(at.read) == 2:
            return [(kind, {}, ()), *_then(at.activation())]
        place = next(place for place in (0, 1) if at.is_constant(place))
        return [(kind, {"constant_first": place == 0}, (at.constant(place),)), *_then(at.activation())]

    return layers


def _concatenation(at: _Reading) -> Made:
    if any(at.is_constant(place) for place in range(at.inputs)):
        raise _OtherError("one of its inputs is a constant")
    return [("Concatenate", {"axis": at.option("axis") % len(at.target)}, ()), *_then(at.activation())]


def _named(activation: str) -> Callable[[_Reading], Made]:
    return lambda at: _then(activation)  # noqa: ARG005


LAYERS: dict[str, Callable[[_Reading], Made]] = {
    "ADD": _binary("Add"),
    "AVERAGE_POOL_2D": _pool("AveragePooling2D"),
    "CONCATENATION": _concatenation,
    "CONV_2D": _conv2d,
    "DEPTHWISE_CONV_2D": _depthwise,
    "ELU": _named("elu"),
    "FULLY_CONNECTED": _dense,
    "HARD_SWISH": _named("hard_swish"),
    "LEAKY_RELU": lambda at: [("LeakyReLU", {"negative_slope": at.option("alpha")}, ())],
    "LOGISTIC": _named("sigmoid"),
    "MAX_POOL_2D": _pool("MaxPooling2D"),
    "MEAN": _mean,
    "MUL": _binary("Multiply"),
    "PAD": _pad,
    "RELU": _named("relu"),
    "RELU6": _named("relu6"),
    "RESHAPE": _reshape,
    "SOFTMAX": _softmax,
    "SQUEEZE": _reshape,
    "SUB": _binary("Subtract"),
    "TANH": _named("tanh"),
}
