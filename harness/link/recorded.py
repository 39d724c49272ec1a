"""A wire log in a device's place: the link runs again on what was recorded, offline.

Both ends of what `Link` needs, its port and its log. Every byte the link sends must be the one it sent
then; time and random numbers are those of the record. It judges no answer: that is the link's, as ever.
"""

from __future__ import annotations

from pathlib import Path

from harness.errors import DataError
from harness.link.wirelog import Direction, WireLog, WireRecord, read_wire_log, wire_log_began_ns

# A live link that hears nothing looks at the clock; one that never does waits for what was not recorded.
_MOST_EMPTY_READS = 1000


class WireEndError(DataError):
    """The wire log is over, and the link asks for more."""


class RecordedWire(WireLog):
    """Port and log of a link that runs again from `wire`; `text` is written anew.

    Raises DataError for a file that is no wire log, or was recorded of another conversation, and
    WireEndError where it ends too early.
    """

    def __init__(self, wire: Path, text: Path | None = None) -> None:
        began_ns = wire_log_began_ns(wire)
        super().__init__(text=text)
        self._began(began_ns)
        self.path = wire
        self._records = read_wire_log(wire)
        self._next: WireRecord | None = next(self._records, None)
        self._empty_reads = 0

    # The port.

    def read(self, timeout_s: float) -> bytes:  # noqa: ARG002 - what came, came
        """What was read here; b"" where the link did something else next."""
        record = self._upcoming("an answer")
        if record.direction is Direction.FROM_DEVICE:
            self._empty_reads = 0
            return record.data
        self._empty_reads += 1
        if self._empty_reads > _MOST_EMPTY_READS:
            raise self._other("waits for an answer", record)
        return b""

    def write(self, data: bytes) -> None:
        """Sent already, as `data` has seen."""

    def set_baud(self, baud: int) -> None:
        """A record has no rate."""

    # The log.

    def data(self, direction: Direction, data: bytes) -> None:
        record = self._upcoming("more")
        if record.direction is not direction or record.data != data:
            verb = "sends" if direction is Direction.TO_DEVICE else "reads"
            raise self._other(f"{verb} {len(data)} bytes {data[:16].hex()}", record)
        self._take(record)

    def clock(self) -> float:
        self._looks += 1
        record = self._next
        if record is not None and record.direction is Direction.CLOCK and record.looks == self._looks:
            self._take(record)
        return self._event_ns / 1e9

    def _take(self, record: WireRecord) -> None:
        self._event_ns, self._looks = record.time_ns, 0
        self._next = next(self._records, None)

    def _upcoming(self, wanted: str) -> WireRecord:
        if self._next is None:
            raise WireEndError(
                f"{self.path} ends after {self._event_ns / 1e9:.3f} s, where the run went on: "
                f"{wanted} is missing"
            )
        return self._next

    def _other(self, did: str, record: WireRecord) -> DataError:
        return DataError(
            f"{self.path} is of another conversation: at {self._event_ns / 1e9:.3f} s the link {did}, "
            f"recorded is {record.direction.name} of {len(record.data)} bytes {record.data[:16].hex()}"
        )
