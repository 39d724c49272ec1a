"""A configuration file in TOML whose complaints name the line: `nightly.toml:12: samples: expected …, got …`.

`tomllib` reads the values but keeps no positions. Here the text is cut into statements, each the fewest
lines that `tomllib` accepts, so that it alone decides what TOML is. What the keys mean is the reader's.
"""

from __future__ import annotations

import datetime
import re
import tomllib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, UsageError, did_you_mean

Place = tuple[str | int, ...]
_REQUIRED: Any = object()


@dataclass(frozen=True)
class Table:
    """A table of a file, with typed getters. `place` is the way to it from the top of the file.

    Every getter raises UsageError with file and line for a value of another type, and for one that is
    missing where no default is given.
    """

    path: Path
    place: Place
    values: dict[str, Any]
    lines: dict[Place, int]

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def line(self, key: str = "", index: int | None = None) -> int:
        """Where a key, or an element of its list, stands; without one, or for one missing, the table."""
        return self.line_of((*self.place, *([key] if key else []), *([] if index is None else [index])))

    def line_of(self, place: Place) -> int:
        """Where a place of the file stands, or the nearest table around it that does."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def error(self, key: str, expected: str, remedy: str = "", index: int | None = None) -> UsageError:
        """`FILE:LINE: KEY: expected …, got …`, to be raised."""
        value = self.values.get(key)
        if key not in self.values:
            got = "nothing"
        else:
            got = _shown(value if index is None or not isinstance(value, list) else value[index])
        message = f"{self._at(key, index)}: expected {expected}, got {got}"
        return UsageError(message, remedy)

    def blame(self, error: HarnessError, key: str, index: int | None = None) -> UsageError:
        """What is wrong with a value, found elsewhere, put down to its line."""
        return UsageError(f"{self._at(key, index)}: {error.message}", error.remedy)

    @contextmanager
    def blamed(self, key: str, index: int | None = None) -> Iterator[None]:
        """HarnessErrors from inside are put down to the line of `key`."""
        try:
            yield
        except HarnessError as error:
            raise self.blame(error, key, index) from None

    def known(self, keys: Collection[str]) -> None:
        """Raises UsageError for the first key that is none of `keys`."""
        for key in self.values:
            if key not in keys:
                hint = did_you_mean(key, keys).rstrip() or f"Known keys: {', '.join(sorted(keys))}"
                table = ".".join(str(part) for part in self.place if isinstance(part, str))
                where = f" in [{table}]" if table else ""
                raise UsageError(f"{self.path}:{self.line(key)}: unknown key {key}{where}", hint)

    def text(self, key: str, default: str = _REQUIRED) -> str:
        value = self._value(key, default, "text")
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, "text")
        return value

    def choice(self, key: str, choices: Collection[str], default: str = _REQUIRED) -> str:
        expected = f"one of {', '.join(choices)}"
        value = self._value(key, default, expected)
        if value not in choices:
            raise self.error(key, expected)
        return str(value)

    def whole(self, key: str, default: int = _REQUIRED, minimum: int = 0) -> int:
        expected = f"a whole number of at least {minimum}"
        value = self._value(key, default, expected)
        if type(value) is not int or value < minimum:
            raise self.error(key, expected)
        return value

    def number(self, key: str, default: float = _REQUIRED, minimum: float = 0.0) -> float:
        expected = f"a number of at least {minimum:g}"
        value = self._value(key, default, expected)
        if isinstance(value, bool) or not isinstance(value, int | float) or not minimum <= value < 1e15:
            raise self.error(key, expected)
        return float(value)

    def flag(self, key: str, default: bool = _REQUIRED) -> bool:
        value = self._value(key, default, "true or false")
        if not isinstance(value, bool):
            raise self.error(key, "true or false")
        return value

    def date(self, key: str) -> datetime.date:
        value = self._value(key, _REQUIRED, "a date such as 2027-01-31, without quotes")
        if not isinstance(value, datetime.date) or isinstance(value, datetime.datetime):
            raise self.error(key, "a date such as 2027-01-31, without quotes")
        return value

    def texts(self, key: str, default: tuple[str, ...] = _REQUIRED) -> tuple[str, ...]:
        """A list of at least one text; one text alone is a list of one."""
        value = self._value(key, default, "a list of texts")
        if key not in self.values:
            return default
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list) or not values:
            raise self.error(key, 'a list of texts, e.g. ["a", "b"]')
        for index, each in enumerate(values):
            if not isinstance(each, str) or not each.strip():
                raise self.error(key, "text", index=index)
        return tuple(dict.fromkeys(values))

    def table(self, key: str) -> Table:
        """The table called `key`; an empty one where there is none."""
        value = self._value(key, {}, "a table")
        if not isinstance(value, dict):
            raise self.error(key, f"a table: [{key}]")
        return Table(self.path, (*self.place, key), value, self.lines)

    def tables(self, key: str) -> tuple[Table, ...]:
        """The tables under [[key]]; none where there are none."""
        value = self._value(key, [], "tables")
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise self.error(key, f"tables: [[{key}]]")
        place = (*self.place, key)
        return tuple(Table(self.path, (*place, n), each, self.lines) for n, each in enumerate(value))

    def _value(self, key: str, default: Any, expected: str) -> Any:
        if key not in self.values and default is _REQUIRED:
            raise self.error(key, expected)
        return self.values.get(key, default)

    def _at(self, key: str, index: int | None) -> str:
        return f"{self.path}:{self.line(key, index)}: {key}"


def load(path: Path) -> Table:
    """The whole file.

    Raises:
        UsageError: it cannot be read, or is not TOML; with the line where there is one.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}", "Check the path") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UsageError(f"{path}:{line}: expected UTF-8 text, got {error.reason}") from None
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", str(error), re.DOTALL)
        said, line = (found[1], int(found[2])) if found else (str(error), text.count("\n") + 1)
        raise UsageError(f"{path}:{line}: expected TOML, got: {said}") from None
    return Table(path, (), values, dict(_places(text)))


