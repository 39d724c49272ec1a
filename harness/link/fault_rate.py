"""How often the line errs, as the fate of frames tells, and the frame size that suits it.

Long frames cost the least on a clean line; on a faulty one they never arrive whole.
"""

from __future__ import annotations

import math

# Evidence of so many bytes counts half as soon as as many more have passed: lines get better and worse.
_MEMORY_BYTES = 32_768


class FaultRate:
    """Faults per byte, estimated: frames lost, over the bytes of all frames and their answers."""

    def __init__(self) -> None:
        self._bytes = 0.0
        self._lost = 0.0
        self.answered_bytes = 0

    def count(self, frame_bytes: int, *, lost: bool) -> None:
        self.answered_bytes += 0 if lost else frame_bytes
        self._bytes += frame_bytes
        self._lost += lost
        if self._bytes > 2 * _MEMORY_BYTES:
            self._bytes /= 2
            self._lost /= 2

    @property
    def per_byte(self) -> float:
        """Long frames that are all lost make it too small; shorter ones then correct it."""
        return self._lost / self._bytes if self._bytes else 0.0

    def best_bytes(self, overhead_bytes: int) -> float:
        """The payload that gets most bytes through, where each frame has so many more; inf on a clean line.

        Of p bytes with h more, the part p / (p + h) is payload and (1 - f)^(p + h) of the frames
        arrive. The product is greatest where p (p + h) = h / f.
        """
        if not self._lost:
            return math.inf
        h = overhead_bytes
        return (math.sqrt(h * h + 4 * h / self.per_byte) - h) / 2
