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
    low, high = smallest, min(2 * smallest, largest)
    while low < largest and works(high):
        low, high = high, min(2 * high, largest)
    if low == largest:
        return Found(largest, None)
    found = _between(works, low, high)
    assert found.first is not None
    ahead = range(found.first + 1, min(found.first + LOOK_AHEAD, largest) + 1)
    again = next((size for size in ahead if works(size)), None)
    return found if again is None else bisect(works, again, largest)


def settle(works: Callable[[int], bool], guess: Found, smallest: int, largest: int) -> Found:
    """The same by a judge who takes longer: asked on both sides of `guess` first, and further away only
    where he is of another opinion.
    """
    low, step = smallest if guess.largest is None else guess.largest, 1
    high: int | None = None
    while not works(low):
        if low == smallest:
            return Found(None, smallest)
        low, high, step = max(smallest, low - step), low, 2 * step
    step = 1
    while high is None:
        if low == largest:
            return Found(largest, None)
        above = min(largest, low + step)
        if works(above):
            low, step = above, 2 * step
        else:
            high = above
    return _between(works, low, high)


def _between(works: Callable[[int], bool], low: int, high: int) -> Found:
    """`low` works and `high` does not."""
    while high - low > 1:
        middle = (low + high) // 2
        if works(middle):
            low = middle
        else:
            high = middle
    return Found(low, high)