def _places(text: str) -> Iterator[tuple[Place, int]]:
    """Where each table, key and list element begins, first mention first, of a text that is TOML."""
    header: Place = ()
    tables: dict[Place, int] = {}
    seen: set[Place] = set()
    for line, lines in _statements(text):
        keys, value = _key_and_value(tomllib.loads("\n".join(lines)))
        opening = lines[0].lstrip()[:2]
        place = () if opening.startswith("[") else header
        for depth, key in enumerate(keys, start=1):
            place = (*place, key)
            if opening == "[[" and depth == len(keys):
                tables[place] = tables.get(place, 0) + 1
            # Below [[boards]], [boards.power] belongs to the last of them.
            if place in tables:
                place = (*place, tables[place] - 1)
        if opening.startswith("["):
            header = place
        elif isinstance(value, list):
            yield from (((*place, index), line + offset) for index, offset in _elements(lines))
        for length in range(1, len(place) + 1):
            if place[:length] not in seen:
                seen.add(place[:length])
                yield place[:length], line


def _statements(text: str) -> Iterator[tuple[int, list[str]]]:
    """(number of its first line, its lines) of each header and each `key = value`."""
    lines: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        lines.append(line)
        try:
            if tomllib.loads("\n".join(lines)):
                yield number - len(lines) + 1, lines
            lines = []
        except tomllib.TOMLDecodeError:
            continue  # a list or text that goes on


def _key_and_value(parsed: dict[str, Any]) -> tuple[Place, Any]:
    """The dotted key of one statement, and what it is set to."""
    keys: Place = ()
    value: Any = parsed
    while isinstance(value, dict) and len(value) == 1:
        ((key, value),) = value.items()
        keys = (*keys, key)
    return keys, value


def _elements(lines: list[str]) -> Iterator[tuple[int, int]]:
    """(index, how many lines below the first) of the elements of a list: what is whole when it ends there."""
    known = 0
    for offset in range(len(lines)):
        try:
            cut = tomllib.loads("\n".join(lines[: offset + 1]) + ("\n]" if offset + 1 < len(lines) else ""))
        except tomllib.TOMLDecodeError:
            continue
        value = _key_and_value(cut)[1]
        for index in range(known, len(value)):
            yield index, offset
        known = len(value)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    text = repr(value) if isinstance(value, str | int | float | list) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
