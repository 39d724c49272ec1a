"""QEMU as a board: how its process is started, watched and reset; and upstream QEMU, fidelity `isa`.

Upstream QEMU runs the ELF on another machine with the target's instruction set, and its only figure
is the number of instructions. `-icount` is always on: without it its counters are the host's clock.
Espressif's QEMU, which emulates the chip, is in `esp_emulators`.
"""

from __future__ import annotations

import re
import shutil
import socket
import tempfile
import time
from abc import abstractmethod
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from subprocess import run

from harness.boards.base import Board, BoardInfo
from harness.boards.process import BoardProcess
from harness.boards.qmp import Qmp
from harness.boards.socket_port import SocketPort
from harness.errors import PortError, UsageError
from harness.toolchains.programs import require_program

_START_TIMEOUT_S = 10.0
_ACCEPT_STEP_S = 0.02
_END_TIMEOUT_S = 1.0


@dataclass(frozen=True)
class Machine:
    """A QEMU machine: its program and the arguments that choose it."""

    program: str
    arguments: tuple[str, ...]


# icount shift: the one at which the machine's counter resolves single instructions.
MACHINES = {
    "qemu_riscv32": Machine(
        "qemu-system-riscv32",
        ("-M", "virt", "-cpu", "lowrisc-ibex", "-m", "32M", "-bios", "none", "-icount", "shift=0"),
    ),
    "qemu_xtensa": Machine(
        "qemu-system-xtensa",
        ("-M", "lx60-nommu", "-cpu", "de212", "-icount", "shift=7"),
    ),
}


class QemuProcess(Board):
    """One QEMU process. `open` starts it anew; the guest runs only when its UART has a listener."""

    def __init__(self, info: BoardInfo) -> None:
        self.info = info
        self._process: BoardProcess | None = None
        self._qmp: Qmp | None = None
        self._port: SocketPort | None = None
        self._started = False

    @abstractmethod
    def _command(self, directory: Path) -> list[str]:
        """Program and arguments that choose machine and firmware.

        `directory` is for files that QEMU opens at its start; it goes as soon as QEMU runs.
        """

    def open(self) -> SocketPort:
        """Starts QEMU on its firmware.

        Raises:
            PortError: no firmware, or QEMU ended at once; carries what it said.
        """
        self.close()
        # QEMU connects to us, so that no byte is lost before anyone listens. The directory may
        # go as soon as it has: a connected socket needs no name. /tmp, as a socket's name must be short.
        directory = Path(tempfile.mkdtemp(prefix="qemu-", dir="/tmp"))
        try:
            return self._start(directory)
        except PortError:
            # What QEMU said before it ended tells more than that its sockets are closed.
            if self._process is not None and self._process.wait(_END_TIMEOUT_S):
                raise PortError(f"QEMU ended at its start: {self._process.state()}") from None
            raise
        finally:
            shutil.rmtree(directory, ignore_errors=True)
            if not self._started:
                self.close()

    def _start(self, directory: Path) -> SocketPort:
        command = self._command(directory)
        with _listener(directory / "uart") as uart, _listener(directory / "qmp") as monitor:
            self._process = BoardProcess(
                [
                    *command,
                    *("-display", "none", "-monitor", "none", "-S"),
                    *("-chardev", f"socket,id=uart,path={directory}/uart", "-serial", "chardev:uart"),
                    *("-qmp", f"unix:{directory}/qmp"),
                ]
            )
            self._port = SocketPort(self._accept(uart), self._process.death)
            self._qmp = Qmp(self._accept(monitor))
        self._qmp.execute("cont")
        self._started = True
        return self._port

    def reset(self) -> None:
        """The machine's reset; it loads the ELF again."""
        qmp = self._running()
        qmp.execute("system_reset")
        qmp.execute("cont")

    def close(self) -> None:
        if self._port:
            self._port.close()
        if self._qmp:
            self._qmp.close()
        if self._process:
            self._process.end()
        self._port = self._qmp = self._process = None
        self._started = False

    def state(self) -> str:
        if self._process is None:
            return "QEMU is not started"
        if not self._process.running or self._qmp is None:
            return self._process.state()
        try:
            status = self._qmp.execute("query-status")["status"]
            registers = self._qmp.execute("human-monitor-command", **{"command-line": "info registers"})
        except PortError:
            return self._process.state()
        counter = re.search(r"\bpc[ =]+([0-9a-f]+)", registers, re.IGNORECASE)
        return f"QEMU is {status}" + (f" at pc 0x{counter[1]}" if counter else "")

    @property
    def pid(self) -> int | None:
        """QEMU's process id while it runs."""
        return self._process.pid if self._process else None

    def _running(self) -> Qmp:
        if self._qmp is None:
            raise PortError("the board is not open")
        return self._qmp

    def _accept(self, listener: socket.socket) -> socket.socket:
        assert self._process is not None
        give_up_s = time.monotonic() + _START_TIMEOUT_S
        listener.settimeout(_ACCEPT_STEP_S)
        while True:
            try:
                return listener.accept()[0]
            except TimeoutError:
                if not self._process.running:
                    raise PortError("QEMU did not connect") from None
                if time.monotonic() > give_up_s:
                    raise PortError(f"QEMU did not connect within {_START_TIMEOUT_S:.0f} s") from None


class QemuBoard(QemuProcess):
    """Upstream QEMU on an ELF."""

    def __init__(self, target: str, platform: str, elf: Path) -> None:
        """
        Args:
            target: the chip whose place it takes, such as esp32c3.
            platform: the firmware platform the ELF was built for, a key of `MACHINES`.

        Raises:
            UsageError: no machine for this platform.
            MissingError: QEMU is not installed.
        """
        if platform not in MACHINES:
            raise UsageError(f"expected a platform of {', '.join(MACHINES)}, got {platform!r}")
        self._machine = MACHINES[platform]
        self._program = str(require_program(self._machine.program))
        self._elf = elf
        super().__init__(
            BoardInfo(
                name=f"{platform}-{target}",
                target=target,
                kind="qemu",
                fidelity="isa",
                details={
                    "emulator": qemu_version(self._program),
                    "command": " ".join((self._machine.program, *self._machine.arguments)),
                },
            )
        )

    def _command(self, directory: Path) -> list[str]:  # noqa: ARG002 - it opens no other file
        if not self._elf.is_file():
            raise PortError(f"no firmware at {self._elf}", "Build it first")
        return [self._program, *self._machine.arguments, "-kernel", str(self._elf)]


def _listener(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(1)
    return listener


@cache
def qemu_version(program: str) -> str:
    """QEMU's own version line, for the record."""
    output = run([program, "--version"], capture_output=True, text=True, timeout=30, check=False).stdout
    return output.partition("\n")[0].removeprefix("QEMU emulator version ").strip() or "unknown"
