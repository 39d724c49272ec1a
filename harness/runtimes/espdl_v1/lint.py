"""Reads a v1 project, hand-written or generated, and says where its files contradict each other.

It compares model_define.hpp with the coefficient files as text, by the forms the tutorials use. It
is no C++ compiler, and it cannot know an exponent that no second place states.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import DataError

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_FILTERS = ("Conv2D", "DepthwiseConv2D", "FullyConnected")
_SAME_CHANNELS = ("MaxPool2D", "AvgPool2D", "Relu", "LeakyRelu", "PRelu")
_BLOCK = 16
"""esp32 files end a filter in zeros up to a multiple of 16 elements."""


@dataclass
class _Constant:
    """A Filter, Bias or Activation of a coefficient file; `exponent` is None per channel."""

    kind: str
    exponent: int | None
    shape: tuple[int, ...]
    elements: int | None


@dataclass
class _Layer:
    kind: str
    member: str
    arguments: list[str] = field(default_factory=list)

    def getter(self, kind: str) -> str | None:
        """The coefficient this layer names as its filter, bias or activation."""
        for argument in self.arguments:
            found = re.fullmatch(rf"(?:\w+::)*get_(\w+_{kind})\(\)", argument)
            if found:
                return found[1]
        return None


def lint_v1(directory: Path) -> list[str]:
    """One line per contradiction; an empty list where there is none.

    Raises:
        DataError: no model_define.hpp or coefficient file in `directory`, more than one
            model_define.hpp, or nothing in them that can be read.
    """
    models = sorted(directory.rglob("model_define.hpp")) or sorted(directory.rglob("*_model.hpp"))
    sources = sorted(directory.rglob("*_coefficient.cpp"))
    if len(models) != 1 or not sources:
        raise DataError(
            f"{directory}: expected one model_define.hpp and a *_coefficient.cpp, "
            f"came {len(models)} and {len(sources)}"
        )
    constants = _constants(sources)
    layers, order = _layers(models[0])
    findings = [text for layer in layers for text in _check_layer(layer, constants)]
    findings += _check_missing(layers, order, constants)
    findings += _check_chain({layer.member: layer for layer in layers}, order, constants)
    return findings


def _check_layer(layer: _Layer, constants: dict[str, _Constant]) -> list[str]:
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


def _check_missing(
    layers: list[_Layer], order: dict[str, dict[str, str]], constants: dict[str, _Constant]
) -> list[str]:
    """Layers and coefficients that nothing uses, arrays of the wrong length."""
    findings = []
    for call, members in order.items():
        findings += [f"{layer.member}: never in {call}()" for layer in layers if layer.member not in members]
    used = {layer.getter("filter") for layer in layers}
    for name, constant in constants.items():
        if constant.kind == "Filter" and name not in used:
            findings.append(f"{name}: no layer of the model uses it")
        expected = math.prod(constant.shape)
        if constant.kind == "Activation" or constant.elements is None:
            continue
        allowed = {expected}
        if constant.kind == "Filter":
            allowed.add(expected + -expected % _BLOCK)
        if constant.elements not in allowed:
            findings.append(
                f"{name}: shape {constant.shape} needs {expected} elements, the array has {constant.elements}"
            )
    if order["build"] and order["call"] and list(order["build"]) != list(order["call"]):
        findings.append(f"build() runs {', '.join(order['build'])}, call() runs {', '.join(order['call'])}")
    return findings


def _check_chain(
    layers: dict[str, _Layer], order: dict[str, dict[str, str]], constants: dict[str, _Constant]
) -> list[str]:
    """Channels from layer to layer, as far as the text shows them."""
    findings = []
    gives: dict[str, int] = {}
    for member, source in order["call"].items():
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
            if gives.get(source, filter_.shape[2]) != filter_.shape[2]:
                findings.append(
                    f"{member}: takes {filter_.shape[2]} channels, {source} before it gives {gives[source]}"
                )
            gives[member] = filter_.shape[2 if layer.kind == "DepthwiseConv2D" else 3]
        elif layer.kind in _SAME_CHANNELS and source in gives:
            gives[member] = gives[source]
    return findings


def _constants(sources: list[Path]) -> dict[str, _Constant]:
    """Every Filter, Bias and Activation object, by its name."""
    found: dict[str, _Constant] = {}
    for path in sources:
        text = _text(path)
        arrays = {
            match[1]: len(re.findall(r"-?\w+", match[2]))
            for match in re.finditer(r"int(?:8|16)_t\s+(\w+)\s*\[\s*\]\s*=\s*\{([^}]*)\}", text)
        }
        pattern = r"\b(Filter|Bias|Activation)<\w+>\s+(\w+)\s*\(([^;]*)\)\s*;"
        for match in re.finditer(pattern, text):
            arguments = _split(match[3])
            shapes = [argument for argument in arguments if argument.startswith("{")]
            shape = tuple(int(size) for size in re.findall(r"\d+", shapes[0])) if shapes else ()
            whole = [argument for argument in arguments[1:2] if re.fullmatch(r"-?\d+", argument)]
            exponent = int(whole[0]) if whole else None
            if match[1] == "Filter" and len(shape) != 4:
                raise DataError(f"{path}: {match[2]}: expected a filter of 4 sizes, came {match[3]}")
            found[match[2]] = _Constant(match[1], exponent, shape, arrays.get(arguments[0]))
    if not found:
        raise DataError(f"{sources[0]}: expected Filter, Bias and Activation objects, found none")
    return found


def _layers(path: Path) -> tuple[list[_Layer], dict[str, dict[str, str]]]:
    """The members of the model class, and what build() and call() run: {member: member it reads}."""
    text = _text(path)
    body = re.search(r"class\s+\w+\s*:\s*public\s+(?:\w+::)*Model<\w+>(.*)", text, re.DOTALL)
    layers = []
    if body:
        declared = re.findall(r"\b(?:\w+::)*(\w+)<[\w\s,]+>\s+(\w+)\s*;", body[1])
        layers = [_Layer(kind, member) for kind, member in declared]
    if not body or not layers:
        raise DataError(f"{path}: expected a class derived from Model<...> with layers, found none")
    for layer in layers:
        start = re.search(rf"\b{layer.member}\s*\((?:\s*(?:\w+::)*{layer.kind}<[\w\s,]+>\s*\()?", body[1])
        if start:
            layer.arguments = _split(_until_closed(body[1], start.end()))
    order = {}
    for call in ("build", "call"):
        steps = re.findall(rf"\b(\w+)\.{call}\s*\(\s*(?:this->)?(\w*)", body[1])
        order[call] = dict(steps)
    return layers, order


def _text(path: Path) -> str:
    try:
        return _COMMENT.sub("", path.read_text(errors="replace"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read; {error.strerror}") from None


def _until_closed(text: str, start: int) -> str:
    """The text from `start` to the parenthesis that closes the one before it."""
    depth = 1
    for position in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[position], 0)
        if depth == 0:
            return text[start:position]
    return text[start:]


def _split(text: str) -> list[str]:
    """Arguments at the outermost commas."""
    parts, depth = [""], 0
    for character in text:
        depth += {"(": 1, "{": 1, ")": -1, "}": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]
