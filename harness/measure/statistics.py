"""The few statistics that verdicts rest on, in numpy: intervals and one test. Each names its source.

They take plain numbers and know no unit; what a small p means is for the gates.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64] | NDArray[np.float64]
RESAMPLES = 10_000
TWO_SIDED_95 = 1.959963984540054
"""The normal distribution's 97.5 % quantile."""


def median_interval(values: Numbers, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the median by the percentile bootstrap (Efron & Tibshirani 1993, ch. 13).

    A resample's median is an order statistic of the data at a rank that is itself one of uniform numbers,
    so `RESAMPLES` ranks are drawn from the Beta distribution (Devroye 1986, V.3) in place of that many
    resamples: the same distribution, at any number of values.

    Raises:
        ValueError: no values.
    """
    ordered = np.sort(values)
    count = len(ordered)
    if not count:
        raise ValueError("no values")
    generator = np.random.default_rng(seed)
    middle = (count + 1) // 2
    first = generator.beta(middle, count + 1 - middle, RESAMPLES)
    medians: NDArray[np.float64] = ordered[_rank(first, count)].astype(np.float64)
    if count % 2 == 0:
        # The next order statistic is the least of the uniform numbers that are left above the first.
        second = first + (1 - first) * generator.beta(1, count - middle, RESAMPLES)
        medians = (medians + ordered[_rank(second, count)].astype(np.float64)) / 2
    low, high = np.quantile(medians, (0.025, 0.975))
    return float(low), float(high)


def _rank(uniform: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    return np.minimum((uniform * count).astype(np.int64), count - 1)


def deviation(values: Numbers) -> float:
    """Median absolute deviation from the median, not scaled to a standard deviation."""
    return float(np.median(np.abs(values - np.median(values))))


def far_out(values: Numbers) -> NDArray[np.intp]:
    """Where values lie beyond 3 interquartile ranges of the quartiles (Tukey 1977), the farthest first."""
    low, high = np.quantile(values, (0.25, 0.75))
    distance = np.maximum(low - values, values - high)
    places = np.flatnonzero(distance > 3 * (high - low))
    return places[np.argsort(-distance[places], kind="stable")]


def greater(after: Numbers, before: Numbers) -> float:
    """One-sided p of the Mann-Whitney test that `after` tends to be larger than `before`.

    Normal approximation with ties and continuity corrected (Hollander, Wolfe & Chicken 2014, 4.1); 1 when all
    values are equal. Good from some 8 values a side.

    Raises:
        ValueError: a side is empty.
    """
    if not len(after) or not len(before):
        raise ValueError("no values")
    pooled = np.concatenate([after, before]).astype(np.float64)
    _, place, sizes = np.unique(pooled, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(sizes) - (sizes - 1) / 2)[place]
    m, n = len(after), len(before)
    total = m + n
    u = float(ranks[:m].sum()) - m * (m + 1) / 2
    ties = float(np.sum(sizes.astype(np.float64) ** 3 - sizes))
    variance = m * n / 12 * (total + 1 - ties / (total * (total - 1)))
    if variance <= 0:
        return 1.0
    return 0.5 * math.erfc((u - m * n / 2 - 0.5) / math.sqrt(2 * variance))


def share_interval(share: float, samples: int) -> tuple[float, float]:
    """95 % interval of a binomial share, 0..1: Wilson's score (Wilson 1927; Brown, Cai & DasGupta 2001)."""
    z2 = TWO_SIDED_95**2
    centre = share + z2 / (2 * samples)
    half = TWO_SIDED_95 * math.sqrt(share * (1 - share) / samples + z2 / (4 * samples**2))
    return max(0.0, (centre - half) / (1 + z2 / samples)), min(1.0, (centre + half) / (1 + z2 / samples))
