"""A board on a serial port: a device path, rfc2217:// or socket://.

What is on it is for the link's IDENTIFY to say, and so is the board's fidelity: a port cannot know
what is behind it. Flashing is stock esptool's work; `harness.flashing` decides what is flashed.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import serial

from harness.boards.base import UNKNOWN_FIDELITY, Board, BoardInfo, Port
from harness.boards.esptool import Esptool
from harness.boards.port_faults import check_not_shared, port_holders, why_not_opened
from harness.boards.socket_port import SocketPort
from harness.errors import PortError, UsageError
from harness.progress import Progress
from harness.toolchains.flash_image import FlashImage, FlashPart

DEFAULT_BAUD = 115200
_READ_BYTES = 65536
_CONNECT_TIMEOUT_S = 5.0
_WRITE_TIMEOUT_S = 10.0
_RESET_PULSE_S = 0.1
_REAPPEAR_S = 5.0
# One read of a port without a descriptor; a byte that arrives ends it at once.
_SLICE_S = 0.05


class SerialBoard(Board):
    """One board on one port. `fidelity` narrows what its firmware may say of itself."""

    def __init__(
        self,
        target: str,
        port: str,
        baud: int | None = None,
        fidelity: str = UNKNOWN_FIDELITY,
        reset: str = "dtr-rts",
    ) -> None:
        """
        Args:
            port: a device path, `socket://HOST:PORT` or `rfc2217://HOST:PORT`.
            baud: bits per second; 115200 when None.
            fidelity: `silicon` refuses a device that says it is emulated.
            reset: how the chip is restarted, a key of `esptool.RESETS`.
        """
        self._name = port
        self._reset = reset
        self._baud = baud or DEFAULT_BAUD
        self._port: SerialPort | SocketPort | None = None
        self.info = BoardInfo(
            name=port, target=target, kind="serial", fidelity=fidelity, details={"baud": str(self._baud)}
        )

    def open(self) -> Port:
        """Opens the port and restarts the board if its reset line is wired.

        Raises:
            PortError: absent, busy, not permitted or not reachable; says which, and what to do.
            UsageError: not a port's name.
        """
        self.close()
        scheme = urlsplit(self._name).scheme
        if scheme == "socket":
            self._port = SocketPort(_connect(self._name), self._gone)
        elif scheme == "rfc2217":
            self._port = SerialPort(self._open_remote(), self._gone)
        elif scheme:
            raise UsageError(f"expected a device path, socket:// or rfc2217://, got {self._name}")
        else:
            self._port = SerialPort(self._open_device(), self._gone)
        self._pulse_reset()
        return self._port

    def reset(self) -> None:
        """Pulses the reset line (RTS). Raises PortError where there is none."""
        if self._port is None:
            raise PortError(f"{self._name} is not open")
        if not self._pulse_reset():
            raise PortError(f"{self._name} has no reset line", "Press the board's reset button")

    def close(self) -> None:
        if self._port:
            self._port.close()
        self._port = None

    def state(self) -> str:
        if self._port is None:
            return f"{self._name} is closed"
        holders = port_holders(self._name)
        others = f", also held by {', '.join(holders)}" if holders else ""
        return f"{self._name} is open at {self._baud} baud{others}"

    def flash(
        self,
        image: FlashImage,
        parts: Sequence[FlashPart],
        log: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Writes `parts` of `image` and restarts the chip; the port must not be open.

        Raises PortError, IdentityError and FlashError as `Esptool.write`.
        """
        self.close()
        chip = Esptool(self._name, reset=self._reset, log=log).write(image, parts, progress)
        found = {"chip": chip.description, "mac": chip.mac, "features": chip.features}
        self.info = replace(self.info, details={**self.info.details, **found})
        # A chip with USB of its own takes its port away while it restarts.
        give_up_s = time.monotonic() + _REAPPEAR_S
        while not urlsplit(self._name).scheme and not os.path.exists(self._name):
            if time.monotonic() > give_up_s:
                raise self._gone()
            time.sleep(_SLICE_S)

    def _pulse_reset(self) -> bool:
        if self._reset == "none":
            return False
        return isinstance(self._port, SerialPort) and self._port.pulse_reset()

    def _open_device(self) -> Any:
        check_not_shared(self._name)
        try:
            return serial.Serial(
                self._name, self._baud, timeout=0, write_timeout=_WRITE_TIMEOUT_S, exclusive=True
            )
        except (OSError, ValueError) as error:
            raise why_not_opened(self._name, error) from error

    def _open_remote(self) -> Any:
        try:
            # Every assignment to `timeout` negotiates anew (150 ms): it is set here, once.
            return serial.serial_for_url(self._name, self._baud, timeout=_SLICE_S)
        except (OSError, ValueError) as error:
            raise PortError(f"cannot reach {self._name}: {error}", "Check host, port and server") from error

    def _gone(self) -> PortError:
        return PortError(f"{self._name} is gone: unplugged, or its other end was closed", "Attach it again")


class SerialPort:
    """A `Port` over an open pyserial object."""

    def __init__(self, device: Any, on_end: Callable[[], PortError]) -> None:
        self._device = device
        self._on_end = on_end
        try:
            self._descriptor: int | None = device.fileno()
        except (AttributeError, OSError):
            self._descriptor = None

    def read(self, timeout_s: float) -> bytes:
        try:
            if self._descriptor is None:
                return self._read_in_slices(timeout_s)
            if not select.select([self._descriptor], [], [], max(0.0, timeout_s))[0]:
                return b""
            data = os.read(self._descriptor, _READ_BYTES)
        except (OSError, ValueError, TypeError) as error:
            raise self._on_end() from error
        if not data:
            raise self._on_end()
        return data

    def _read_in_slices(self, timeout_s: float) -> bytes:
        until_s = time.monotonic() + timeout_s
        while True:
            data: bytes = self._device.read(1)
            if data or time.monotonic() >= until_s:
                return data + self._device.read(self._device.in_waiting) if data else b""

    def write(self, data: bytes) -> None:
        try:
            self._device.write(data)
        except serial.SerialTimeoutException as error:
            raise PortError(f"the port took no bytes for {_WRITE_TIMEOUT_S:.0f} s") from error
        except (OSError, ValueError, TypeError) as error:
            raise self._on_end() from error

    def set_baud(self, baud: int) -> None:
        try:
            self._device.baudrate = baud
        except (OSError, ValueError) as error:
            raise PortError(f"the port cannot do {baud} baud: {error}", "Choose another --baud") from error

    def pulse_reset(self) -> bool:
        """Pulls EN low by RTS with IO0 left high, as esptool's hard reset; False without such lines."""
        try:
            self._device.dtr = False
            self._device.rts = True
            time.sleep(_RESET_PULSE_S)
            self._device.rts = False
        except OSError:
            return False
        return True

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._device.close()


def _connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    try:
        if not parts.hostname or not parts.port:
            raise UsageError(f"expected socket://HOST:PORT, got {url}")
        connection = socket.create_connection((parts.hostname, parts.port), _CONNECT_TIMEOUT_S)
    except ValueError as error:
        raise UsageError(f"expected socket://HOST:PORT, got {url}") from error
    except OSError as error:
        raise PortError(
            f"cannot reach {url}: {error.strerror or error}", "Check host, port and server"
        ) from error
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection
