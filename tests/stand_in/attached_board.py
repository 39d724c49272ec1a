"""Stands in for an attached board: a pseudo-terminal with modem lines, a reset circuit, a ROM loader.

EN and IO0 follow DTR and RTS as on Espressif's development boards, or as in the chips' own
USB-Serial-JTAG. Out of reset with IO0 low the ROM loader answers; with IO0 high the flash boots:
`boot` says what the flash content means, an emulator's ELF or a text the chip prints before it
restarts. Not silicon; see rom_loader.py.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import select
import shutil
import socket
import struct
import subprocess
import tempfile
import termios
import threading
import time
import tty
from collections.abc import Callable
from pathlib import Path

from harness.boards.base import Board, Port
from harness.boards.qemu import QemuBoard
from harness.errors import PortError
from tests.stand_in.rom_loader import Flash, RomLoader

BLANK = b"invalid header: 0xffffffff\r\n"
RESTART_S = 0.05
# EN has a capacitor: boot mode is sampled a moment after the line lets it go.
_EN_RISE_S = 0.003
_UNREAD_S = 2.0
_RESET_CAUSE = {True: b"rst:0x7 (TG0WDT_SYS_RST)", False: b"rst:0x1 (POWERON)"}

Boot = Callable[[bytes], Path | bytes]
"""From the flash content to the ELF that runs it, or to what the chip prints before it restarts."""


class AttachedBoard:
    """A context manager; `path` is the port, `environment` what processes need to see its modem lines.

    Once so many bytes have been written to flash, `unplug_after` pulls the cable and
    `brown_out_after` restarts the chip. `native_usb` is the USB-Serial-JTAG of the newer chips
    instead of a bridge and two transistors.
    """

    def __init__(
        self,
        chip: str,
        boot: Boot,
        *,
        mac: str = "7c:df:a1:00:11:22",
        flash: Flash | None = None,
        unplug_after: int | None = None,
        brown_out_after: int | None = None,
        native_usb: bool = False,
    ) -> None:
        self.chip, self.boot, self.unplug_after, self.native_usb = chip, boot, unplug_after, native_usb
        self.flash = flash or Flash(4 << 20)
        self.loader = RomLoader(chip, mac, self.flash, self._bite)
        self.boots = 0
        self._brown_out_after = brown_out_after
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        self._lines = socket.socket(socket.AF_UNIX)
        self._lines_at = _directory() / Path(self.path).name
        self._lines.bind(str(self._lines_at))
        self._lines.listen(8)
        # The same for every board of this process, so that several can be attached.
        self.environment = {"LD_PRELOAD": str(modem_lines()), "MODEM_LINES": str(_directory())}
        self._bits = 0
        self._download = self._restarted = self._download_asked = self._download_at_reset = False
        self._due_s: float | None = None
        self._board: Board | None = None
        self._app: Port | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> AttachedBoard:
        self._restart_in(0)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()
        self._lines_at.unlink()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while not self._stop.is_set() and not self._unplugged():
                self._step()
        self._power_off()
        self._lines.close()
        os.close(self._master)
        os.close(self._slave)

    def _unplugged(self) -> bool:
        return self.unplug_after is not None and self.flash.written_bytes >= self.unplug_after

    def _step(self) -> None:
        ready, _, _ = select.select([self._master, self._lines], [], [], 0.002)
        # In the order of a chip, also where this thread comes late: the straps are read before they change.
        if self._due_s is not None and time.monotonic() >= self._due_s:
            self._due_s = None
            self._come_up()
        if self._lines in ready:
            self._set_lines()
        if self._master in ready:
            data = os.read(self._master, 65536)
            if self._download:
                self._say(self.loader.feed(data))
                self._brown_out()
            elif self._app is not None:
                self._app.write(data)
        if self._app is not None:
            with contextlib.suppress(PortError):
                self._say(self._app.read(0))

    def _brown_out(self) -> None:
        if self._brown_out_after is not None and self.flash.written_bytes >= self._brown_out_after:
            self._brown_out_after = None
            self._download = False
            self._restart_in(0)

    def _set_lines(self) -> None:
        connection, _ = self._lines.accept()
        with connection:
            request, bits = struct.unpack("II", connection.recv(8))
            before = self._in_reset
            if request == termios.TIOCMSET:
                self._bits = bits
            elif request == termios.TIOCMBIS:
                self._bits |= bits
            elif request == termios.TIOCMBIC:
                self._bits &= ~bits
            connection.sendall(struct.pack("I", self._bits))
        if self.native_usb and not self._in_reset:
            # Both lines up change nothing: a host may pass through that state.
            both = termios.TIOCM_RTS | termios.TIOCM_DTR
            self._download_asked = self._io0_low or (self._download_asked and self._bits & both == both)
        if self._in_reset:
            self._power_off()
            self._download_at_reset = self._download_asked
        elif before:
            self._restarted = False
            self._restart_in(_EN_RISE_S)

    @property
    def _in_reset(self) -> bool:
        return self._bits & (termios.TIOCM_RTS | termios.TIOCM_DTR) == termios.TIOCM_RTS

    @property
    def _io0_low(self) -> bool:
        return self._bits & (termios.TIOCM_RTS | termios.TIOCM_DTR) == termios.TIOCM_DTR

    def _bite(self) -> None:
        """The watchdog esptool armed: the chip restarts, straps as they are."""
        self._restart_in(RESTART_S)

    def _restart_in(self, seconds: float) -> None:
        self._due_s = time.monotonic() + seconds

    def _come_up(self) -> None:
        self._power_off()
        self._download = self._download_at_reset if self.native_usb else self._io0_low
        if self._download:
            self.loader.restart()
            self._say(b"rst:0x1 (POWERON),boot:0x4 (DOWNLOAD(USB/UART0))\r\nwaiting for download\r\n")
            return
        self.boots += 1
        self._say(_RESET_CAUSE[self._restarted] + b",boot:0xc (SPI_FAST_FLASH_BOOT)\r\n")
        meaning = self.boot(bytes(self.flash.content))
        if isinstance(meaning, bytes):
            self._say(meaning)
            self._restarted = True
            self._restart_in(RESTART_S)
        else:
            platform = "qemu_xtensa" if self.chip in ("esp32", "esp32s2", "esp32s3") else "qemu_riscv32"
            self._board = QemuBoard(self.chip, platform, meaning)
            self._app = self._board.open()

    def _power_off(self) -> None:
        self._due_s, self._download = None, False
        if self._board is not None:
            self._board.close()
        self._board = self._app = None

    def _say(self, data: bytes) -> None:
        """As a UART does, it does not wait for a reader for ever: what finds no room is lost."""
        give_up_s = time.monotonic() + _UNREAD_S
        view = memoryview(data)
        while view and time.monotonic() < give_up_s and not self._stop.is_set():
            if select.select([], [self._master], [], 0.05)[1]:
                with contextlib.suppress(BlockingIOError):
                    view = view[os.write(self._master, view) :]


@functools.cache
def _directory() -> Path:
    directory = tempfile.mkdtemp(prefix="lines-", dir="/tmp")  # a socket's name must be short
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return Path(directory)


@functools.cache
def modem_lines() -> Path:
    """The library of modem_lines.c, built once per user and version of the source."""
    source = Path(__file__).with_name("modem_lines.c")
    built = Path(tempfile.gettempdir()) / f"modem_lines-{os.getuid()}-{source.stat().st_mtime_ns}.so"
    if not built.exists():
        beside = built.with_suffix(f".{os.getpid()}")
        command = [
            "gcc",
            "-std=c99",
            "-O1",
            "-Wall",
            "-Wextra",
            "-Wconversion",
            "-Werror",
            "-shared",
            "-fPIC",
        ]
        subprocess.run([*command, str(source), "-o", str(beside), "-ldl"], check=True)
        beside.rename(built)
    return built
