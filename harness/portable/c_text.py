"""Pieces of C source: loops, named constants, array initialisers, indentation.

Kernels are written as flat lists of lines; `layout` indents them by their braces, so
that a kernel in Python reads like the C it becomes. Knows no operator.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

WIDTH = 110
C_TYPES = {
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int16": "int16_t",
    "uint16": "uint16_t",
    "int32": "int32_t",
    "uint32": "uint32_t",
    "int64": "int64_t",
    "uint64": "uint64_t",
    "float32": "uint32_t",
}
END = "}"


def loop(variable: str, end: int | str, start: int | str = 0) -> str:
    """The head of a counting loop; close it with END."""
    return f"for (int32_t {variable} = {start}; {variable} < {end}; {variable}++) {{"


def enum(*groups: Mapping[str, int]) -> list[str]:
    """Named integer constants, local to a function; one line for each group."""
    lines = [", ".join(f"{name} = {value}" for name, value in group.items()) for group in groups if group]
    if len(lines) == 1:
        return [f"enum {{ {lines[0]} }};", ""]
    return ["enum {", *(f"{line}," for line in lines[:-1]), *lines[-1:], "};", ""]


def fill(items: Iterable[str], indent: str = "    ") -> list[str]:
    """Comma-separated items, broken at WIDTH; no comma after the last."""
    lines: list[str] = []
    line = indent
    for item in items:
        if len(line) + len(item) + 1 > WIDTH and line != indent:
            lines.append(line.rstrip())
            line = indent
        line += item + ", "
    lines.append(line.rstrip(", "))
    return lines


def literals(values: NDArray[np.generic]) -> list[str]:
    """The elements of an integer array as C literals."""
    if values.dtype == np.uint32:
        return [f"0x{value:08x}u" for value in values.reshape(-1).tolist()]
    if values.dtype == np.uint64:
        return [f"0x{value:016x}u" for value in values.reshape(-1).tolist()]
    return ["INT32_MIN" if value == -(1 << 31) else str(value) for value in values.reshape(-1).tolist()]


def string(text: str) -> str:
    """A C string literal; anything but plain ASCII as octal escapes of its UTF-8."""
    plain = {ord(" ") + i for i in range(95)} - {ord('"'), ord("\\"), ord("?")}
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in text.encode()) + '"'


def comment_text(text: str) -> str:
    """`text` as it may stand in a C comment."""
    printable = "".join(ch if ch.isascii() and ch.isprintable() else "?" for ch in text)
    return printable.replace("*/", "* /").replace("/*", "/ *")


def layout(lines: Iterable[str], depth: int = 0) -> list[str]:
    """Indents lines by brace depth; a line inside open parentheses goes one step further."""
    result: list[str] = []
    parentheses = 0
    for line in (raw.strip() for raw in lines):
        if not line and (not result or not result[-1] or result[-1].endswith("{")):
            continue
        if line.startswith("}") and result and not result[-1]:
            result.pop()
        depth -= line.startswith("}")
        result.append("    " * (depth + (parentheses > 0)) + line if line else "")
        depth += line.count("{") - line.count("}") + line.startswith("}")
        parentheses += line.count("(") - line.count(")")
    return result
