"""What the layers of a v1 project's model class are: constructor arguments and coefficients to `Stated`.

Argument order and defaults are those of esp-dl's include/layer headers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from harness.errors import DataError, UnsupportedError
from harness.runtimes.espdl_v1.assemble import OPS, Padding, Stated
from harness.runtimes.espdl_v1.calibrate import Scheme
from harness.runtimes.espdl_v1.layout import unpack_filter
from harness.runtimes.espdl_v1.network import FILTER_OPS
from harness.runtimes.espdl_v1.sources import Constant, LayerText, ProjectText

KINDS = tuple(sorted((*OPS, "Flatten", "FullyConnected")))
_WINDOW_DEFAULTS = ("PADDING_VALID", "{}", "1", "1")
_PADDINGS: dict[str, Padding] = {
    "PADDING_VALID": (0, 0, 0, 0),
    "PADDING_SAME_END": "same_upper",
    "PADDING_SAME_BEGIN": "same_lower",
}


def in_order(project: ProjectText) -> list[LayerText]:
    """The layers as call() runs them.

    Raises:
        DataError: layers that are called but not declared, declared but not called, not constructed.
        UnsupportedError: a layer whose integers are not known, by index and name.
    """
    model, members = project.model, {layer.member: layer for layer in project.model.layers}
    layers: list[LayerText] = []
    for member in model.order["call"]:
        if member not in members:
            raise DataError(f"{model.path}: {member}.call(), but {member} is not declared as a layer")
        layer = members[member]
        if layer.kind not in KINDS:
            raise UnsupportedError(
                f"{model.path}: layer {len(layers)} ({layer.kind} {member}) is not supported: libdl.a is "
                "closed and its numerics are not published",
                f"Supported: {', '.join(KINDS)}",
            )
        if not layer.arguments:
            raise DataError(f"{model.path}: {member} is not in the constructor's list", "Run harness lint-v1")
        layers.append(layer)
    missing = [layer.member for layer in model.layers if layer not in layers]
    if missing:
        raise DataError(f"{model.path}: never in call(): {', '.join(missing)}", "Run harness lint-v1")
    return layers


def stated(layer: LayerText, where: str, project: ProjectText, scheme: Scheme, chip: str) -> list[Stated]:
    """One layer; a FullyConnected flattens its input first.

    Raises:
        DataError: arguments or coefficients that are missing or cannot be read.
        UnsupportedError: a form whose integers are not known.
    """
    arguments = [argument.split("::")[-1] for argument in layer.arguments]
    flat = Stated("Reshape", f"{layer.member}_flat", shape=(1, 1, -1))
    if layer.kind in FILTER_OPS:
        return [_filter_layer(where, layer, arguments, project.constants, scheme, chip)]
    if layer.kind == "FullyConnected":
        if arguments[4:5] == ["false"]:
            raise UnsupportedError(f"{where}: does not flatten its input", "Use Conv2D with a 1 x 1 filter")
        dense = _filter_layer(where, layer, arguments[:4], project.constants, scheme, chip)
        return [flat, dense]
    if layer.kind == "Flatten":
        return [flat]
    if layer.kind == "Reshape":
        sizes = _sizes(arguments[0])
        if not 1 <= len(sizes) <= 3:
            raise DataError(f"{where}: expected a shape of one to three sizes, came {arguments[0]}")
        padded = (*(1,) * (3 - len(sizes)), *sizes)
        return [Stated("Reshape", layer.member, shape=(padded[0], padded[1], padded[2]))]
    if layer.kind == "Concat":
        if number(where, arguments[0]) not in (-1, 2):
            raise UnsupportedError(f"{where}: joins along axis {arguments[0]}, expected -1, the channels")
        return [Stated("Concat", layer.member)]
    if layer.kind == "MaxPool2D":
        kind, padding, *strides = _window(arguments[1:5])
        return [
            Stated(
                "MaxPool2D",
                layer.member,
                kernel=_pair(where, "window", _sizes(arguments[0])),
                strides=_pair(where, "strides", [number(where, stride) for stride in strides]),
                padding=_padding(where, kind, padding),
            )
        ]
    return [Stated(layer.kind, layer.member)]


def _filter_layer(
    where: str,
    layer: LayerText,
    arguments: Sequence[str],
    constants: Mapping[str, Constant],
    scheme: Scheme,
    chip: str,
) -> Stated:
    filter_, bias, activation = (
        _coefficient(where, layer, kind, constants) for kind in ("filter", "bias", "activation")
    )
    if filter_ is None or filter_.elements is None:
        raise DataError(f"{where}: expected a filter from a coefficient file, came none")
    if bias is not None and bias.elements is None:
        raise DataError(f"{where}: the elements of its bias are in no coefficient file")
    depthwise = layer.kind == "DepthwiseConv2D"
    kind, padding, *strides = _window(arguments[4:8])
    name, alpha, alpha_exponent = _activation(where, activation)
    return Stated(
        "DepthwiseConv2D" if depthwise else "Conv2D",
        layer.member,
        output_exponent=number(where, arguments[0]),
        filter=unpack_filter(filter_.elements, filter_.shape, chip, scheme.bits, depthwise=depthwise),
        filter_exponents=filter_.exponents,
        bias=None if bias is None else bias.elements,
        activation=name,
        alpha=alpha,
        alpha_exponent=alpha_exponent,
        strides=_pair(where, "strides", [number(where, stride) for stride in strides]),
        dilations=_pair(where, "dilation", filter_.sizes[1] if len(filter_.sizes) > 1 else (1, 1)),
        padding=_padding(where, kind, padding),
    )


def _coefficient(
    where: str, layer: LayerText, kind: str, constants: Mapping[str, Constant]
) -> Constant | None:
    name = layer.getter(kind)
    if name is not None and name not in constants:
        raise DataError(f"{where}: get_{name}() is in no coefficient file", "Run harness lint-v1")
    return None if name is None else constants[name]


def _activation(where: str, activation: Constant | None) -> tuple[str | None, int, int]:
    """Name, slope and the slope's exponent."""
    if activation is None or activation.activation == "Linear":
        return None, 0, 0
    if activation.activation == "ReLU":
        return "ReLU", 0, 0
    if activation.activation != "LeakyReLU":
        raise UnsupportedError(f"{where}: {activation.activation}: its numerics are not published")
    if activation.elements is None or activation.elements.size != 1 or activation.exponent is None:
        raise DataError(f"{where}: expected one slope and its exponent for LeakyReLU")
    return "LeakyReLU", int(activation.elements[0]), activation.exponent


def _window(given: Sequence[str]) -> list[str]:
    """padding_type, padding, stride_y, stride_x, with their defaults."""
    return [*given, *_WINDOW_DEFAULTS[len(given) :]]


def _padding(where: str, kind: str, sizes: str) -> Padding:
    if kind in _PADDINGS:
        return _PADDINGS[kind]
    pads = _sizes(sizes)
    if kind != "PADDING_NOT_SET" or len(pads) != 4:
        raise DataError(f"{where}: expected a padding type and its sizes, came {kind}, {sizes}")
    return pads[0], pads[1], pads[2], pads[3]


def _sizes(text: str) -> list[int]:
    return [int(size) for size in re.findall(r"-?\d+", text)]


def _pair(where: str, what: str, values: Sequence[int]) -> tuple[int, int]:
    if len(values) != 2:
        raise DataError(f"{where}: expected {what} of two sizes, came {len(values)}")
    return values[0], values[1]


def number(where: str, text: str) -> int:
    """A whole number as C has it. Raises DataError."""
    if not re.fullmatch(r"-?\d+", text):
        raise DataError(f"{where}: expected a number, came '{text}'")
    return int(text)
