"""How long an answer takes beyond what the bytes before it need: time in which the line has nothing to carry.

A straight line through what was measured: seconds from sending to the answer, over the bytes that were under
way, its own included. Only for requests whose execution takes no time.
"""

from __future__ import annotations

# A measurement counts half as much when so many more have come.
_MEMORY = 64


class RoundTrip:
    """Estimated from requests that were sent at once into an idle line, each with more bytes before it."""

    def __init__(self) -> None:
        self._count = self._bytes = self._seconds = self._bytes_bytes = self._bytes_seconds = 0.0

    def measured(self, bytes_under_way: int, seconds: float) -> None:
        keep = 0.5 ** (1 / _MEMORY)
        self._count = keep * self._count + 1
        self._bytes = keep * self._bytes + bytes_under_way
        self._seconds = keep * self._seconds + seconds
        self._bytes_bytes = keep * self._bytes_bytes + bytes_under_way * bytes_under_way
        self._bytes_seconds = keep * self._bytes_seconds + bytes_under_way * seconds

    @property
    def idle_bytes(self) -> float:
        """What the line could carry while nothing but an answer is waited for; 0 where it is not known."""
        spread = self._count * self._bytes_bytes - self._bytes * self._bytes
        slope = self._count * self._bytes_seconds - self._bytes * self._seconds
        if spread <= 0 or slope <= 0:
            return 0.0
        # (mean seconds - byte_s * mean bytes) / byte_s
        return max(0.0, (self._seconds * spread / slope - self._bytes) / self._count)
