"""A board on a serial port: QEMU behind a pseudo-terminal, a TCP socket and an RFC 2217 server."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import serial
import serial.rfc2217

from harness.boards.base import Port
from harness.boards.console_watch import ConsoleWatch
from harness.boards.port_faults import port_holders
from harness.boards.qemu import QemuBoard
from harness.boards.serial_port import SerialBoard
from harness.errors import IdentityError, PortError, SilentError, UsageError
from harness.link.client import Link
from harness.toolchains.base import Image
from tests.firmware_demo import build_demo, demo_layers
from tests.link_devices import ARTIFACT, PythonDevice, demo_inputs
from tests.serial_terminal import Bridge, Terminal, terminal_of


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return build_demo("qemu_riscv32", tmp_path_factory.mktemp("images"))


@pytest.fixture
def qemu(image: Image) -> Iterator[Port]:
    with QemuBoard("esp32c3", "qemu_riscv32", image.elf) as port:
        yield port


@pytest.fixture
def terminal(qemu: Port) -> Iterator[Terminal]:
    terminal = Terminal(qemu)
    yield terminal
    terminal.unplug()


def check_inferences(link: Link, count: int = 100) -> None:
    inputs = demo_inputs(count)
    got = [reply.output for reply in link.infer_stream(inputs)]
    assert got == [demo_layers(data)[2] for data in inputs]


def test_inference_and_fidelity_over_a_terminal(terminal: Terminal) -> None:
    board = SerialBoard("esp32c3", terminal.path, 921600)
    with board as port:
        link = Link(port)
        link.connect()
        check_inferences(link)
        assert board.info.fidelity == "unknown"
        board.identified(link.identify().values)
        assert board.info.fidelity == "isa"
        assert board.state() == f"{terminal.path} is open at 921600 baud"
        with pytest.raises(PortError, match=r"no reset line.*reset button"):
            board.reset()
    assert board.state() == f"{terminal.path} is closed"


def test_asked_for_silicon_an_emulator_is_refused(terminal: Terminal) -> None:
    board = SerialBoard("esp32c3", terminal.path, fidelity="silicon")
    with board as port:
        link = Link(port)
        link.connect()
        with pytest.raises(IdentityError, match=r"expected a board of fidelity silicon .* says isa"):
            board.identified(link.identify().values)


def test_a_busy_port_names_its_holder(terminal: Terminal) -> None:
    script = "import serial, sys; p = serial.Serial(sys.argv[1], exclusive=True); print('open', flush=True)"
    script += "; input()"
    with subprocess.Popen(
        [sys.executable, "-c", script, terminal.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout
        assert holder.stdin
        assert holder.stdout.readline() == b"open\n"
        assert port_holders(terminal.path) == [
            f"pid {holder.pid} ({Path('/proc', str(holder.pid), 'comm').read_text().strip()})"
        ]
        with pytest.raises(PortError, match=rf"{terminal.path} is busy, held by pid {holder.pid} \("):
            SerialBoard("esp32c3", terminal.path).open()
        holder.stdin.write(b"\n")
    with SerialBoard("esp32c3", terminal.path) as port:
        Link(port).connect()


def test_a_port_that_goes_in_mid_run(terminal: Terminal) -> None:
    with SerialBoard("esp32c3", terminal.path) as port:
        link = Link(port)
        link.connect()
        stream = link.infer_stream(demo_inputs(500))
        next(stream)
        terminal.unplug()
        with pytest.raises(PortError, match=rf"{terminal.path} is gone: unplugged"):
            list(stream)


def test_ports_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(PortError, match=r"no such port: /dev/ttyNONE \(ports here: .*change --port"):
        SerialBoard("esp32c3", "/dev/ttyNONE").open()
    regular = tmp_path / "file"
    regular.touch()
    with pytest.raises(PortError, match=r"/file is no serial port: .*Give its device to --port"):
        SerialBoard("esp32c3", str(regular)).open()
    with pytest.raises(UsageError, match="expected a device path, socket:// or rfc2217://"):
        SerialBoard("esp32c3", "http://farm/1").open()
    with pytest.raises(UsageError, match="expected socket://HOST:PORT"):
        SerialBoard("esp32c3", "socket://farm").open()


def test_no_permission(monkeypatch: pytest.MonkeyPatch, terminal: Terminal) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", terminal.path)

    # root may open anything: only the system's refusal is played.
    monkeypatch.setattr(serial, "Serial", refuse)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PortError, match=r"no permission for .*Run: .*(udev|usermod -aG)"):
        SerialBoard("esp32c3", terminal.path).open()


class LoaderStub(PythonDevice):
    """A chip in download mode: it says so to whatever it hears, and nothing else."""

    def write(self, _: bytes) -> None:
        self.say(b"waiting for download\r\n")


def test_a_silent_board_shows_what_it_says_instead() -> None:
    with terminal_of(LoaderStub(mute=True)) as terminal:
        board = SerialBoard("esp32c3", terminal.path)
        said = r"(?s)HELLO.*waits in its ROM loader: let go of BOOT.*\| waiting for download"
        with board as port, pytest.raises(SilentError, match=said):
            Link(port, board_state=board.state, watch=ConsoleWatch()).connect(0.5)


def test_a_board_with_another_model_and_a_garbled_banner() -> None:
    banner = bytes(range(256)) + b"ESP-ROM:esp32c3-api1\r\n"
    device = PythonDevice(artifact="cd" * 32, banner=banner)
    with terminal_of(device) as terminal, SerialBoard("esp32c3", terminal.path) as port:
        link = Link(port)
        link.connect()
        with pytest.raises(IdentityError, match=r"the device runs demo \(artifact cdcdcdcdcdcdcdcd\)"):
            link.expect_identity(artifact=ARTIFACT, model="mnist_mlp")


@contextlib.contextmanager
def served(serve: Callable[[socket.socket], Bridge]) -> Iterator[int]:
    """One TCP connection, bridged by `serve`; gives the port number."""
    bridges: list[Bridge] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with contextlib.suppress(OSError):
                connections.append(server.accept()[0])
                bridges.append(serve(connections[0]))

        connections: list[socket.socket] = []
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for bridge in bridges:
                bridge.close()
            for connection in connections:
                connection.close()


def test_over_a_socket(qemu: Port) -> None:
    with (
        served(lambda connection: Bridge(qemu, connection.fileno())) as number,
        SerialBoard("esp32c3", f"socket://127.0.0.1:{number}") as port,
    ):
        link = Link(port)
        link.connect()
        check_inferences(link)
    with pytest.raises(PortError, match=f"cannot reach socket://127.0.0.1:{number}: Connection refused"):
        SerialBoard("esp32c3", f"socket://127.0.0.1:{number}").open()


class Lines:
    """What the RFC 2217 server sees of a serial port: settings and modem lines."""

    baudrate, bytesize, parity, stopbits = 115200, 8, "N", 1
    xonxoff = rtscts = dsrdtr = break_condition = False
    cts = dsr = cd = True
    ri = dtr = False

    def __init__(self, reset: Callable[[], None]) -> None:
        self._reset = reset
        self._rts = False

    @property
    def rts(self) -> bool:
        return self._rts

    @rts.setter
    def rts(self, value: bool) -> None:
        if self._rts and not value:
            self._reset()
        self._rts = value

    def reset_input_buffer(self) -> None: ...

    def reset_output_buffer(self) -> None: ...


def test_over_rfc2217_with_reset_line(image: Image) -> None:
    qemu = QemuBoard("esp32c3", "qemu_riscv32", image.elf)
    with qemu as device:
        resets: list[int] = []

        def reset() -> None:
            resets.append(1)
            qemu.reset()

        def serve(connection: socket.socket) -> Bridge:
            class Writer:
                def write(self, data: bytes) -> None:
                    connection.sendall(data)

            manager = serial.rfc2217.PortManager(Lines(reset), Writer())
            return Bridge(
                device,
                connection.fileno(),
                lambda data: b"".join(manager.filter(data)),
                lambda data: b"".join(manager.escape(data)),
            )

        with served(serve) as number:
            board = SerialBoard("esp32c3", f"rfc2217://127.0.0.1:{number}")
            with board as port:
                link = Link(port)
                assert link.connect().frames_seen <= 3
                at_open = len(resets)
                check_inferences(link, 30)
                board.reset()
                link.connect()
                assert len(resets) == at_open + 1 >= 2
                check_inferences(link, 30)
