"""Espressif's emulators as boards of fidelity `soc`: they emulate the chip and boot its flash image.

`esp_qemu` is Espressif's QEMU (esp32, esp32c3, esp32s3), `espemu` is esp-emu (esp32c3, esp32c6,
esp32h2, esp32p4). Image, eFuses and machine are those of pytest-embedded's services `qemu` and `espemu`; the
UART is our own channel, since theirs is read every 50 ms. Neither program can be installed by this project's
package managers; neither has been run with its firmware yet.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from harness.boards.base import Board, BoardInfo
from harness.boards.esptool import merge_parts
from harness.boards.process import BoardProcess
from harness.boards.qemu import QemuProcess, qemu_version
from harness.boards.socket_port import SocketPort
from harness.errors import BuildError, HarnessError, IdentityError, MissingError, PortError, UsageError
from harness.toolchains.flash_image import FlashImage

# A chip's eFuses as QEMU wants them: how many bytes, and the chip revision in them. Left at zero, the
# chip would be revision 0.0, which ESP-IDF's start-up code refuses.
_EFUSES: dict[str, tuple[int, Mapping[int, int]]] = {
    "esp32": (124, {13: 0x80, 22: 0x10}),
    "esp32c3": (1024, {38: 0x0C}),
    "esp32s3": (1024, {38: 0x0C}),
}
ESP_QEMU_TARGETS = tuple(_EFUSES)
ESPEMU_TARGETS = ("esp32c3", "esp32c6", "esp32h2", "esp32p4")
_ESPEMU = "esp-emu"
_START_TIMEOUT_S = 10.0
_CONNECT_STEP_S = 0.02
_QEMU_FLASH_BYTES = (2 << 20, 4 << 20, 8 << 20, 16 << 20)
ESP_QEMU_REMEDY = (
    "python $IDF_PATH/tools/idf_tools.py install qemu-xtensa qemu-riscv32 && . $IDF_PATH/export.sh"
)
_OTHERWISE = "Leave --board out: the best board or emulator that is here is taken"
ESP_EMU_REMEDY = "see https://github.com/espressif/esp-emulator"


class _FlashImageBoard(Board):
    """What both have in common: the image is the chip's own, so it cannot know that it is emulated."""

    def identified(self, identity: Mapping[str, str]) -> None:
        if identity["fidelity"] not in ("silicon", "soc"):
            raise IdentityError(
                f"expected a chip's firmware on {self.info.name}, its fidelity is {identity['fidelity']}",
                "Build the image for the chip",
            )


class EspQemuBoard(QemuProcess, _FlashImageBoard):
    """Espressif's QEMU on a copy of the flash image, padded to the flash's size, with eFuses beside it."""

    def __init__(self, target: str, image: FlashImage) -> None:
        """
        Raises:
            UsageError: it has no such machine.
            MissingError: no QEMU on PATH knows the chip.
        """
        self._program = str(require_esp_qemu(target))
        self._image = image
        super().__init__(
            BoardInfo(
                name=f"esp_qemu-{target}",
                target=target,
                kind="esp_qemu",
                fidelity="soc",
                details={"emulator": qemu_version(self._program), "command": f"{self._program} -M {target}"},
            )
        )

    def _command(self, directory: Path) -> list[str]:
        flash, efuses = directory / "flash.bin", directory / "efuse.bin"
        merge(self._image, flash, pad=True)
        target = self.info.target
        efuses.write_bytes(default_efuses(target))
        # No strap_mode: QEMU's own value boots from flash, pytest-embedded's waits for a download.
        return [
            *(self._program, "-M", target, "-drive", f"file={flash},if=mtd,format=raw"),
            *("-drive", f"file={efuses},if=none,format=raw,id=efuse"),
            *("-global", f"driver=nvram.{target}.efuse,property=drive,value=efuse"),
        ]


