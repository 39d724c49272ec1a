"""A `Port` over a connected socket: what emulators, native firmware and `socket://` have in common."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable

from harness.errors import PortError

_WRITE_TIMEOUT_S = 10.0
_READ_BYTES = 65536


class SocketPort:
    """Bytes over `connection`; `on_end` makes the error to raise when the other side is gone."""

    def __init__(self, connection: socket.socket, on_end: Callable[[], PortError]) -> None:
        self._on_end = on_end
        self._connection = connection
        self.replace(connection)

    def replace(self, connection: socket.socket) -> None:
        """Goes on over another connection, as after a restart of the process behind it."""
        if connection is not self._connection:
            self._connection.close()
        connection.setblocking(False)
        self._connection = connection
        self._arrived = bytearray()

    def read(self, timeout_s: float) -> bytes:
        if self._arrived:
            data, self._arrived = bytes(self._arrived), bytearray()
            return data
        try:
            if not select.select([self._connection], [], [], max(0.0, timeout_s))[0]:
                return b""
            data = self._connection.recv(_READ_BYTES)
        except (OSError, ValueError) as error:
            raise self._on_end() from error
        if not data:
            raise self._on_end()
        return data

    def write(self, data: bytes) -> None:
        # An emulated UART sends byte by byte, and a few hundred unread bytes fill a unix socket
        # (each takes a buffer of its own). It then takes nothing more: so read while writing.
        view, give_up_s = memoryview(data), time.monotonic() + _WRITE_TIMEOUT_S
        while view:
            left_s = give_up_s - time.monotonic()
            if left_s <= 0:
                raise PortError(
                    f"the board took no bytes for {_WRITE_TIMEOUT_S:.0f} s ({len(view)} left to send)"
                )
            try:
                view = view[self._connection.send(view) :]
            except BlockingIOError:
                self._wait_for_room(left_s)
            except (OSError, ValueError) as error:
                raise self._on_end() from error

    def _wait_for_room(self, timeout_s: float) -> None:
        try:
            readable, writable, _ = select.select([self._connection], [self._connection], [], timeout_s)
            if readable and not writable:
                self._arrived += self._connection.recv(_READ_BYTES) or self._ended()
        except (OSError, ValueError) as error:
            raise self._on_end() from error

    def _ended(self) -> bytes:
        raise self._on_end()

    def set_baud(self, baud: int) -> None:
        """A socket has no baud rate."""

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.close()
