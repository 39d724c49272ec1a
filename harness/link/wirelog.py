"""What went over the wire, kept on disk: `wire.bin` (both directions, exact) and `uart.log` (the
device's text, readable). Written through at once, so that a killed run keeps both.

`wire.bin` starts with `HWIRE1\\n` and a u64: nanoseconds since 1970 when the log began. Records
follow: u8 direction (0 from the device, 1 to the device, 2 the clock), u64 nanoseconds since the log
began, u32 length, bytes. All little-endian.

The log is also the link's clock and its source of random numbers. Time stands still between two records;
where it went on unseen, a record of the clock says at which look (u32, from 1 after the record before).
So the same code takes the same decisions again when it is given the log instead of a device
(`harness.link.recorded`).
"""

from __future__ import annotations

import random
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
_LOOKS = struct.Struct("<I")
# How old the clock of a busy link may be. Far below every wait there is, which would else end in a busy loop.
_STALE_NS = 1_000_000
_KEPT_LINES = 200
_SHOWN_DAMAGE_BYTES = 64


class Direction(IntEnum):
    FROM_DEVICE = 0
    TO_DEVICE = 1
    CLOCK = 2


@dataclass(frozen=True)
class WireRecord:
    """One read or write, or a look at the clock. `time_ns` counts from the start of the log."""

    direction: Direction
    time_ns: int
    data: bytes

    @property
    def looks(self) -> int:
        """Of a record of the clock: the how many-th look since the record before it this was."""
        return int.from_bytes(self.data, "little")


class WireLog:
    """The two files of one link; either path may be None. A context manager.

    Also keeps the last lines of device text in memory, for error messages.
    """

    def __init__(self, wire: Path | None = None, text: Path | None = None) -> None:
        """Raises OutputError when a file cannot be written."""
        self.text_path = text
        self._began(time.time_ns())
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
            self._wire.write(MAGIC + _START.pack(self._began_ns))

    def data(self, direction: Direction, data: bytes) -> None:
        """Records one read or write."""
        self._event_ns, self._looks = time.monotonic_ns() - self._start_ns, 0
        if self._wire:
            self._wire.write(_RECORD.pack(direction, self._event_ns, len(data)) + data)

    def clock(self) -> float:
        """Seconds since the log began: when the last record was made, or 1 ms later at most."""
        self._looks += 1
        if time.monotonic_ns() - self._start_ns - self._event_ns > _STALE_NS:
            self.data(Direction.CLOCK, _LOOKS.pack(self._looks))
        return self._event_ns / 1e9

    def random_bytes(self, number: int) -> bytes:
        """Other ones for each log, the same again for the same log. No secrets."""
        return self._random.randbytes(number)

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
            self._text.write(f"[{self.clock():10.4f}] {line}\n")

    def _began(self, began_ns: int) -> None:
        self._began_ns = began_ns
        self._random = random.Random(began_ns)
        self._event_ns = self._looks = 0


def escape(data: bytes) -> str:
    """Device bytes as one printable line: what is not printable becomes \\xNN."""
    text = data.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in text)


def wire_log_began_ns(path: Path) -> int:
    """When a `wire.bin` began, in nanoseconds since 1970.

    Raises:
        DataError: the file is not a wire log, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(len(MAGIC) + _START.size)
    except OSError as error:
        raise DataError(f"cannot read the wire log {path}: {error.strerror}") from None
    if not head.startswith(MAGIC) or len(head) < len(MAGIC) + _START.size:
        raise DataError(f"{path} is not a wire log (it does not begin with {MAGIC!r})")
    return int(_START.unpack_from(head, len(MAGIC))[0])


def read_wire_log(path: Path) -> Iterator[WireRecord]:
    """The records of a `wire.bin`. One cut short by a killed run ends the reading silently.

    Raises:
        DataError: the file is not a wire log.
    """
    wire_log_began_ns(path)
    with path.open("rb") as file:
        file.seek(len(MAGIC) + _START.size)
        while len(header := file.read(_RECORD.size)) == _RECORD.size:
            direction, time_ns, length = _RECORD.unpack(header)
            if direction > max(Direction):
                raise DataError(f"{path} is damaged: a record of kind {direction} at byte {file.tell()}")
            data = file.read(length)
            if len(data) < length:
                return
            yield WireRecord(Direction(direction), time_ns, data)


def log_tail(path: Path, characters: int = 4096) -> str | None:
    """The end of a text log, for a record; None where there is none."""
    return path.read_text(encoding="utf-8", errors="replace")[-characters:] if path.is_file() else None