class EspEmuBoard(_FlashImageBoard):
    """esp-emu with UART0 on a TCP port: from its standard input it passes on whole lines of text, and frames
    are bytes. It has no reset: it is started again.
    """

    def __init__(self, target: str, image: FlashImage) -> None:
        """Raises UsageError for a chip it does not know, MissingError when it is not installed."""
        program = str(require_espemu(target))
        self._program, self._image = program, image
        self._directory: Path | None = None
        self._process: BoardProcess | None = None
        self._port: SocketPort | None = None
        self.info = BoardInfo(
            name=f"espemu-{target}",
            target=target,
            kind="espemu",
            fidelity="soc",
            details={"command": f"{program} --chip {target}"},
        )

    def open(self) -> SocketPort:
        """Raises BuildError when the image cannot be merged, PortError when esp-emu does not start."""
        self.close()
        self._directory = Path(tempfile.mkdtemp(prefix="espemu-"))
        try:
            merge(self._image, self._directory / "flash.bin", pad=False)
            self._port = SocketPort(self._start(), self._death)
        except HarnessError:
            self.close()
            raise
        return self._port

    def reset(self) -> None:
        if self._port is None:
            raise PortError("the board is not open")
        if self._process:
            self._process.end()
        self._port.replace(self._start())

    def close(self) -> None:
        if self._port:
            self._port.close()
        if self._process:
            self._process.end()
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)
        self._port = self._process = self._directory = None

    def state(self) -> str:
        return self._process.state() if self._process else "esp-emu is not started"

    def _start(self) -> socket.socket:
        assert self._directory
        with socket.create_server(("127.0.0.1", 0)) as free:
            address: tuple[str, int] = free.getsockname()
        firmware = str(self._directory / "flash.bin")
        command = [self._program, "--chip", self.info.target, "--firmware", firmware]
        self._process = BoardProcess([*command, "--uart-tcp", f"{address[0]}:{address[1]}"])
        give_up_s = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < give_up_s:
            if (connection := _connected(address)) is not None:
                return connection
            if self._process.wait(_CONNECT_STEP_S):
                raise PortError(f"esp-emu ended at its start: {self._process.state()}")
        raise PortError(
            f"esp-emu did not open 127.0.0.1:{address[1]} within {_START_TIMEOUT_S:.0f} s",
            "Update it: esp-emu update (it must know --uart-tcp)",
        )

    def _death(self) -> PortError:
        return self._process.death() if self._process else PortError("the board is closed")


def _connected(address: tuple[str, int]) -> socket.socket | None:
    """A connection to `address`; None while nothing listens there."""
    try:
        connection = socket.create_connection(address, _START_TIMEOUT_S)
    except ConnectionRefusedError:
        return None
    if connection.getsockname() == connection.getpeername():
        # Both ports are of the kernel's choosing: a socket can meet itself.
        connection.close()
        return None
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def find_esp_qemu(target: str) -> Path | None:
    """The first QEMU on PATH that has the chip as a machine; a distribution's own QEMU has not."""
    name = "qemu-system-xtensa" if target in ("esp32", "esp32s3") else "qemu-system-riscv32"
    for directory in os.get_exec_path():
        program = Path(directory) / name
        if os.access(program, os.X_OK) and target in qemu_machines(str(program)):
            return program
    return None


def find_espemu(target: str) -> Path | None:
    """esp-emu, if it is on PATH and knows the chip."""
    program = shutil.which(_ESPEMU)
    return Path(program) if program and target in ESPEMU_TARGETS else None


def require_espemu(target: str) -> Path:
    """Raises UsageError for a chip it does not know, MissingError when it is not on PATH."""
    if target not in ESPEMU_TARGETS:
        raise UsageError(f"esp-emu emulates {', '.join(ESPEMU_TARGETS)}, not {target}", _OTHERWISE)
    program = find_espemu(target)
    if program is None:
        raise MissingError(f"{_ESPEMU} is not on PATH", f"Install it: {ESP_EMU_REMEDY}")
    return program


def require_esp_qemu(target: str) -> Path:
    """Raises UsageError for a chip Espressif's QEMU does not know, MissingError when it is not on PATH."""
    if target not in ESP_QEMU_TARGETS:
        raise UsageError(f"Espressif's QEMU emulates {', '.join(ESP_QEMU_TARGETS)}, not {target}", _OTHERWISE)
    program = find_esp_qemu(target)
    if program is None:
        raise MissingError(
            f"no QEMU on PATH has a machine {target}: Espressif's QEMU is not installed",
            f"Run: {ESP_QEMU_REMEDY}",
        )
    return program


@cache
def qemu_machines(program: str) -> tuple[str, ...]:
    """Names of the machines a QEMU has; none when it cannot be run."""
    try:
        listed = subprocess.run(
            [program, "-machine", "help"], capture_output=True, text=True, timeout=30, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(line.split()[0] for line in listed.splitlines()[1:] if line.strip())


def default_efuses(target: str) -> bytes:
    """eFuses of a chip as it leaves the factory, with a revision that ESP-IDF starts on."""
    size_bytes, values = _EFUSES[target]
    efuses = bytearray(size_bytes)
    for position, value in values.items():
        efuses[position] = value
    return bytes(efuses)


def merge(image: FlashImage, out: Path, *, pad: bool) -> None:
    """All parts of the image in one file; `pad` fills up to the flash's size, as QEMU wants it.

    Raises:
        BuildError: parts overlap or do not fit, or no flash of such a size can be emulated.
    """
    if pad and image.flash_bytes not in _QEMU_FLASH_BYTES:
        sizes = ", ".join(str(size >> 20) for size in _QEMU_FLASH_BYTES)
        raise BuildError(
            f"Espressif's QEMU has flashes of {sizes} MB, the image is for {image.flash_bytes >> 10} KB",
            "Build for one of these, e.g. --flash-size 16MB",
        )
    merge_parts(image, out, pad_to=f"{image.flash_bytes >> 20}MB" if pad else None)
