"""Boards that fail in one way each, for tests of the farm: real firmware behind a wire that lies."""

from __future__ import annotations

import random
import time
import zlib
from collections.abc import Callable
from typing import Protocol

from harness.boards.base import Board
from tests.firmware_wire import INFER, RESET, cobs_decode, cobs_encode

PANIC = (
    b"\r\nGuru Meditation Error: Core  0 panic'ed (LoadProhibited). Exception was unhandled.\r\nPC : 0x4\r\n"
)
BOOT = b"ESP-ROM:esp32c3-api1-20210207\r\nrst:0x8 (TG1WDT_SYS_RST),boot:0xc (SPI_FAST_FLASH_BOOT)\r\n"


class Fault(Protocol):
    """What comes between a device and the host; `None` lets nothing through."""

    def to_host(self, data: bytes) -> bytes: ...

    def to_device(self, data: bytes) -> bytes: ...


class FaultyBoard:
    """The port of a running board, with a fault on the way."""

    def __init__(self, board: Board, fault: Fault) -> None:
        self._port = board.open()
        self._fault = fault

    def read(self, timeout_s: float) -> bytes:
        return self._fault.to_host(self._port.read(timeout_s))

    def write(self, data: bytes) -> None:
        if kept := self._fault.to_device(data):
            self._port.write(kept)

    def set_baud(self, baud: int) -> None: ...


class Mute:
    """Hears everything, says nothing."""

    def to_host(self, data: bytes) -> bytes:  # noqa: ARG002
        return b""

    def to_device(self, data: bytes) -> bytes:
        return data


class Garbage(Mute):
    """Noise in place of every answer."""

    def __init__(self) -> None:
        self._random = random.Random(7)

    def to_host(self, data: bytes) -> bytes:
        return self._random.randbytes(max(20, len(data)))


class OldSequence(Mute):
    """Every answer bears the number of the request before."""

    def __init__(self) -> None:
        self._partial = b""

    def to_host(self, data: bytes) -> bytes:
        *chunks, self._partial = (self._partial + data).split(b"\0")
        return b"".join(self._aged(chunk) + b"\0" for chunk in chunks)

    def _aged(self, chunk: bytes) -> bytes:
        body = bytearray(cobs_decode(chunk) or b"")[:-4]
        if len(body) < 8:
            return chunk
        body[2:4] = ((int.from_bytes(body[2:4], "little") - 1) & 0xFFFF).to_bytes(2, "little")
        return cobs_encode(bytes(body) + zlib.crc32(body).to_bytes(4, "little"))


class ResetsForEver(Mute):
    """The ROM's words after a reset, again and again."""

    def to_host(self, data: bytes) -> bytes:  # noqa: ARG002
        time.sleep(0.02)
        return BOOT


class FailsAtInference(Mute):
    """Well until its `at`-th INFER; then says `words`, and nothing more until `revive`.

    `by_command`: a RESET request revives it, and is lost on the way.
    """

    def __init__(self, at: int, words: bytes = b"", *, by_command: bool = False, times: int = 1) -> None:
        self._left = at
        self._words = words
        self._by_command = by_command
        self._times = times
        self.down = False

    def revive(self) -> None:
        self.down = False

    def to_device(self, data: bytes) -> bytes:
        kinds = [(cobs_decode(chunk) or b"\0\0")[1] for chunk in data.split(b"\0") if chunk]
        if self.down and self._by_command and RESET in kinds:
            self.revive()
            return b""
        if self._times and INFER in kinds:
            self._left -= kinds.count(INFER)
            if self._left <= 0:
                self._times -= 1
                self.down = True
        return b"" if self.down else data

    def to_host(self, data: bytes) -> bytes:
        if not self.down:
            return data
        words, self._words = self._words, b""
        return words


FAULTS: dict[str, Callable[[], Fault]] = {
    "never answers": Mute,
    "answers garbage": Garbage,
    "answers an old sequence number": OldSequence,
    "resets for ever": ResetsForEver,
    "panics in mid-run": lambda: FailsAtInference(12, PANIC, times=9),
}
