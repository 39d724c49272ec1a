"""Sketches as files that runtimes take: random weights of a fixed seed over the whole range of their type.

Exponents and scales are such that sums neither vanish nor saturate and stay near one, so that a wrong layer
shows. Made without a training framework: of a network's limits only its shape matters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.limits.families import Conv, Dense, Pool, Sketch
from harness.portable.graph import Graph, Operator, Option, Tensor
from harness.runtimes.espdl_v1.artifact import write_artifact
from harness.runtimes.espdl_v1.assemble import Stated, assemble
from harness.runtimes.espdl_v1.calibrate import SCHEMES
from harness.runtimes.tflm.writer import write
from harness.tensors import TensorInfo

SEED = 1
_VALID, _RELU = 1, 1  # tflite.Padding, tflite.ActivationFunctionType
_UNIFORM = 1 / math.sqrt(3)
"""The root mean square of what is uniform between -1 and 1: the input, and all weights."""
_RMS = 0.35
"""Of sums, as part of the largest integer: what is larger than three times that saturates."""
_RELU_RMS = _RMS * math.sqrt(0.5)


@dataclass(frozen=True)
class Maker:
    """What makes a runtime's file of a sketch; `runtime` as for --runtime elsewhere."""

    runtime: str
    suffix: str
    make: Callable[[Sketch], bytes]


