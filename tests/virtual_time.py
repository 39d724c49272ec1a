"""Time that passes only where it is waited for: what a link takes is then the same under any load."""

from __future__ import annotations

from harness.boards.base import Port


class VirtualTime:
    """In place of the module `time`."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def monotonic_ns(self) -> int:
        return int(self.now_s * 1e9)

    def time_ns(self) -> int:
        return 0


class VirtualPort:
    """A device that answers at once, waited for in virtual time; who waits is late by `late_s`."""

    def __init__(self, time: VirtualTime, device: Port, late_s: float = 0.0) -> None:
        self._time, self._device, self._late_s = time, device, late_s

    def read(self, timeout_s: float) -> bytes:
        if data := self._device.read(0.0):
            return data
        # A microsecond at least: without it, waiting for less than the clock shows never ends.
        self._time.now_s += max(timeout_s, 1e-6) + self._late_s
        return b""

    def write(self, data: bytes) -> None:
        self._device.write(data)

    def set_baud(self, baud: int) -> None: ...
