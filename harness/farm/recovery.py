"""The recovery ladder: how a board that stopped answering is brought back, gently first, each rung bounded.

Resynchronise the link, reset by command, reset by DTR and RTS, power cycle. What becomes of a board that no
rung brings back, and of the item it ran, is `shelf`'s decision.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.boards.base import Board, Port
from harness.errors import (
    DeviceError,
    FlashError,
    HarnessError,
    LinkError,
    MissingError,
    PortError,
    SilentError,
)
from harness.farm.leases import Lease
from harness.farm.power import Power
from harness.link.client import Link
from harness.progress import Say

BOARD_FAULTS = (SilentError, LinkError, DeviceError, PortError, FlashError)
"""What may be the board's fault and not the network's: worth a climb, and another board."""

RESYNCHRONISE_S = 3.0
COMMAND_S = 4.0
LINES_S = 6.0
POWER_S = 12.0


class LeasedPort:
    """The port of a board, as long as its lease lasts; `reopen` opens it, at first and later again."""

    def __init__(self, board: Board, lease: Lease | None) -> None:
        self._board = board
        self._lease = lease
        self._port: Port | None = None

    def reopen(self) -> None:
        """Ends the board's port and opens a new one. Raises PortError."""
        self._port = None
        self._board.close()
        self._port = self._board.open()

    def read(self, timeout_s: float) -> bytes:
        return self._now().read(timeout_s)

    def write(self, data: bytes) -> None:
        self._now().write(data)

    def set_baud(self, baud: int) -> None:
        self._now().set_baud(baud)

    def _now(self) -> Port:
        if self._lease is not None:
            self._lease.check()
        if self._port is None:
            raise PortError(f"{self._board.info.name} is closed")
        return self._port


@dataclass(frozen=True)
class Rung:
    """One way to bring a board back; `act` raises, in bounded time, when the board does not answer then."""

    name: str
    act: Callable[[], object]


def ladder(board: Board, port: LeasedPort, link: Link | None, power: Power | None) -> list[Rung]:
    """The rungs this board has, lowest first; each ends with a handshake.

    An emulator is started anew where a board is switched off and on. Without a link, as the port could not
    be opened, that rung alone is left.
    """

    def switch() -> None:
        if power is not None:
            board.close()
            power.cycle()
        _reopen_within(port, POWER_S)
        if link is not None:
            link.connect(POWER_S)

    rungs: list[Rung] = []
    if link is not None:
        rungs = _without_power(board, link)
    if power is not None or board.info.kind != "serial":
        rungs.append(Rung(f"power cycle ({power})" if power else "start it anew", switch))
    return rungs


def _without_power(board: Board, link: Link) -> list[Rung]:
    def pulse() -> None:
        board.reset()
        link.connect(LINES_S)

    return [
        Rung("resynchronise the link", lambda: link.connect(RESYNCHRONISE_S)),
        Rung("reset by command", lambda: link.reset_unheard(COMMAND_S)),
        Rung("reset by DTR and RTS" if board.info.kind == "serial" else "reset", pulse),
    ]


def climb(rungs: Sequence[Rung], say: Say) -> str | None:
    """The name of the rung after which the board answers; None when none helped. Each rung is told of.

    Raises:
        LeaseError: the board's time is over; no rung is tried after that.
    """
    for rung in rungs:
        started_s = time.monotonic()
        try:
            rung.act()
        except (*BOARD_FAULTS, MissingError) as error:
            say(f"{rung.name}: failed after {time.monotonic() - started_s:.1f} s: {first_line(error)}")
            continue
        say(f"{rung.name}: answers after {time.monotonic() - started_s:.1f} s")
        return rung.name
    return None


def first_line(error: HarnessError) -> str:
    """What happened, without the log's tail and the remedy."""
    return error.message.splitlines()[0]


def _reopen_within(port: LeasedPort, limit_s: float) -> None:
    """A board on USB takes its port away with its supply: opens it as soon as it is back."""
    give_up_s = time.monotonic() + limit_s
    while True:
        try:
            return port.reopen()
        except PortError:
            if time.monotonic() > give_up_s:
                raise
            time.sleep(0.1)
