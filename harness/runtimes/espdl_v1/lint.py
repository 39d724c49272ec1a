"""Reads a v1 project, hand-written or generated, and says where its files contradict each other.

It compares model_define.hpp with the coefficient files and, where there is one, quantization_table.json,
as text, by the forms the tutorials use. It is no C++ compiler, and it cannot know an exponent that no
second place states.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

from harness.runtimes.espdl_v1.project_reader import TABLE, read_exponents, read_input
from harness.runtimes.espdl_v1.sources import Constant, LayerText, ModelText, read_sources

_FILTERS = ("Conv2D", "DepthwiseConv2D", "FullyConnected")
_SAME_CHANNELS = ("MaxPool2D", "AvgPool2D", "Relu", "LeakyRelu", "PRelu")
_BLOCK = 16
"""esp32 files end a filter in zeros up to a multiple of 16 elements."""


def lint_v1(directory: Path) -> list[str]:
    """One line per contradiction; an empty list where there is none.

    Raises:
        DataError: no model_define.hpp or coefficient file in `directory`, more than one
            model_define.hpp, or nothing in them that can be read.
    """
    project = read_sources(directory)
    model, constants = project.model, project.constants
    findings = [text for layer in model.layers for text in _check_layer(layer, constants)]
    findings += _check_missing(model, constants)
    findings += _check_chain(model, constants)
    findings += _check_table(directory, model, constants)
    return findings


def _check_layer(layer: LayerText, constants: Mapping[str, Constant]) -> list[str]:
    """One layer against the coefficients it names."""
    if not layer.arguments:
        return [f"{layer.member}: declared as {layer.kind}, but not in the constructor's list"]
    if layer.kind not in _FILTERS:
        return []
    named = {kind: layer.getter(kind) for kind in ("filter", "bias", "activation")}
    findings = [
        f"{layer.member}: get_{name}() is in no coefficient file"
        for name in named.values()
        if name is not None and name not in constants
    ]
    if named["filter"] is None:
        return [*findings, f"{layer.member}: {layer.kind} without a filter"]
    stem = named["filter"].removesuffix("_filter")
    for kind in ("bias", "activation"):
        if named[kind] is None and f"{stem}_{kind}" in constants:
            findings.append(f"{layer.member}: get_{stem}_{kind}() exists but is not given")
    filter_, bias = constants.get(named["filter"]), constants.get(named["bias"] or "")
    if filter_ is None:
        return findings
    channels = filter_.shape[2 if layer.kind == "DepthwiseConv2D" else 3]
    if bias is not None:
        if bias.shape != (channels,):
            findings.append(f"{layer.member}: bias has shape {bias.shape}, the filter {channels} channels")
        exponent = layer.arguments[0]
        if filter_.exponent is not None and exponent != str(bias.exponent):
            findings.append(
                f"{layer.member}: output exponent {exponent}, but {named['bias']} has {bias.exponent}: "
                "they must be the same"
            )
    return findings


def _check_missing(model: ModelText, constants: Mapping[str, Constant]) -> list[str]:
    """Layers and coefficients that nothing uses, arrays of the wrong length."""
    findings = []
    order = model.order
    for call, members in order.items():
        findings += [
            f"{layer.member}: never in {call}()" for layer in model.layers if layer.member not in members
        ]
    used = {layer.getter("filter") for layer in model.layers}
    for name, constant in constants.items():
        if constant.kind == "Filter" and name not in used:
            findings.append(f"{name}: no layer of the model uses it")
        expected = math.prod(constant.shape)
        if constant.kind == "Activation" or constant.elements is None:
            continue
        allowed = {expected}
        if constant.kind == "Filter":
            allowed.add(expected + -expected % _BLOCK)
        if len(constant.elements) not in allowed:
            findings.append(
                f"{name}: shape {constant.shape} needs {expected} elements, "
                f"the array has {len(constant.elements)}"
            )
    if order["build"] and order["call"] and list(order["build"]) != list(order["call"]):
        findings.append(f"build() runs {', '.join(order['build'])}, call() runs {', '.join(order['call'])}")
    return findings


def _check_chain(model: ModelText, constants: Mapping[str, Constant]) -> list[str]:
    """Channels from layer to layer, as far as the text shows them."""
    findings = []
    gives: dict[str, int] = {}
    layers = {layer.member: layer for layer in model.layers}
    for member, sources in model.order["call"].items():
        layer = layers.get(member)
        if layer is None:
            findings.append(f"{member}: called, but not declared as a layer")
        elif layer.kind == "Reshape":
            sizes = re.findall(r"-?\d+", layer.arguments[0]) if layer.arguments else []
            if sizes and sizes[-1] != "-1":
                gives[member] = int(sizes[-1])
        elif layer.kind in ("Conv2D", "DepthwiseConv2D"):
            filter_ = constants.get(layer.getter("filter") or "")
            if filter_ is None:
                continue
            if gives.get(sources[0], filter_.shape[2]) != filter_.shape[2]:
                findings.append(
                    f"{member}: takes {filter_.shape[2]} channels, {sources[0]} before it gives "
                    f"{gives[sources[0]]}"
                )
            gives[member] = filter_.shape[2 if layer.kind == "DepthwiseConv2D" else 3]
        elif layer.kind in _SAME_CHANNELS and sources[0] in gives:
            gives[member] = gives[sources[0]]
    return findings


def _check_table(directory: Path, model: ModelText, constants: Mapping[str, Constant]) -> list[str]:
    """Exponents that only quantization_table.json states as well: the input's, those without a bias."""
    path = directory / TABLE
    if not path.is_file():
        return []
    members = {layer.member: layer for layer in model.layers if layer.kind in _FILTERS and layer.arguments}
    weighted = [members[member] for member in model.order["call"] if member in members]
    listed = list(read_exponents(path).values())
    if len(listed) != 1 + len(weighted):
        return [f"{TABLE}: {len(listed)} exponents for the input and {len(weighted)} layers with weights"]
    findings = []
    _, own = read_input(directory)
    if own != listed[0]:
        findings.append(f"input: exponent {own}, but {TABLE} has {listed[0]}: they must be the same")
    for layer, exponent in zip(weighted, listed[1:], strict=True):
        filter_, bias = (constants.get(layer.getter(kind) or "") for kind in ("filter", "bias"))
        told = bias is not None and filter_ is not None and not filter_.per_channel
        if not told and layer.arguments[0] != str(exponent):
            findings.append(
                f"{layer.member}: output exponent {layer.arguments[0]}, but {TABLE} has {exponent}: "
                "they must be the same"
            )
    return findings
