"""The integers an ESP-DL v1 device returns, in numpy.

Sums in 64 bits, shifts that round down, then bias, then saturation: bit for bit what Espressif's
ESP32-S3 printed for its own example. Softmax and Sigmoid are float32 with the header's `exp_fast`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from harness.runtimes.espdl_v1.network import FLOAT_OPS, POOL_OPS
from harness.runtimes.espdl_v1.quantise import (
    PER_CHANNEL_BIAS_SHIFT,
    Integers,
    QuantisedLayer,
    QuantisedNetwork,
)

Array = NDArray[Any]
EXP_FAST_STEPS = 8
NAN = np.float32(np.nan)
"""Of all its bit patterns the one that every machine is to give."""


def run(network: QuantisedNetwork, integers: Array) -> list[Array]:
    """The output of every layer for one input.

    Args:
        integers: (height, width, channels), the network's integer type.

    Returns:
        one array (height, width, channels) per layer; float32 for Softmax and Sigmoid.

    Raises:
        DataError: another shape or type.
    """
    expected, dtype = network.network.input_shape, network.integer_dtype
    if integers.shape != expected or integers.dtype != dtype:
        raise DataError(f"expected {dtype} {expected}, came {integers.dtype} {integers.shape}")
    outputs: list[Array] = []
    for layer in network.layers:
        given = [integers if position < 0 else outputs[position] for position in layer.reads]
        outputs.append(
            np.concatenate(given, axis=2) if len(given) > 1 else _run_layer(layer, given[0], network)
        )
    return outputs


def exp_fast(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """(1 + x/256)^256 in float32, as dl_math.hpp of esp-dl v1 has it: not accurate, but what runs."""
    result = (1.0 + (x / np.float32(1 << EXP_FAST_STEPS)).astype(np.float64)).astype(np.float32)
    for _ in range(EXP_FAST_STEPS):
        result = result * result
    return result


def _run_layer(layer: QuantisedLayer, value: Array, network: QuantisedNetwork) -> Array:
    op = layer.layer.op
    if op == "Concat":
        return value
    if op == "Reshape":
        return value.reshape(layer.layer.output_shape)
    if op == "Relu":
        return np.maximum(value, np.zeros_like(value))
    if op in POOL_OPS:
        return np.asarray(_windows(value, layer).max(axis=(-2, -1)))
    if op in FLOAT_OPS:
        with np.errstate(over="ignore", invalid="ignore"):
            real = (_softmax if op == "Softmax" else _sigmoid)(value, layer.input_exponent)
        return np.where(np.isnan(real), NAN, real)
    limits = np.iinfo(network.integer_dtype)
    sums = _filtered(layer, value.astype(np.int64), network.scheme.per_channel)
    result = np.clip(sums, limits.min, limits.max)
    if layer.layer.activation == "ReLU":
        result = np.maximum(result, 0)
    elif layer.layer.activation == "LeakyReLU":
        slope = shift_right(result * layer.alpha, -layer.alpha_exponent)
        result = np.where(result < 0, np.clip(slope, limits.min, limits.max), result)
    return result.astype(network.integer_dtype)


def _filtered(layer: QuantisedLayer, value: Integers, per_channel: bool) -> Integers:
    """Sum of products, shifted to the output's exponent, plus bias; not saturated yet."""
    assert layer.filter is not None
    windows = _windows(value, layer)  # (height, width, channels, kh, kw)
    if layer.layer.op == "DepthwiseConv2D":
        sums = np.einsum("hwcyx,yxc->hwc", windows, layer.filter[..., 0])
    else:
        height, width = windows.shape[:2]
        columns = windows.transpose(0, 1, 3, 4, 2).reshape(height * width, -1)
        sums = (columns @ layer.filter.reshape(columns.shape[1], -1)).reshape(height, width, -1)
    shifts = layer.output_exponent - layer.input_exponent - np.asarray(layer.filter_exponents)
    if not per_channel:
        return shift_right(sums, shifts) + (0 if layer.bias is None else layer.bias)
    biased = (sums >> PER_CHANNEL_BIAS_SHIFT) + (0 if layer.bias is None else layer.bias)
    return shift_right(biased, shifts - PER_CHANNEL_BIAS_SHIFT)


def shift_right(value: Integers, shift: int | Integers) -> Integers:
    """Divides by 2^shift, rounding down; a negative shift multiplies."""
    shifts = np.asarray(shift)
    return np.asarray((value << np.maximum(-shifts, 0)) >> np.maximum(shifts, 0))


def _windows(value: Array, layer: QuantisedLayer) -> Array:
    """(height, width, channels, kh, kw): what each output position sees; padding is zero."""
    shape = layer.layer
    top, bottom, left, right = shape.pads
    padded = np.pad(value, ((top, bottom), (left, right), (0, 0)))
    reach = [(size - 1) * step + 1 for size, step in zip(shape.kernel, shape.dilations, strict=True)]
    view = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(0, 1))
    return view[:: shape.strides[0], :: shape.strides[1], :, :: shape.dilations[0], :: shape.dilations[1]]


def _softmax(value: Array, exponent: int) -> NDArray[np.float32]:
    """Over the channels; the sum is taken in their order."""
    real = value.astype(np.float32)
    largest = real.max(axis=-1, keepdims=True)
    exponentials = exp_fast((real - largest) * np.float32(2.0**exponent))
    total = np.zeros_like(largest)
    for channel in range(value.shape[-1]):
        total += exponentials[..., channel : channel + 1]
    return np.asarray(exponentials * (np.float32(1.0) / total), dtype=np.float32)


def _sigmoid(value: Array, exponent: int) -> NDArray[np.float32]:
    exponentials = exp_fast(value.astype(np.float32) * np.float32(2.0**exponent))
    return (exponentials / (exponentials + np.float32(1.0))).astype(np.float32)
