"""A v1 project, hand-written or generated, as two networks: the one its C++ makes, and the right one.

They differ where an exponent in the C++ is not the one the coefficients were made with.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from harness.errors import DataError, UnsupportedError, UsageError
from harness.runtimes.espdl_v1.assemble import Stated, assemble
from harness.runtimes.espdl_v1.calibrate import Scheme
from harness.runtimes.espdl_v1.layout import BLOCKED
from harness.runtimes.espdl_v1.network import Shape3
from harness.runtimes.espdl_v1.project_layers import in_order, number, stated
from harness.runtimes.espdl_v1.quantise import QuantisedNetwork
from harness.runtimes.espdl_v1.sources import ProjectText, read_sources, read_text

TABLE = "quantization_table.json"
_BITS = {"int8_t": 8, "int16_t": 16}


@dataclass(frozen=True)
class ProjectNetworks:
    """`built` has the exponents of model_define.hpp and app_main.cpp; `right` those of
    quantization_table.json, where there is one, and of the biases.
    """

    built: QuantisedNetwork
    right: QuantisedNetwork


def read_project(directory: Path, chip: str) -> ProjectNetworks:
    """The networks of the project in `directory`, its filters in the order of `chip`; "" for the chip
    that its sdkconfig names.

    Raises:
        UsageError: no chip given, and none named.
        DataError: files that are missing, cannot be read or contradict each other.
        ModelError: sizes that do not fit.
        UnsupportedError: a layer, or a form of one, whose integers are not known; another chip's files.
    """
    chip = _chip(directory, chip)
    project = read_sources(directory)
    if project.model.c_type not in _BITS:
        raise DataError(
            f"{project.model.path}: expected Model<int8_t> or Model<int16_t>, came {project.model.c_type}"
        )
    per_channel = any(constant.per_channel for constant in project.constants.values())
    scheme = Scheme(_BITS[project.model.c_type], "per-channel" if per_channel else "per-tensor")
    shape, exponent = read_input(directory)
    layers: list[Stated] = []
    biases: list[int | None] = []
    written: dict[str, int] = {}
    # What the first layer reads is the parameter of call(): the network's input.
    parameter = next(iter(project.model.order["call"].values()), ("",))[0]
    for position, layer in enumerate(in_order(project)):
        where = f"{project.model.path}: layer {position} ({layer.kind} {layer.member})"
        sources = project.model.order["call"][layer.member]
        for source in sources:
            if source not in written and source != parameter:
                raise DataError(f"{where}: reads {source}, which no layer before it makes")
        found = stated(layer, where, project, scheme, chip)
        found[0] = replace(found[0], reads=tuple(written.get(source, -1) for source in sources))
        layers += found
        biases += [_bias_exponent(project, layer.getter("bias"), scheme) for _ in found]
        written[layer.member] = len(layers) - 1
    right_input, right_layers = _right(directory, exponent, layers, biases)
    return ProjectNetworks(
        assemble("input", shape, exponent, scheme, layers),
        assemble("input", shape, right_input, scheme, right_layers),
    )


def read_exponents(path: Path) -> dict[str, int]:
    """A quantization_table.json: tensor to exponent, in the order of the network.

    Raises:
        DataError: no JSON table, or a scale that is no power of two.
    """
    try:
        scales = {str(name): float(scale) for name, scale in json.loads(path.read_text()).items()}
    except (OSError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: expected a JSON table {{tensor: scale}}; {error}") from None
    exponents = {}
    for name, scale in scales.items():
        mantissa, exponent = np.frexp(scale)
        if mantissa != 0.5 or not -128 <= exponent <= 128:
            raise DataError(f"{path}: {name}: expected a power of two, came {scale}")
        exponents[name] = int(exponent) - 1
    return exponents


def _chip(directory: Path, chip: str) -> str:
    """`chip`, unless sdkconfig says that the project was made for another kind."""
    for path in (directory / "sdkconfig", directory / "sdkconfig.defaults"):
        text = path.read_text(errors="replace") if path.is_file() else ""
        found = re.search(r'^CONFIG_IDF_TARGET="(\w+)"', text, re.MULTILINE)
        if not found:
            continue
        if chip and (found[1] == BLOCKED) != (chip == BLOCKED):
            raise UnsupportedError(
                f"{path}: the project is for {found[1]}, whose filters lie in another order than {chip}'s",
                f"Name its own chip: --target {found[1]}",
            )
        return chip or found[1]
    if not chip:
        raise UsageError(
            f"{directory}: the order of filter elements depends on the chip, which no sdkconfig names",
            "Name it, e.g. --target esp32s3",
        )
    return chip


def read_input(directory: Path) -> tuple[Shape3, int]:
    """Shape and exponent that the application sets on the input tensor.

    Raises:
        DataError: no .cpp file sets them, or not as numbers.
    """
    for path in sorted(directory.rglob("*.c*")):
        if path.suffix not in (".cpp", ".cc") or path.name.endswith("_coefficient.cpp"):
            continue
        text = read_text(path)
        exponent = re.search(r"set_exponent\(\s*([\w-]+)\s*\)", text)
        shape = re.search(r"set_shape\(\s*\{([^}]*)\}\s*\)", text)
        if exponent and shape:
            sizes = [_value(path, text, word.strip()) for word in shape[1].split(",")]
            if len(sizes) != 3:
                raise DataError(f"{path}: expected an input of height, width, channels, came {shape[1]}")
            return (sizes[0], sizes[1], sizes[2]), _value(path, text, exponent[1])
    raise DataError(
        f"{directory}: no .cpp file sets the input's exponent and shape",
        "Add to app_main.cpp: input.set_element(data).set_exponent(-15).set_shape({28, 28, 1})",
    )


def _value(path: Path, text: str, word: str) -> int:
    """A number, or a variable or macro that is given one."""
    named = re.search(rf"\b{word}\b\s*=?\s*(-?\d+)\b", text) if re.fullmatch(r"[A-Za-z_]\w*", word) else None
    return number(str(path), named[1] if named else word)


def _bias_exponent(project: ProjectText, name: str | None, scheme: Scheme) -> int | None:
    return None if name is None or scheme.per_channel else project.constants[name].exponent


def _right(
    directory: Path, exponent: int, layers: Sequence[Stated], biases: Sequence[int | None]
) -> tuple[int, list[Stated]]:
    """Input exponent and layers with the exponents that a second place states."""
    weighted = [index for index, layer in enumerate(layers) if layer.filter is not None]
    listed: dict[int, int] = {}
    path = directory / TABLE
    if path.is_file():
        exponents = list(read_exponents(path).values())
        if len(exponents) != 1 + len(weighted):
            raise DataError(
                f"{path}: expected exponents of the input and {len(weighted)} layers with weights, "
                f"came {len(exponents)}"
            )
        exponent, listed = exponents[0], dict(zip(weighted, exponents[1:], strict=True))
    right = list(layers)
    for index in weighted:
        layer, bias = layers[index], biases[index]
        own = listed.get(index, layer.output_exponent if bias is None else bias)
        if bias not in (None, own):
            raise DataError(
                f"{path}: the output exponent of {layer.name} is {own}, that of its bias {bias}",
                "Export the project again",
            )
        right[index] = replace(layer, output_exponent=own)
    return exponent, right
