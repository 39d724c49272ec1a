"""What a board is to the bench: something with a byte stream, an identity and a reset."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from harness.errors import IdentityError

UNKNOWN_FIDELITY = "unknown"


class Port(Protocol):
    """A byte stream to a device; `harness.link` talks to boards through nothing else."""

    def read(self, timeout_s: float) -> bytes:
        """What has arrived, waiting at most `timeout_s` for the first byte; b"" on timeout.

        Raises PortError when the port is gone.
        """

    def write(self, data: bytes) -> None:
        """Sends all of `data`. Raises PortError when the port is gone."""

    def set_baud(self, baud: int) -> None:
        """Changes the host's side of the line; nothing on links that have no baud rate."""


@dataclass(frozen=True)
class BoardInfo:
    """Identity of one board for records: `name` is unique on this host.

    `fidelity` is silicon, soc, isa or host: what the board's numbers mean; unknown for an
    attached board until `Board.identified`.
    """

    name: str
    target: str
    kind: str
    fidelity: str
    details: dict[str, str] = field(default_factory=dict)


class Board(ABC):
    """One physical or emulated thing that runs an image. A context manager: open, use, close."""

    info: BoardInfo

    @property
    def baud(self) -> int:
        """Rate of its line when it starts; 0 where there is none."""
        return int(self.info.details.get("baud", "0"))

    @abstractmethod
    def open(self) -> Port:
        """Starts or opens the board so that it runs its image from the beginning."""

    @abstractmethod
    def reset(self) -> None:
        """Restarts the image from outside (a reset line, or the emulator's monitor)."""

    @abstractmethod
    def close(self) -> None:
        """Ends it; safe to call twice."""

    @abstractmethod
    def state(self) -> str:
        """One line for error messages: is it alive, exit code, program counter."""

    def identified(self, identity: Mapping[str, str]) -> None:
        """Takes what the firmware says of itself (IDENTIFY) and completes `info.fidelity` by it.

        Raises:
            IdentityError: it claims another fidelity than this board is known to have.
        """
        claimed = identity["fidelity"]
        if self.info.fidelity == UNKNOWN_FIDELITY:
            self.info = replace(self.info, fidelity=claimed)
        elif self.info.fidelity != claimed:
            raise IdentityError(
                f"expected a board of fidelity {self.info.fidelity} on {self.info.name}, "
                f"its firmware says {claimed}",
                "Choose another --board or --port",
            )

    def __enter__(self) -> Port:
        return self.open()

    def __exit__(self, *exc: object) -> None:
        self.close()