def _v1(sketch: Sketch, scheme_name: str) -> bytes:
    scheme, rng = SCHEMES[scheme_name], np.random.default_rng(SEED)
    limits, rms = np.iinfo(f"int{scheme.bits}"), _UNIFORM
    # Of the input and, as filters make up for the sums, of every activation.
    exponent = 1 - scheme.bits
    stated = []
    for index, (layer, (height, width, channels)) in enumerate(
        zip(sketch.layers, sketch.shapes(), strict=True)
    ):
        if isinstance(layer, Pool):
            stated.append(Stated("MaxPool2D", f"pool_{index}", kernel=(2, 2), strides=(2, 2)))
            continue
        if isinstance(layer, Dense):
            stated.append(Stated("Reshape", "flat", shape=(1, 1, -1)))
            shape = (1, 1, height * width * channels, layer.outputs)
        else:
            shape = (3, 3, channels, layer.filters)
        sums = math.sqrt(math.prod(shape[:3])) * rms * _UNIFORM
        gain = round(math.log2(_RMS / sums))
        rms = sums * 2.0**gain * math.sqrt(0.5)
        stated.append(
            Stated(
                "Conv2D",
                f"layer_{index}",
                output_exponent=exponent,
                filter=rng.integers(-limits.max, limits.max + 1, shape),
                filter_exponents=(1 - scheme.bits + gain,),
                bias=rng.integers(limits.min // 8, limits.max // 8, shape[3]),
                activation="ReLU" if isinstance(layer, Conv) else None,
            )
        )
    stated.append(Stated("Softmax", "softmax"))
    return write_artifact(assemble("input", sketch.input, exponent, scheme, stated))


class _Tflite:
    """A .tflite network, layer after layer."""

    def __init__(self, sketch: Sketch, dtype: str) -> None:
        self._rng = np.random.default_rng(SEED)
        self._dtype = dtype
        self._tensors: list[Tensor] = []
        self._operators: list[Operator] = []
        # Of the input and, as weights make up for the sums, of every activation.
        self._scale = 2.0 ** (1 - 8 * np.dtype(dtype).itemsize)
        self._rms = _UNIFORM
        self._reached = self._activation("input", (1, *sketch.input), self._scale)
        for index, (layer, shape) in enumerate(zip(sketch.layers, sketch.shapes(), strict=True)):
            self._add(f"layer_{index}", layer, shape)
        classes = self._tensors[self._reached].info.shape
        scale, zero_point = (1 / 256, -128) if dtype == "int8" else (1 / 32768, 0)
        self._operator("SOFTMAX", [self._reached], "softmax", classes, scale, zero_point, {"beta": 1.0})

    def data(self) -> bytes:
        return write(Graph(tuple(self._tensors), tuple(self._operators), (0,), (self._reached,)))

    def _add(self, name: str, layer: Conv | Pool | Dense, shape: tuple[int, int, int]) -> None:
        height, width, channels = shape
        if isinstance(layer, Pool):
            options: dict[str, Option] = {"padding": _VALID, "stride_w": 2, "stride_h": 2}
            options |= {"filter_width": 2, "filter_height": 2, "fused_activation_function": 0}
            half = (1, height // 2, width // 2, channels)
            self._operator("MAX_POOL_2D", [self._reached], name, half, self._scale, 0, options)
            return
        filter_: tuple[int, ...]
        out: tuple[int, ...]
        if isinstance(layer, Conv):
            op, filter_, out = "CONV_2D", (layer.filters, 3, 3, channels), (1, height - 2, width - 2)
            options = {"padding": _VALID, "stride_w": 1, "stride_h": 1, "fused_activation_function": _RELU}
            options |= {"dilation_w_factor": 1, "dilation_h_factor": 1}
        else:
            op, filter_, out = "FULLY_CONNECTED", (layer.outputs, height * width * channels), (1,)
            options = {"fused_activation_function": 0}
        outputs, taps = filter_[0], math.prod(filter_[1:])
        weights = self._rng.integers(-127, 128, filter_).astype(np.int8)
        bias = self._rng.integers(-4096, 4096, outputs).astype("int32" if self._dtype == "int8" else "int64")
        gain = _RMS / (math.sqrt(taps) * self._rms * _UNIFORM)
        # A convolution has a scale for each channel, as converters have it; no powers of two.
        factors = self._rng.uniform(0.8, 1.2, outputs if op == "CONV_2D" else 1) * gain / 127
        reads = [
            self._reached,
            self._constant(f"{name}_weights", weights, factors),
            self._constant(f"{name}_bias", bias, factors * self._scale),
        ]
        self._operator(op, reads, name, (*out, outputs), self._scale, 0, options)
        self._rms = _RELU_RMS

    def _activation(self, name: str, shape: tuple[int, ...], scale: float, zero_point: int = 0) -> int:
        info = TensorInfo(name, shape, self._dtype, scale, zero_point)
        return self._tensor(Tensor(len(self._tensors), info, (scale,), (zero_point,)))

    def _constant(self, name: str, values: NDArray[Any], scales: NDArray[np.float64]) -> int:
        info = TensorInfo(name, values.shape, values.dtype.name, float(scales[0]))
        zeros = (0,) * len(scales)
        return self._tensor(Tensor(len(self._tensors), info, tuple(scales.tolist()), zeros, data=values))

    def _tensor(self, tensor: Tensor) -> int:
        self._tensors.append(tensor)
        return tensor.index

    def _operator(
        self,
        op: str,
        reads: list[int],
        name: str,
        shape: tuple[int, ...],
        scale: float,
        zero_point: int,
        options: Mapping[str, Option],
    ) -> None:
        self._reached = self._activation(name, shape, scale, zero_point)
        self._operators.append(
            Operator(len(self._operators), op, tuple(reads), (self._reached,), dict(options))
        )


MAKERS = {
    ("espdl-v1", 16): Maker("espdl-v1", "espdlv1", lambda sketch: _v1(sketch, "int16")),
    ("espdl-v1", 8): Maker("espdl-v1:int8", "espdlv1", lambda sketch: _v1(sketch, "int8")),
    ("tflm", 8): Maker("tflm", "tflite", lambda sketch: _Tflite(sketch, "int8").data()),
    ("tflm", 16): Maker("tflm:int16x8", "tflite", lambda sketch: _Tflite(sketch, "int16").data()),
}
"""By runtime and bits of the activations; of a runtime, the first is what it has unless asked otherwise."""
