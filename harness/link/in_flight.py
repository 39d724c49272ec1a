"""Requests that have no answer yet, and what the order of answers proves about them.

Answers come in the order of the requests (docs/protocol.md §2), so an answer proves every earlier
transmission either answered or lost. Sends nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from harness.link.frames import Frame


@dataclass(eq=False)
class Request:
    """One request and what became of it. `transmissions` are the copies not proven lost.

    `report_to` gets the request when it is answered, or, with `lost` set, when its last copy is
    proven lost; without it the pipeline sends it again.
    """

    kind: int
    sequence: int
    encoded: bytes
    what: str
    wanted: bool = True
    probe: bool = False
    nonce: int = 0
    report_to: deque[Request] | None = None
    reply: Frame | None = None
    lost: bool = False
    tries: int = 0
    sent_s: float = 0.0
    transmissions: list[int] = field(default_factory=list)


class InFlight:
    """Requests by sequence number. `used_bytes` is what all copies take of the device's window."""

    def __init__(self) -> None:
        self.used_bytes = 0
        self._requests: dict[int, Request] = {}
        self._copies: deque[tuple[int, Request]] = deque()
        self._transmission = 0

    def __len__(self) -> int:
        return len(self._requests)

    def __iter__(self) -> Iterator[Request]:
        return iter(self._requests.values())

    def get(self, sequence: int) -> Request | None:
        return self._requests.get(sequence)

    def add_copy(self, request: Request) -> None:
        """One more transmission of `request` is under way."""
        self._transmission += 1
        self._copies.append((self._transmission, request))
        request.transmissions.append(self._transmission)
        request.tries += 1
        if request.sequence not in self._requests or len(request.transmissions) > 1:
            self.used_bytes += _window_bytes(request)
        self._requests[request.sequence] = request

    def remove(self, request: Request) -> None:
        del self._requests[request.sequence]
        if not request.transmissions:
            self.used_bytes -= _window_bytes(request)

    def clear(self) -> None:
        self._requests.clear()
        self._copies.clear()
        self.used_bytes = 0

    def answered(self, request: Request) -> list[Request]:
        """Takes out `request`; those that have no copy left which could still be answered."""
        self.remove(request)
        proven = request.transmissions[0]
        lost = []
        while self._copies and self._copies[0][0] <= proven:
            number, earlier = self._copies.popleft()
            earlier.transmissions.remove(number)
            if earlier.transmissions or self._requests.get(earlier.sequence) is not earlier:
                self.used_bytes -= _window_bytes(earlier)
            else:
                lost.append(earlier)
        return lost


def _window_bytes(request: Request) -> int:
    """Room for probes is kept apart."""
    return 0 if request.probe else len(request.encoded)
