"""The C++ of a v1 project as text: coefficient objects, and the model class with its layers.

It knows the forms of the tutorials and of what `export` writes, and is no C++ compiler. What the
text means is for the linter and for `project_reader` to say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_ARRAY = re.compile(r"\b(u?int(?:8|16)_t)\s+(\w+)\s*\[\s*\d*\s*\]\s*=\s*\{([^}]*)\}")
_OBJECT = re.compile(r"\b(Filter|Bias|Activation)<(\w+)>\s+(\w+)\s*\(([^;]*)\)\s*;")


@dataclass(frozen=True)
class Constant:
    """A Filter, Bias or Activation object of a coefficient file.

    `exponents` has one element, or one for each channel where a filter is `per_channel`. `sizes` are all
    brace lists after the elements: the shape, and a filter's dilation. `activation` is the type an
    Activation names. `elements` is None where the array is not in the file.
    """

    kind: str
    c_type: str
    exponents: tuple[int, ...]
    sizes: tuple[tuple[int, ...], ...]
    elements: NDArray[np.int64] | None
    activation: str | None = None
    per_channel: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        return self.sizes[0] if self.sizes else ()

    @property
    def exponent(self) -> int | None:
        """The one exponent; None per channel, and for an Activation without elements."""
        return self.exponents[0] if self.exponents and not self.per_channel else None


@dataclass
class LayerText:
    """A member of the model class; `arguments` are its constructor's, empty where there is none."""

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


@dataclass(frozen=True)
class ModelText:
    """`c_type` is what Model is derived for; `order` has for build and call {member: members it reads}."""

    path: Path
    c_type: str
    layers: tuple[LayerText, ...]
    order: Mapping[str, Mapping[str, tuple[str, ...]]]


@dataclass(frozen=True)
class ProjectText:
    model: ModelText
    constants: Mapping[str, Constant]


def is_project(directory: Path) -> bool:
    """Whether `directory` holds a model class and coefficients in the tutorials' files."""
    return bool(_models(directory)) and any(directory.rglob("*_coefficient.cpp"))


def read_sources(directory: Path) -> ProjectText:
    """The model class and the coefficients of the project in `directory`.

    Raises:
        DataError: no model_define.hpp or coefficient file, more than one model_define.hpp, or
            nothing in them that can be read.
    """
    models = _models(directory)
    sources = sorted(directory.rglob("*_coefficient.cpp"))
    if len(models) != 1 or not sources:
        raise DataError(
            f"{directory}: expected one model_define.hpp and a *_coefficient.cpp, "
            f"came {len(models)} and {len(sources)}"
        )
    constants: dict[str, Constant] = {}
    for path in sources:
        constants |= _constants(path)
    if not constants:
        raise DataError(f"{sources[0]}: expected Filter, Bias and Activation objects, found none")
    return ProjectText(_model(models[0]), constants)


def _models(directory: Path) -> list[Path]:
    return sorted(directory.rglob("model_define.hpp")) or sorted(directory.rglob("*_model.hpp"))


def _constants(path: Path) -> dict[str, Constant]:
    """Every Filter, Bias and Activation object, by its name."""
    text = read_text(path)
    arrays = {match[2]: _integers(path, match[1], match[2], match[3]) for match in _ARRAY.finditer(text)}
    found = {}
    for match in _OBJECT.finditer(text):
        kind, c_type, name, arguments = match[1], match[2], match[3], split_arguments(match[4])
        sizes = tuple(_sizes(argument) for argument in arguments if argument.startswith("{"))
        second = arguments[1] if len(arguments) > 1 else ""
        exponents: tuple[int, ...] = ()
        per_channel = second in arrays
        if re.fullmatch(r"-?\d+", second):
            exponents = (int(second),)
        elif per_channel:
            exponents = tuple(int(value) for value in arrays[second])
        if kind == "Filter" and (not sizes or len(sizes[0]) != 4):
            raise DataError(f"{path}: {name}: expected a filter of 4 sizes, came {match[4]}")
        if kind != "Activation" and not exponents:
            raise DataError(f"{path}: {name}: expected an exponent, came {second or 'nothing'}")
        first, activation = arguments[0], None
        if kind == "Activation":
            activation = first.split("::")[-1]
            first, exponents, per_channel = second, (), False
            if len(arguments) > 2 and re.fullmatch(r"-?\d+", arguments[2]):
                exponents = (int(arguments[2]),)
        found[name] = Constant(kind, c_type, exponents, sizes, arrays.get(first), activation, per_channel)
    return found


def _integers(path: Path, c_type: str, name: str, text: str) -> NDArray[np.int64]:
    """An initialiser's values, each in the range of its type."""
    words = [word for word in (part.strip() for part in text.split(",")) if word]
    limits = np.iinfo(c_type.removesuffix("_t"))
    values = []
    for word in words:
        if not re.fullmatch(r"[-+]?(0[xX][0-9a-fA-F]+|\d+)", word):
            raise DataError(f"{path}: {name}: expected integers, came '{word[:40]}'")
        values.append(int(word, 16 if "x" in word.lower() else 10))
        if not limits.min <= values[-1] <= limits.max:
            raise DataError(f"{path}: {name}: {word} does not fit {c_type}")
    return np.array(values, dtype=np.int64)


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(size) for size in re.findall(r"\d+", text))


def _model(path: Path) -> ModelText:
    """The model class's members, and what build() and call() run."""
    body = re.search(r"class\s+\w+\s*:\s*public\s+(?:\w+::)*Model<(\w+)>(.*)", read_text(path), re.DOTALL)
    layers = []
    if body:
        declared = re.findall(r"\b(?:\w+::)*(\w+)<[\w\s,]+>\s+(\w+)\s*;", body[2])
        layers = [LayerText(kind, member) for kind, member in declared]
    if not body or not layers:
        raise DataError(f"{path}: expected a class derived from Model<...> with layers, found none")
    for layer in layers:
        start = re.search(rf"\b{layer.member}\s*\((?:\s*(?:\w+::)*{layer.kind}<[\w\s,]+>\s*\()?", body[2])
        if start:
            layer.arguments = split_arguments(_until_closed(body[2], start.end()))
    order: dict[str, dict[str, tuple[str, ...]]] = {}
    for call in ("build", "call"):
        order[call] = {}
        for step in re.finditer(rf"\b(\w+)\.{call}\s*\(", body[2]):
            given = split_arguments(_until_closed(body[2], step.end()))[0].strip("{}")
            order[call][step[1]] = tuple(
                re.sub(r"^&?(?:this->)?(\w+)(?:\.get_output\(\))?$", r"\1", part)
                for part in split_arguments(given)
            )
    return ModelText(path, body[1], tuple(layers), order)


def read_text(path: Path) -> str:
    """A source file without its comments. Raises DataError when it cannot be read."""
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


def split_arguments(text: str) -> list[str]:
    """Arguments at the outermost commas."""
    parts, depth = [""], 0
    for character in text:
        depth += {"(": 1, "{": 1, ")": -1, "}": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]
