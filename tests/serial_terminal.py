"""A device behind a pseudo-terminal, for tests of what is attached to a serial port."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import tty
from collections.abc import Callable, Iterator

from harness.boards.base import Port
from harness.errors import PortError


class Bridge:
    """Carries bytes between a device's port and one descriptor, until either end is closed."""

    def __init__(
        self,
        device: Port,
        descriptor: int,
        to_device: Callable[[bytes], bytes] = bytes,
        to_host: Callable[[bytes], bytes] = bytes,
    ) -> None:
        self._device, self._descriptor = device, descriptor
        self._to_device, self._to_host = to_device, to_host
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with contextlib.suppress(OSError, PortError):
            while not self._stop.is_set():
                if select.select([self._descriptor], [], [], 0)[0]:
                    self._device.write(self._to_device(os.read(self._descriptor, 65536)))
                if data := self._device.read(0.002):
                    view = memoryview(self._to_host(data))
                    while view:
                        view = view[os.write(self._descriptor, view) :]


class Terminal:
    """A device behind a pseudo-terminal whose slave is `path`."""

    def __init__(self, device: Port) -> None:
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self._bridge = Bridge(device, self._master)

    def unplug(self) -> None:
        if self._master >= 0:
            self._bridge.close()
            os.close(self._master)
            os.close(self._slave)
            self._master = -1


@contextlib.contextmanager
def terminal_of(device: Port) -> Iterator[Terminal]:
    terminal = Terminal(device)
    try:
        yield terminal
    finally:
        terminal.unplug()
