"""A labgrid coordinator, an exporter and boards behind TCP ports, all real and on loopback."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.boards.base import Port
from harness.farm.labgrid import Coordinator, client_environment, find_client
from tests.serial_terminal import Bridge

START_S = 60.0
EXPORTER = "shelf"


class TcpBoard:
    """A device behind a TCP port, as a serial server offers it: one connection at a time."""

    def __init__(self, device: Port) -> None:
        self._device = device
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        """The host of the server goes down: connections end, new ones are refused."""
        if not self._closed.is_set():
            self._closed.set()
            with contextlib.suppress(OSError):
                self._server.shutdown(socket.SHUT_RDWR)
            self._server.close()
            self._thread.join()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while not self._closed.is_set():
                connection, _ = self._server.accept()
                with connection:
                    bridge = Bridge(self._device, connection.fileno(), to_device=self._or_end)
                    while bridge.running and not self._closed.wait(0.01):
                        pass
                    bridge.close()

    @staticmethod
    def _or_end(data: bytes) -> bytes:
        if not data:
            raise ConnectionResetError
        return data


class Lab:
    """Coordinator and exporter; `coordinator` is how the harness names it."""

    def __init__(self, directory: Path, stack: contextlib.ExitStack) -> None:
        self._directory, self._stack = directory, stack
        self._programs = Path(find_client()).parent
        self._exporter: subprocess.Popen[bytes] | None = None
        port = free_port()
        self.coordinator = Coordinator(f"127.0.0.1:{port}")
        self._start("labgrid-coordinator", "--listen", self.coordinator.address)
        wait_until(lambda: answers(port), "the coordinator")

    def export(self, configuration: str) -> None:
        """Starts the exporter anew with these resources, and waits until the coordinator has them."""
        self.end_exporter()
        file = self._directory / "exporter.yaml"
        file.write_text(configuration)
        address = self.coordinator.address
        self._exporter = self._start(
            "labgrid-exporter", "-c", address, "-n", EXPORTER, "--hostname", "127.0.0.1", str(file)
        )
        wait_until(lambda: self.coordinator.run("resources") != "", "the exporter")

    def end_exporter(self) -> None:
        """Its host goes down: no farewell."""
        if self._exporter:
            self._exporter.kill()
            self._exporter.wait()
            wait_until(lambda: self.coordinator.run("resources") == "", "the exporter's end")

    def place(self, name: str, *tags: str) -> None:
        """A place of the exporter's group of that name."""
        self.coordinator.run("create", place=name)
        self.coordinator.run("add-match", f"{EXPORTER}/{name}/*", place=name)
        if tags:
            self.coordinator.run("set-tags", *tags, place=name)

    def log(self, program: str) -> str:
        """All that a program of the lab has said."""
        return (self._directory / f"{program}.log").read_text(encoding="utf-8")

    def _start(self, program: str, *options: str) -> subprocess.Popen[bytes]:
        log = self._stack.enter_context((self._directory / f"{program}.log").open("ab"))
        process = subprocess.Popen(
            [str(self._programs / program), *options],
            cwd=self._directory,
            env=client_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process


@contextlib.contextmanager
def as_user(name: str) -> Iterator[None]:
    """labgrid takes us for another user."""
    before = os.environ.get("LG_USERNAME")
    os.environ["LG_USERNAME"] = name
    try:
        yield
    finally:
        os.environ.pop("LG_USERNAME")
        if before is not None:
            os.environ["LG_USERNAME"] = before


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def wait_until(done: Callable[[], bool], what: str) -> None:
    """Raises AssertionError when it is not so in time."""
    give_up_s = time.monotonic() + START_S
    while not done():
        assert time.monotonic() < give_up_s, f"{what} did not come within {START_S:g} s"
        time.sleep(0.2)
