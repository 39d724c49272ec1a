"""Minimum, median and maximum of the counts a device reported, one per inference.

A count is what its unit says (instructions, cycles or us); the two are never converted here.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from harness.records.schema import CountStatistics


def count_statistics(counts: Iterable[int | None], unit: str) -> CountStatistics | None:
    """Statistics of the counts that are there; None where the device reported none.

    The median of an even number of counts is the mean of the middle two.
    """
    known = [count for count in counts if count is not None]
    if not known:
        return None
    return CountStatistics(unit, min(known), float(statistics.median(known)), max(known), len(known))
