"""The firmware as a native process on this machine: fidelity `host`, for tests and sanitizers."""

from __future__ import annotations

import socket
from pathlib import Path

from harness.boards.base import Board, BoardInfo
from harness.boards.process import BoardProcess
from harness.boards.socket_port import SocketPort
from harness.errors import PortError


class HostBoard(Board):
    """One process that speaks over the descriptor it is given as its only argument.

    A crash or a sanitizer's report ends the port with a PortError that carries its stderr.
    """

    def __init__(self, target: str, program: Path) -> None:
        self._program = program
        self._process: BoardProcess | None = None
        self._port: SocketPort | None = None
        self.info = BoardInfo(name=f"host-{target}", target=target, kind="host", fidelity="host")

    def open(self) -> SocketPort:
        """Raises PortError when the program is not there or cannot be run."""
        self.close()
        if not self._program.is_file():
            raise PortError(f"no firmware at {self._program}", "Build it first")
        self._port = SocketPort(self._start(), self._death)
        return self._port

    def reset(self) -> None:
        """Ends the process and starts it again behind the same port."""
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
        self._port = self._process = None

    def state(self) -> str:
        return self._process.state() if self._process else "the process is not started"

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = BoardProcess([str(self._program), str(theirs.fileno())], [theirs.fileno()])
            except PortError:
                ours.close()
                raise
        return ours

    def _death(self) -> PortError:
        return self._process.death() if self._process else PortError("the board is closed")
