"""A faulty wire, on purpose: put between the bench and any board, to qualify a cable, a hub or a recovery.

Faults strike single bytes at random, each direction by its own seeded sequence: the same bytes with
the same seed suffer the same, however they are cut into reads and writes. Frames are not known here,
and nothing is mended; that is the link's work.
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, fields

from harness.boards.base import Port
from harness.errors import PortError, UsageError

FAULTS = ("drop", "flip", "dup", "garbage", "delay", "reset", "burst")
MAX_RATE = 0.1
_MAX_DELAY_MS = 10_000.0
_MAX_GARBAGE_BYTES = 16
_MAX_BURST_BYTES = 65_536
_EXAMPLE = "e.g. --chaos drop=1e-3,flip=1e-3,seed=1"


@dataclass(frozen=True)
class Chaos:
    """Faults per byte, 0 to MAX_RATE each, and how they are drawn.

    A byte is lost (`drop`), has one bit turned (`flip`), comes twice (`dup`), has 1 to 16 random bytes
    before it (`garbage`), is late by up to `delay_ms` with all that follow it (`delay`), falls together
    with a restart of the board (`reset`), or begins a `burst`: it and those after it, 2 to
    `burst_bytes` in all, become random bytes.
    """

    drop: float = 0.0
    flip: float = 0.0
    dup: float = 0.0
    garbage: float = 0.0
    delay: float = 0.0
    reset: float = 0.0
    burst: float = 0.0
    delay_ms: float = 2.0
    burst_bytes: int = 32
    seed: int = 0

    def __str__(self) -> str:
        """As `parse_chaos` reads it."""
        given = [f"{name}={getattr(self, name):g}" for name in FAULTS if getattr(self, name)]
        if self.delay:
            given.append(f"delay_ms={self.delay_ms:g}")
        if self.burst:
            given.append(f"burst_bytes={self.burst_bytes}")
        return ",".join([*given, f"seed={self.seed}"])


def parse_chaos(text: str) -> Chaos:
    """`drop=1e-3,reset=1e-6,seed=7` as a Chaos; UsageError for anything else."""
    values: dict[str, float | int] = {}
    for part in text.split(","):
        name, equals, number = (word.strip() for word in part.partition("="))
        if name not in {field.name for field in fields(Chaos)} or not equals:
            known = ", ".join(f"{field.name}=" for field in fields(Chaos))
            raise UsageError(f"--chaos takes {known} separated by commas, not '{part.strip()}'", _EXAMPLE)
        if name in values:
            raise UsageError(f"--chaos has {name}= twice", _EXAMPLE)
        values[name] = _value(name, number)
    if not any(values.get(name) for name in FAULTS):
        raise UsageError(f"--chaos names no fault: expected one of {', '.join(FAULTS)}", _EXAMPLE)
    return Chaos(**values)  # type: ignore[arg-type]


def _value(name: str, text: str) -> float | int:
    if name == "seed":
        if not text.isdecimal():
            raise UsageError(f"--chaos expects seed= a whole number of at least 0, got '{text}'", _EXAMPLE)
        return int(text)
    if name == "burst_bytes":
        if not text.isdecimal() or not 2 <= int(text) <= _MAX_BURST_BYTES:
            expected = f"a whole number from 2 to {_MAX_BURST_BYTES}"
            raise UsageError(f"--chaos expects burst_bytes= {expected}, got '{text}'", _EXAMPLE)
        return int(text)
    most = _MAX_DELAY_MS if name == "delay_ms" else MAX_RATE
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= most:
        what = "milliseconds" if name == "delay_ms" else "faults per byte"
        raise UsageError(f"--chaos expects {name}= {what} from 0 to {most:g}, got '{text}'", _EXAMPLE)
    return number


@dataclass(frozen=True)
class _Stall:
    seconds: float


@dataclass(frozen=True)
class _Restart:
    pass


_Part = bytes | _Stall | _Restart


class ChaosPort:
    """A `Port` that spoils what passes through another one. `faults` counts what was done, by kind."""

    def __init__(self, port: Port, chaos: Chaos, reset: Callable[[], None]) -> None:
        """`reset` restarts the board from outside: `Board.reset`."""
        self.faults = {f"chaos_{name}": 0 for name in FAULTS if getattr(chaos, name)}
        self._port = port
        self._reset = reset
        self._to_board = _Direction(chaos, "to board", self.faults)
        self._from_board = _Direction(chaos, "from board", self.faults)

    def read(self, timeout_s: float) -> bytes:
        until_s = time.monotonic() + timeout_s
        # What is here is late from now on, not from when those before it have been read.
        self._from_board.put(self._port.read(0.0))
        while True:
            self._pass_on()
            if taken := self._take():
                return taken
            wake_s = min(until_s, self._to_board.due_s, self._from_board.due_s)
            self._from_board.put(self._port.read(max(0.0, wake_s - time.monotonic())))
            if time.monotonic() >= until_s:
                self._pass_on()
                return self._take()

    def write(self, data: bytes) -> None:
        """What is late, and all behind it, goes out in a later `read` or `write`."""
        self._to_board.put(data)
        self._pass_on()

    def set_baud(self, baud: int) -> None:
        self._port.set_baud(baud)

    def _pass_on(self) -> None:
        while (part := self._to_board.next_due()) is not None:
            if isinstance(part, bytes):
                self._port.write(part)
            else:
                self._restart()

    def _take(self) -> bytes:
        while (part := self._from_board.next_due()) is not None:
            if isinstance(part, bytes):
                return part
            self._restart()
        return b""

    def _restart(self) -> None:
        try:
            self._reset()
        except PortError as error:
            raise PortError(
                f"--chaos reset could not restart the board: {error.message}",
                f"Leave reset= out. {error.remedy}".rstrip(),
            ) from error


class _Direction:
    """One direction: what is on its way, and its faults as gaps in bytes from one to the next."""

    def __init__(self, chaos: Chaos, name: str, faults: dict[str, int]) -> None:
        self._random = random.Random(f"{chaos.seed} {name}")
        self._noise = random.Random(f"{chaos.seed} {name} burst")
        self._rates = [getattr(chaos, fault) for fault in FAULTS]
        self._chance = math.log1p(-sum(self._rates))
        self._delay_ms = chaos.delay_ms
        self._burst_bytes = chaos.burst_bytes
        self._faults = faults
        self._noisy_bytes = 0
        self._clean_bytes = self._gap()
        self._parts: deque[tuple[float, bytes | _Restart]] = deque()
        self._late_s = 0.0

    def put(self, data: bytes) -> None:
        for part in self.spoil(data):
            if isinstance(part, _Stall):
                self._late_s = max(self._late_s, time.monotonic()) + part.seconds
            else:
                self._parts.append((self._late_s, part))

    def next_due(self) -> bytes | _Restart | None:
        """What comes next, unless that is late or there is nothing."""
        if not self._parts or time.monotonic() < self.due_s:
            return None
        return self._parts.popleft()[1]

    @property
    def due_s(self) -> float:
        return self._parts[0][0] if self._parts else math.inf

    def spoil(self, data: bytes) -> list[_Part]:
        """What becomes of `data`: bytes, and between them what happens beside them."""
        parts: list[_Part] = []
        passing = bytearray()
        at = self._drown(data, 0, passing)
        while at + self._clean_bytes < len(data):
            struck = at + self._clean_bytes
            passing += data[at:struck]
            (fault,) = self._random.choices(FAULTS, self._rates)
            self._faults[f"chaos_{fault}"] += 1
            if fault in ("delay", "reset"):
                parts += filter(None, (bytes(passing), self._event(fault)))
                passing.clear()
            passing += self._struck(fault, data[struck])
            at = self._drown(data, struck + 1, passing)
            self._clean_bytes = self._gap()
        self._clean_bytes -= len(data) - at
        passing += data[at:]
        return [*parts, bytes(passing)] if passing else parts

    def _drown(self, data: bytes, at: int, passing: bytearray) -> int:
        """The rest of a burst, as far as `data` goes; where it ends."""
        end = min(at + self._noisy_bytes, len(data))
        self._noisy_bytes -= end - at
        # Byte by byte: how the stream is cut must not change what is drawn.
        passing += bytes(self._noise.randrange(256) for _ in range(at, end))
        return end

    def _gap(self) -> int:
        # Geometric. Rates near zero make a gap no integer holds, and none at all one without end.
        gap = math.log(1.0 - self._random.random()) / self._chance if self._chance else math.inf
        return int(min(gap, sys.maxsize))

    def _event(self, fault: str) -> _Part:
        return _Restart() if fault == "reset" else _Stall(self._random.random() * self._delay_ms / 1000)

    def _struck(self, fault: str, byte: int) -> bytes:
        match fault:
            case "drop" | "reset":
                return b""
            case "flip":
                return bytes((byte ^ 1 << self._random.randrange(8),))
            case "dup":
                return bytes((byte, byte))
            case "garbage":
                return self._random.randbytes(self._random.randint(1, _MAX_GARBAGE_BYTES)) + bytes((byte,))
            case "burst":
                self._noisy_bytes = self._random.randint(1, self._burst_bytes - 1)
                return bytes((self._noise.randrange(256),))
            case _:
                return bytes((byte,))
