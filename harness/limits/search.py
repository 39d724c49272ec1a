"""The largest size that works, by bisection. Knows nothing of networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

LOOK_AHEAD = 8


@dataclass(frozen=True)
class Found:
    """`largest` works, None: not even the smallest; `first` is the next, which does not, None: all do."""

    largest: int | None
    first: int | None


def bisect(works: Callable[[int], bool], smallest: int, largest: int) -> Found:
    """Asks `works` of sizes in [smallest, largest]: twice as large until one fails, then between the two.

    A size that works beyond one that does not, by up to `LOOK_AHEAD`, is found as well: where blocks are
    fitted into gaps, more bytes may fit better.
    """
    if not works(smallest):
        return Found(None, smallest)
    low, high = smallest, smallest
    while works(high):
        low = high
        if high == largest:
            return Found(largest, None)
        high = min(2 * high, largest)
    while high - low > 1:
        middle = (low + high) // 2
        if works(middle):
            low = middle
        else:
            high = middle
    ahead = range(low + 2, min(low + 1 + LOOK_AHEAD, largest) + 1)
    again = next((size for size in ahead if works(size)), None)
    return Found(low, high) if again is None else bisect(works, again, largest)
