"""What went over the wire, kept on disk: `wire.bin` (both directions, exact) and `uart.log` (the
device's text, readable). Written through at once, so that a killed run keeps both.

`wire.bin` starts with `HWIRE1\\n` and a u64: nanoseconds since 1970 when the log began. Records
follow: u8 direction (0 from the device, 1 to the device), u64 nanoseconds since the log began,
u32 length, bytes. All little-endian.
"""

from __future__ import annotations

import struct
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from harness.errors import DataError, OutputError

MAGIC = b"HWIRE1\n"
_START = struct.Struct("<Q")
_RECORD = struct.Struct("<BQI")
_KEPT_LINES = 200
_SHOWN_DAMAGE_BYTES = 64


class Direction(IntEnum):
    FROM_DEVICE = 0
    TO_DEVICE = 1


@dataclass(frozen=True)
class WireRecord:
    """One read or write. `time_s` counts from the start of the log."""

    direction: Direction
    time_s: float
    data: bytes


class WireLog:
    """The two files of one link; either path may be None. A context manager.

    Also keeps the last lines of device text in memory, for error messages.
    """

    def __init__(self, wire: Path | None = None, text: Path | None = None) -> None:
        """Raises OutputError when a file cannot be written."""
        self.text_path = text
        self._start_ns = time.monotonic_ns()
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._partial = b""
        try:
            self._wire = wire.open("wb", buffering=0) if wire else None
            self._text = text.open("w", buffering=1, encoding="utf-8") if text else None
        except OSError as error:
            raise OutputError(
                f"cannot write the wire log {error.filename}: {error.strerror}", "Choose another --report-dir"
            ) from error
        if self._wire:
            self._wire.write(MAGIC + _START.pack(time.time_ns()))

    def data(self, direction: Direction, data: bytes) -> None:
        """Records one read or write."""
        if self._wire:
            self._wire.write(_RECORD.pack(direction, self._now_ns(), len(data)) + data)

    def text(self, data: bytes) -> None:
        """Takes device text as it comes, in any pieces."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._line(escape(line.rstrip(b"\r")))

    def damaged(self, data: bytes) -> None:
        """Takes a chunk that was neither text nor a valid frame."""
        cut = " ..." if len(data) > _SHOWN_DAMAGE_BYTES else ""
        self._line(f"<{len(data)} damaged bytes> {escape(data[:_SHOWN_DAMAGE_BYTES])}{cut}")

    def tail(self, lines: int, unfinished: bytes = b"") -> list[str]:
        """The last lines of device text; `unfinished` is what followed without a line's end."""
        last = self._partial + unfinished
        shown = [*self._lines, escape(last)] if last else list(self._lines)
        return shown[-lines:]

    def close(self, unfinished: bytes = b"") -> None:
        """Writes what has no line's end yet and closes both files; safe to call twice."""
        if last := self._partial + unfinished:
            self._partial = b""
            self._line(escape(last))
        for file in (self._wire, self._text):
            if file:
                file.close()
        self._wire = self._text = None

    def __enter__(self) -> WireLog:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _line(self, line: str) -> None:
        self._lines.append(line)
        if self._text:
            self._text.write(f"[{self._now_ns() / 1e9:10.4f}] {line}\n")

    def _now_ns(self) -> int:
        return time.monotonic_ns() - self._start_ns


def escape(data: bytes) -> str:
    """Device bytes as one printable line: what is not printable becomes \\xNN."""
    text = data.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in text)


def read_wire_log(path: Path) -> Iterator[WireRecord]:
    """The records of a `wire.bin`. One cut short by a killed run ends the reading silently.

    Raises:
        DataError: the file is not a wire log.
    """
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC or len(file.read(_START.size)) < _START.size:
            raise DataError(f"{path} is not a wire log (it does not begin with {MAGIC!r})")
        while len(header := file.read(_RECORD.size)) == _RECORD.size:
            direction, time_ns, length = _RECORD.unpack(header)
            data = file.read(length)
            if len(data) < length:
                return
            yield WireRecord(Direction(direction), time_ns / 1e9, data)
