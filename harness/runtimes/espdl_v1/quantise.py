"""The quantised network of esp-dl v1: integers and exponents of every layer, and the input's.

real = integer * 2^exponent, symmetric, no zero point. Rounding is half to even; weights keep off the
most negative integer (Espressif's quantization_specification.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.errors import ModelError
from harness.runtimes.espdl_v1.calibrate import Scheme, exponent_of
from harness.runtimes.espdl_v1.network import FLOAT_OPS, Layer, Network

Integers = NDArray[np.int64]
SHIFTS = range(-16, 63)
"""Right shifts of a layer's 64-bit sums that lose nothing but what they shall."""
PER_CHANNEL_BIAS_SHIFT = 4
"""An int8 per-channel bias has the exponent input + filter + 4."""


@dataclass(frozen=True)
class QuantisedLayer:
    """`reads` are the positions of the layers whose outputs it takes, -1 the network's input.

    `filter_exponents` has one element, or one per channel. `bias_exponent` is None per channel.
    """

    layer: Layer
    reads: tuple[int, ...]
    input_exponent: int
    output_exponent: int
    filter: Integers | None = None
    filter_exponents: tuple[int, ...] = ()
    bias: Integers | None = None
    bias_exponent: int | None = None
    alpha: int = 0
    alpha_exponent: int = 0


@dataclass(frozen=True)
class QuantisedNetwork:
    network: Network
    scheme: Scheme
    input_exponent: int
    layers: tuple[QuantisedLayer, ...]

    @property
    def float_output(self) -> bool:
        """Whether the last layer is a Softmax or Sigmoid, which v1 leaves in floating point."""
        return self.layers[-1].layer.op in FLOAT_OPS

    @property
    def integer_dtype(self) -> np.dtype[np.signedinteger]:
        return np.dtype(f"int{self.scheme.bits}")

    def quantise_input(self, real: NDArray[np.float32]) -> NDArray[np.signedinteger]:
        """Real device-order values to integers as the tutorials' C does: clip, then cut off."""
        limits = np.iinfo(self.integer_dtype)
        scaled = np.asarray(real, dtype=np.float32) * np.float32(2.0**-self.input_exponent)
        clipped = np.clip(scaled, limits.min, limits.max)
        return np.asarray(np.trunc(clipped).astype(self.integer_dtype))


def quantise(network: Network, table: dict[str, int], scheme: Scheme) -> QuantisedNetwork:
    """Integers of every layer; `table` is what `calibrate` found.

    Layers without weights hand their input's exponent on.

    Raises:
        ModelError: a layer's ranges are too far apart for a shift of its sums.
    """
    exponent = table[network.input]
    layers = []
    for index, layer in enumerate(network.layers):
        output_exponent = exponent if layer.filter is None else table[layer.tensor]
        layers.append(_quantise_layer(layer, (index - 1,), exponent, output_exponent, scheme))
        exponent = output_exponent
    return QuantisedNetwork(network, scheme, table[network.input], tuple(layers))


def _quantise_layer(
    layer: Layer, reads: tuple[int, ...], input_exponent: int, output_exponent: int, scheme: Scheme
) -> QuantisedLayer:
    if layer.filter is None:
        return QuantisedLayer(layer, reads, input_exponent, output_exponent)
    bits = scheme.bits
    weights = layer.filter.astype(np.float64)
    channel_axis = 2 if layer.op == "DepthwiseConv2D" else 3
    if scheme.per_channel:
        largest = np.abs(np.moveaxis(weights, channel_axis, 0)).reshape(weights.shape[channel_axis], -1)
        exponents = tuple(exponent_of(float(value), bits) for value in largest.max(axis=1))
    else:
        exponents = (exponent_of(float(np.abs(weights).max()), bits),)
    shifts = [output_exponent - input_exponent - exponent for exponent in exponents]
    if min(shifts) not in SHIFTS or max(shifts) not in SHIFTS:
        raise ModelError(
            f"layer {layer.name}: exponents {input_exponent} (input), {min(exponents)} (filter) and "
            f"{output_exponent} (output) are too far apart",
            "Look for weights or data that are nearly zero throughout",
        )
    axes = [1, 1, 1, 1]
    axes[channel_axis] = len(exponents)
    limit = 2 ** (bits - 1) - 1
    filter_integers = np.clip(np.rint(weights / np.exp2(exponents).reshape(axes)), -limit, limit)
    bias = None
    if layer.bias is not None:
        if scheme.per_channel:
            steps = np.exp2(np.add(exponents, input_exponent + PER_CHANNEL_BIAS_SHIFT))
            bias = _integers(layer.bias / steps, 16)
        else:
            bias = _integers(layer.bias / 2.0**output_exponent, bits)
    alpha_exponent = exponent_of(abs(layer.alpha), bits) if layer.activation == "LeakyReLU" else 0
    return QuantisedLayer(
        layer,
        reads,
        input_exponent,
        output_exponent,
        filter=filter_integers.astype(np.int64),
        filter_exponents=exponents,
        bias=bias,
        bias_exponent=None if scheme.per_channel or bias is None else output_exponent,
        alpha=int(_integers(np.asarray(layer.alpha / 2.0**alpha_exponent), bits)),
        alpha_exponent=alpha_exponent,
    )


def _integers(scaled: NDArray[np.floating], bits: int) -> Integers:
    limits = np.iinfo(f"int{bits}")
    return np.clip(np.rint(scaled.astype(np.float64)), limits.min, limits.max).astype(np.int64)
