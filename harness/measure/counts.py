"""What a device took for an inference: centre, spread, tail, outliers and drift, one figure per inference.

A count is what its unit says (instructions, cycles or us); the same arithmetic serves all and none is
ever converted into another. Nothing is dropped.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.measure.statistics import deviation, far_out, greater, median_interval
from harness.records.schema import CountStatistics, Drift

MOST_OUTLIERS = 20
LEAST_FOR_DRIFT = 40


def count_statistics(
    counts: Iterable[int | None], unit: str, cold: int | None = None, warmup: Sequence[int] = ()
) -> CountStatistics | None:
    """Statistics of the counts that are there; None where the device reported none.

    The median of an even number of counts is the mean of the middle two; p90 and p99 are interpolated
    (Hyndman & Fan 1996, type 7).

    Args:
        cold: the first inference since the device was found, `warmup`: those between it and the first of
            `counts`. Neither is in any other figure.
    """
    known = [count for count in counts if count is not None]
    if not known:
        return None
    values = np.array(known, np.int64)
    p90, p99 = np.quantile(values, (0.9, 0.99))
    places = far_out(values)
    return CountStatistics(
        unit=unit,
        minimum=min(known),
        median=float(statistics.median(known)),
        maximum=max(known),
        samples=len(known),
        p90=float(p90),
        p99=float(p99),
        deviation=deviation(values),
        median_interval=median_interval(values),
        outliers=len(places),
        outlier_samples=tuple(int(place) for place in places[:MOST_OUTLIERS]),
        drift=_drift(values),
        cold=cold,
        warmup=tuple(warmup),
    )


def _drift(values: NDArray[np.int64]) -> Drift | None:
    """The last quarter of the run against the first; None when a quarter is too short to say anything."""
    if len(values) < LEAST_FOR_DRIFT:
        return None
    quarter = len(values) // 4
    first, last = values[:quarter], values[-quarter:]
    before, after = float(np.median(first)), float(np.median(last))
    p = min(1.0, 2 * min(greater(last, first), greater(first, last)))
    return Drift(after / before - 1 if before else 0.0, p)
