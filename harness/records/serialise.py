"""Records to JSON and back. Versioned, strict and lossless; it knows the schema's types and nothing of files.

JSON has no NaN or infinity, so those floats travel as the strings "nan", "inf" and "-inf".
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from typing import Any, TypeVar

from harness.errors import DataError
from harness.records.schema import ItemRecord, RunRecord, Sample

SCHEMA = 1

Record = RunRecord | ItemRecord | Sample
T = TypeVar("T")

_KINDS: dict[str, type[Record]] = {"run": RunRecord, "item": ItemRecord, "sample": Sample}
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_PLAIN = frozenset((type(None), bool, int, str))
_NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def to_json(record: Record) -> str:
    """One line of JSON without a newline: `schema`, `kind`, then the record's own fields."""
    kind = next(name for name, cls in _KINDS.items() if type(record) is cls)
    return dump({"schema": SCHEMA, "kind": kind, **to_plain(record)})


def from_json(text: str) -> Record:
    """The record that `to_json` wrote.

    Raises:
        DataError: not JSON, another schema version, an unknown kind, or fields that do not fit.
    """
    data = load(text)
    kind = data.pop("kind", None)
    if kind not in _KINDS:
        raise DataError(f"expected a record of kind {', '.join(_KINDS)}; this one says {kind!r}")
    return from_plain(_KINDS[kind], data)


def dump(data: dict[str, Any]) -> str:
    """Plain data to one line of strict JSON."""
    return _ENCODER.encode(data)


def load(text: str) -> dict[str, Any]:
    """One versioned JSON object, its `schema` checked and taken off.

    Raises:
        DataError: not a JSON object, or of another schema version.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"expected a JSON record; it cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise DataError(f"expected a JSON object; this is a {type(data).__name__}")
    schema = data.pop("schema", None)
    if schema != SCHEMA:
        raise DataError(
            f"expected a record of schema {SCHEMA}; this one says {schema!r}",
            "Read it with the version of the harness that wrote it.",
        )
    return data


def to_plain(value: Any) -> Any:
    """A dataclass of the schema as dicts, lists, strings, numbers and None."""
    # A run has millions of scores, and most else is text or a whole number: those first.
    if type(value) in _PLAIN:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, tuple):
        if value and type(value[0]) is float and all(map(math.isfinite, value)):
            return list(value)
        return [to_plain(element) for element in value]
    if isinstance(value, dict):
        return {key: to_plain(element) for key, element in value.items()}
    if dataclasses.is_dataclass(value):
        fields = [(name, getattr(value, name)) for name in _fields(typing.cast(type, type(value)))]
        return {name: field if type(field) in _PLAIN else to_plain(field) for name, field in fields}
    return value


def from_plain(cls: type[T], data: Any) -> T:
    """The inverse of `to_plain` for one dataclass of the schema.

    Raises:
        DataError: a field is missing, unknown, or of the wrong type.
    """
    return typing.cast(T, _decode(cls, data, cls.__name__))


@functools.cache
def _fields(cls: type) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


@functools.cache
def _parts(expected: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type hint's origin and arguments."""
    return typing.get_origin(expected), typing.get_args(expected)


def _decode(expected: Any, value: Any, where: str) -> Any:
    if type(value) is expected:
        return value
    origin, arguments = _parts(expected)
    if origin is types.UnionType:
        return None if value is None else _decode(arguments[0], value, where)
    if origin is tuple and isinstance(value, list):
        element = arguments[0]
        # A run's millions of scores.
        if element is float and all(type(item) is float for item in value):
            return tuple(value)
        return tuple(_decode(element, item, where) for item in value)
    if origin is dict and isinstance(value, dict):
        element = arguments[1]
        return {key: _decode(element, item, where) for key, item in value.items()}
    if dataclasses.is_dataclass(expected) and isinstance(value, dict):
        return _decode_dataclass(typing.cast(type, expected), value, where)
    if expected is float and isinstance(value, str) and value in _NON_FINITE:
        return _NON_FINITE[value]
    if expected is float and type(value) is int:
        return float(value)
    name = getattr(expected, "__name__", str(expected))
    raise DataError(f"expected {name} in {where}; found {type(value).__name__}")


def _decode_dataclass(cls: type, data: dict[str, Any], where: str) -> Any:
    fields = _fields(cls)
    unknown = data.keys() - fields.keys()
    if unknown:
        raise DataError(f"expected the fields of {where}; found {', '.join(sorted(unknown))} besides")
    try:
        return cls(
            **{name: _decode(fields[name], data[name], f"{where}.{name}") for name in fields if name in data}
        )
    except TypeError as error:
        raise DataError(f"expected every field of {where}; {error}") from error
