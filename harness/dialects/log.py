"""A captured console log as clean lines: without colours, carriage returns and ESP-IDF log heads.

It knows no dialect. A last line without its line end may be cut anywhere, `0.98` may have been
`0.9878382`, so it is set apart and never read as a value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# ECMA-48 control sequences; ESP-IDF sends ESC [ 0 ; 32 m before a line and ESC [ 0 m after it.
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_LINE_END = re.compile(r"\r*\n|\r+")
# ESP_LOGx: a level, milliseconds since boot (or hh:mm:ss.sss) and a tag, which may hold colons.
_ESP_LOG = re.compile(r"[EWIDV] \([0-9:.]+\) (?P<tag>\S.*?): (?P<text>.*)")


@dataclass(frozen=True)
class Line:
    """`number` counts from 1. `tag` is that of an ESP-IDF log line, None for plain output."""

    number: int
    text: str
    tag: str | None = None


@dataclass(frozen=True)
class Log:
    """`cut` is the last line where it has no line end, else None; it is not among `lines`."""

    lines: tuple[Line, ...]
    cut: Line | None


def read_log(data: bytes) -> Log:
    """Any bytes; what is not UTF-8 becomes replacement characters. Line ends are LF, CR or CR LF."""
    # Colours first: the reset after a line stands between CR and LF on some terminals.
    text = _ANSI.sub("", data.decode("utf-8", errors="replace"))
    *whole, last = _LINE_END.split(text)
    lines = tuple(_line(number, line) for number, line in enumerate(whole, start=1))
    cut = _line(len(whole) + 1, last)
    return Log(lines, cut if cut.text else None)


def _line(number: int, raw: str) -> Line:
    text = raw.strip()
    if match := _ESP_LOG.fullmatch(text):
        return Line(number, match["text"].strip(), match["tag"])
    return Line(number, text)
