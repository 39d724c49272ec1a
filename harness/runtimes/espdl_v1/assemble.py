"""From layers as a file states them to a quantised network: shapes followed, every size checked.

What an artifact file and a C++ project have in common once they are read. Nothing here calibrates or
rounds: integers and exponents are taken as stated, right or wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from harness.errors import ModelError, UnsupportedError
from harness.runtimes.espdl_v1.calibrate import Scheme
from harness.runtimes.espdl_v1.network import (
    FILTER_OPS,
    FLOAT_OPS,
    POOL_OPS,
    Layer,
    Network,
    Shape3,
    same_pads,
    window_size,
)
from harness.runtimes.espdl_v1.quantise import SHIFTS, Integers, QuantisedLayer, QuantisedNetwork

OPS = (*FILTER_OPS, *FLOAT_OPS, *POOL_OPS, "Concat", "Relu", "Reshape")
Padding = tuple[int, int, int, int] | Literal["same_upper", "same_lower"]
_LARGEST = 1 << 24


@dataclass(frozen=True)
class Stated:
    """One layer. `filter` is as in `QuantisedLayer`; `output_exponent` counts where there is one.

    `shape` is what a Reshape makes, -1 for what is left over; `kernel` the window of a MaxPool2D.
    `padding` is top, bottom, left, right or a rule. `reads` is as in `QuantisedLayer`; None for the
    layer before.
    """

    op: str
    name: str
    output_exponent: int = 0
    filter: Integers | None = None
    filter_exponents: tuple[int, ...] = ()
    bias: Integers | None = None
    activation: str | None = None
    alpha: int = 0
    alpha_exponent: int = 0
    kernel: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    shape: Shape3 = (1, 1, 1)
    reads: tuple[int, ...] | None = None


def assemble(
    input_name: str, input_shape: Shape3, input_exponent: int, scheme: Scheme, layers: Sequence[Stated]
) -> QuantisedNetwork:
    """The network that `layers`, in the order they run, make of the input.

    Raises:
        ModelError: sizes that do not fit, integers out of their type's range, exponents too far
            apart, no layers.
        UnsupportedError: a layer after Softmax or Sigmoid.
    """
    if not layers:
        raise ModelError("the network has no layers")
    if min(input_shape) < 1 or math.prod(input_shape) > _LARGEST:
        raise ModelError(f"the input has shape {input_shape}")
    done: list[QuantisedLayer] = []
    for index, stated in enumerate(layers):
        where = f"layer {index} ({stated.op} {stated.name})"
        reads = (index - 1,) if stated.reads is None else stated.reads
        if not reads or not all(-1 <= position < index for position in reads):
            raise ModelError(f"{where} reads what no layer before it makes")
        before = [done[position].layer for position in reads if position >= 0]
        if any(layer.op in FLOAT_OPS for layer in before):
            raise UnsupportedError(f"{where} comes after a layer whose output is floating point")
        shapes = [input_shape if position < 0 else done[position].layer.output_shape for position in reads]
        exponents = {input_exponent if position < 0 else done[position].output_exponent for position in reads}
        if len(exponents) > 1 or (len(reads) > 1) != (stated.op == "Concat"):
            raise ModelError(f"{where} reads {len(reads)} tensors, of exponents {sorted(exponents)}")
        layer = _layer(where, stated, shapes, exponents.pop(), scheme)
        if math.prod(layer.layer.output_shape) > _LARGEST:
            raise ModelError(f"{where} makes shape {layer.layer.output_shape}")
        done.append(replace(layer, reads=reads))
    unread = {*range(len(done) - 1)} - {position for layer in done for position in layer.reads}
    if unread:
        raise ModelError(f"the output of layer {min(unread)} ({layers[min(unread)].name}) is not used")
    order = np.arange(math.prod(input_shape)).reshape(1, *input_shape)
    network = Network(input_name, input_shape, order, tuple(layer.layer for layer in done))
    return QuantisedNetwork(network, scheme, input_exponent, tuple(done))


def _layer(
    where: str, stated: Stated, shapes: Sequence[Shape3], exponent: int, scheme: Scheme
) -> QuantisedLayer:
    shape = output = shapes[0]
    if stated.op in FILTER_OPS:
        return _filter_layer(where, stated, shape, exponent, scheme)
    if stated.op == "Concat":
        if len({each[:2] for each in shapes}) > 1:
            raise ModelError(f"{where} joins shapes {', '.join(map(str, shapes))}")
        output = (*shape[:2], sum(each[2] for each in shapes))
    elif stated.op == "Reshape":
        output = _reshaped(stated.shape, shape)
        if math.prod(output) != math.prod(shape) or min(output) < 1:
            raise ModelError(f"{where} turns shape {shape} into {output}")
    elif stated.op in POOL_OPS:
        if stated.op == "GlobalMaxPool2D":
            stated = replace(stated, kernel=shape[:2])
        if stated.padding != (0, 0, 0, 0):
            raise UnsupportedError(f"{where} has padding: what libdl.a fills in is not known")
        output = _window_output(where, stated, shape, shape[2])
    elif stated.op not in OPS:
        raise UnsupportedError(f"{where} is not supported", f"Supported: {', '.join(sorted(OPS))}")
    layer = Layer(
        stated.op,
        stated.op,
        stated.name,
        stated.name,
        shape,
        output,
        kernel=stated.kernel,
        strides=stated.strides,
    )
    return QuantisedLayer(layer, (), exponent, exponent)


def _filter_layer(where: str, stated: Stated, shape: Shape3, exponent: int, scheme: Scheme) -> QuantisedLayer:
    if stated.filter is None or stated.filter.ndim != 4:
        raise ModelError(f"{where} has no filter of four sizes")
    height, width, channels, last = stated.filter.shape
    depthwise = stated.op == "DepthwiseConv2D"
    outputs = channels if depthwise else last
    if channels != shape[2] or (depthwise and last != 1):
        raise ModelError(f"{where} has a filter {stated.filter.shape}, its input has {shape[2]} channels")
    if len(stated.filter_exponents) != (outputs if scheme.per_channel else 1):
        raise ModelError(f"{where} has {len(stated.filter_exponents)} filter exponents, {outputs} channels")
    bias_bits = 16 if scheme.per_channel else scheme.bits
    for name, values, bits in (("filter", stated.filter, scheme.bits), ("bias", stated.bias, bias_bits)):
        limits = np.iinfo(f"int{bits}")
        if values is not None and not (limits.min <= values.min() and values.max() <= limits.max):
            raise ModelError(f"{where}: its {name} does not fit {limits.dtype}")
    if stated.bias is not None and stated.bias.shape != (outputs,):
        raise ModelError(f"{where} has {stated.bias.size} biases for {outputs} channels")
    for each in stated.filter_exponents:
        if stated.output_exponent - exponent - each not in SHIFTS:
            raise ModelError(
                f"{where}: exponents {exponent} (input), {each} (filter) and {stated.output_exponent} "
                "(output) are too far apart"
            )
    window = replace(stated, kernel=(height, width))
    layer = Layer(
        stated.op,
        "Conv",
        stated.name,
        stated.name,
        shape,
        _window_output(where, window, shape, outputs),
        activation=stated.activation,
        kernel=(height, width),
        strides=stated.strides,
        dilations=stated.dilations,
        pads=_pads(window, shape),
    )
    return QuantisedLayer(
        layer,
        (),
        exponent,
        stated.output_exponent,
        filter=stated.filter,
        filter_exponents=stated.filter_exponents,
        bias=stated.bias,
        bias_exponent=None if scheme.per_channel or stated.bias is None else stated.output_exponent,
        alpha=stated.alpha,
        alpha_exponent=stated.alpha_exponent,
    )


def _reshaped(wanted: Shape3, shape: Shape3) -> Shape3:
    """`wanted` with one -1 filled in."""
    known = math.prod(size for size in wanted if size != -1)
    left = math.prod(shape) // known if known > 0 and wanted.count(-1) == 1 else -1
    sizes = [left if size == -1 else size for size in wanted]
    return sizes[0], sizes[1], sizes[2]


def _pads(stated: Stated, shape: Shape3) -> tuple[int, int, int, int]:
    if not isinstance(stated.padding, str):
        return stated.padding
    sides: list[int] = []
    for axis in (0, 1):
        reach = (stated.kernel[axis] - 1) * stated.dilations[axis] + 1
        sides += same_pads(shape[axis], reach, stated.strides[axis], stated.padding == "same_upper")
    return sides[0], sides[1], sides[2], sides[3]


def _window_output(where: str, stated: Stated, shape: Shape3, channels: int) -> Shape3:
    pads = _pads(stated, shape)
    for values, least in ((stated.kernel, 1), (stated.strides, 1), (stated.dilations, 1), (pads, 0)):
        if not all(least <= value <= _LARGEST for value in values):
            raise ModelError(f"{where} has a window, stride, dilation or padding of {min(values)}")
    sizes = [
        window_size(
            shape[axis],
            stated.kernel[axis],
            stated.strides[axis],
            stated.dilations[axis],
            pads[2 * axis] + pads[2 * axis + 1],
        )
        for axis in (0, 1)
    ]
    if min(sizes) < 1:
        raise ModelError(f"{where} has a window larger than its input {shape}")
    return sizes[0], sizes[1], channels
