"""QEMU's machine protocol: one command at a time over a connected socket (docs/interop/qmp-spec)."""

from __future__ import annotations

import json
import socket
from typing import Any

from harness.errors import PortError

_TIMEOUT_S = 10.0


class Qmp:
    """A monitor connection; made ready for commands on construction."""

    def __init__(self, connection: socket.socket) -> None:
        """Raises PortError when QEMU does not answer."""
        connection.settimeout(_TIMEOUT_S)
        self._connection = connection
        self._received = b""
        try:
            self._message()  # the greeting
            self.execute("qmp_capabilities")
        except PortError:
            self.close()
            raise

    def execute(self, command: str, **arguments: object) -> Any:
        """The command's `return` value. Raises PortError when it fails or QEMU is gone."""
        request = json.dumps({"execute": command, "arguments": arguments}).encode()
        try:
            self._connection.sendall(request + b"\n")
        except OSError as error:
            raise PortError(f"QEMU's monitor is gone ({error})") from error
        while True:
            message = self._message()
            if "error" in message:
                raise PortError(f"QEMU refused {command}: {message['error'].get('desc')}")
            if "return" in message:
                return message["return"]

    def close(self) -> None:
        self._connection.close()

    def _message(self) -> dict[str, Any]:
        while b"\n" not in self._received:
            try:
                data = self._connection.recv(65536)
            except OSError as error:
                raise PortError(f"QEMU's monitor is gone ({error})") from error
            if not data:
                raise PortError("QEMU closed its monitor")
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message
