"""NAME_coefficient.cpp and .hpp: filters, biases and activations as esp-dl v1's exporter writes them.

Declarations, names and element order are those of Espressif's published files. Lines are broken
elsewhere; the arrays are the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.portable.c_text import fill, literals
from harness.runtimes.espdl_v1.layout import is_inferred, pack_filter
from harness.runtimes.espdl_v1.quantise import QuantisedLayer, QuantisedNetwork


def identifier(name: str) -> str:
    """An ONNX name as the published files spell it: lower case, anything else an underscore."""
    spelled = re.sub(r"\W", "_", name.lower(), flags=re.ASCII)
    return spelled if re.match(r"[a-z_]", spelled) else f"layer_{spelled}"


def layer_identifiers(network: QuantisedNetwork) -> list[str]:
    """One per layer, all different."""
    names: list[str] = []
    for layer in network.layers:
        name = identifier(layer.layer.name)
        while name in names:
            name += "_"
        names.append(name)
    return names


def coefficient_header(network: QuantisedNetwork, namespace: str) -> str:
    """The .hpp: one getter for each filter, bias and activation."""
    lines = ["#pragma once", "", "#include <stdint.h>", '#include "dl_constant.hpp"', ""]
    lines += [f"namespace {namespace}", "{"]
    for layer, name in zip(network.layers, layer_identifiers(network), strict=True):
        lines += [
            f"    const dl::{kind}<{c_type}> *get_{name}_{kind.lower()}();"
            for kind, c_type in _parts(network, layer)
        ]
    return "\n".join([*lines, "}", ""])


def coefficient_source(network: QuantisedNetwork, namespace: str, chip: str) -> str:
    """The .cpp for `chip`."""
    bits = network.scheme.bits
    lines = [f'#include "{namespace}.hpp"']
    if is_inferred(chip, bits):
        lines.append(f"// Element order of {chip} int{bits}: inferred, no published file shows it.")
    if network.scheme.per_channel:
        lines.append(
            "// Per channel, a bias has the exponent input + filter + 4; the one in Bias is not used."
        )
    lines += ["using namespace dl;", "", f"namespace {namespace}", "{"]
    for layer, name in zip(network.layers, layer_identifiers(network), strict=True):
        for kind, c_type in _parts(network, layer):
            arrays, arguments = _constructor(network, layer, name, kind, chip)
            variable = f"{name}_{kind.lower()}"
            lines += arrays
            lines += [
                f"    const static {kind}<{c_type}> {variable}({arguments});",
                f"    const {kind}<{c_type}> *get_{variable}()",
                "    {",
                f"        return &{variable};",
                "    }",
                "",
            ]
    return "\n".join([*lines[:-1], "}", ""])


def _parts(network: QuantisedNetwork, layer: QuantisedLayer) -> list[tuple[str, str]]:
    """(class, element type) of what a layer has in the files."""
    c_type = network.scheme.c_type
    parts = [("Filter", c_type)] if layer.filter is not None else []
    if layer.bias is not None:
        parts.append(("Bias", "int16_t" if network.scheme.per_channel else c_type))
    if layer.layer.activation is not None:
        parts.append(("Activation", c_type))
    return parts


def _constructor(
    network: QuantisedNetwork, layer: QuantisedLayer, name: str, kind: str, chip: str
) -> tuple[list[str], str]:
    """The arrays an object needs, and its constructor's arguments."""
    c_type, shape = network.scheme.c_type, layer.layer
    if kind == "Filter":
        assert layer.filter is not None
        packed = pack_filter(
            layer.filter,
            chip,
            network.scheme.bits,
            depthwise=shape.op == "DepthwiseConv2D",
            dense=shape.onnx_op == "Gemm",
        )
        element = f"{name}_filter_element"
        sizes, dilations = _braces(layer.filter.shape), _braces(shape.dilations)
        if not network.scheme.per_channel:
            return _array(c_type, element, packed), (
                f"{element}, {layer.filter_exponents[0]}, {sizes}, {dilations}"
            )
        exponents = np.asarray(layer.filter_exponents)
        arrays = _array(c_type, element, packed) + _array("int8_t", f"{name}_filter_exponent", exponents)
        return arrays, f"{element}, {name}_filter_exponent, {len(exponents)}, {sizes}, {dilations}"
    if kind == "Bias":
        assert layer.bias is not None
        element = f"{name}_bias_element"
        bias_type = "int16_t" if network.scheme.per_channel else c_type
        exponent = layer.bias_exponent or 0
        return _array(bias_type, element, layer.bias), f"{element}, {exponent}, {{{len(layer.bias)},}}"
    if shape.activation == "ReLU":
        return [], "ReLU"
    element = f"{name}_activation_element"
    return _array(c_type, element, np.asarray([layer.alpha])), (
        f"LeakyReLU, {element}, {layer.alpha_exponent}, {{1,}}"
    )


def _array(c_type: str, name: str, values: NDArray[np.integer]) -> list[str]:
    head = f"    const static __attribute__((aligned(16))) {c_type} {name}[] = {{"
    return [head, *fill(literals(values), indent=" " * 8), "    };"]


def _braces(sizes: Sequence[int]) -> str:
    return "{" + ", ".join(str(size) for size in sizes) + "}"
