"""A port as slow as a serial line: ten bits a byte, both directions at once, for boards that have no rate.

What is written waits in a buffer, as in a UART, and leaves it at the line's rate whether or not anybody
looks; bytes that are due are handed on in `read` and `write`. No thread, and nobody is woken before the
zero that ends a frame, as neither end can do anything before: so sixteen of them cost little.
"""

from __future__ import annotations

import re
import time
from collections import deque

from harness.boards.base import Port

BITS_PER_BYTE = 10
_UP_TO_ZEROS = re.compile(rb"\0*[^\0]+\0*|\0+")


class _Lane:
    """One direction: bytes on their way, each due when those before it have passed."""

    def __init__(self, baud: int) -> None:
        self.byte_s = BITS_PER_BYTE / baud
        self.busy_s = 0.0
        self._pieces: deque[tuple[float, bytes]] = deque()
        self._free_s = 0.0

    def put(self, data: bytes, now_s: float) -> None:
        start_s = max(now_s, self._free_s)
        for piece in _UP_TO_ZEROS.findall(data):
            start_s += len(piece) * self.byte_s
            self._pieces.append((start_s, piece))
        self._free_s = start_s
        self.busy_s += len(data) * self.byte_s

    def take(self, now_s: float) -> bytes:
        due = []
        while self._pieces and self._pieces[0][0] <= now_s:
            due.append(self._pieces.popleft()[1])
        return b"".join(due)

    @property
    def next_s(self) -> float:
        return self._pieces[0][0] if self._pieces else float("inf")


class PacedPort:
    """A `Port` that passes `baud` / 10 bytes a second each way through another one."""

    def __init__(self, port: Port, baud: int) -> None:
        self._port = port
        self.to_board, self.from_board = _Lane(baud), _Lane(baud)

    def write(self, data: bytes) -> None:
        self.to_board.put(data, time.monotonic())
        self._hand_on()

    def read(self, timeout_s: float) -> bytes:
        until_s = time.monotonic() + timeout_s
        while True:
            self._hand_on()
            now_s = time.monotonic()
            if data := self.from_board.take(now_s):
                return data
            if now_s >= until_s:
                return b""
            wake_s = min(until_s, self.to_board.next_s, self.from_board.next_s)
            self.from_board.put(self._port.read(max(0.0, wake_s - now_s)), time.monotonic())

    def set_baud(self, baud: int) -> None:
        """The rate stays: it is the line's, not the port's."""

    def _hand_on(self) -> None:
        if data := self.to_board.take(time.monotonic()):
            self._port.write(data)
