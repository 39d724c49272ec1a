"""Accuracy as the MLPerf Tiny runner counts it: Top-1 and the area under the ROC curve.

Formulas of benchmark/runner/main.py, with one difference: scores whose sum is not positive are not
divided by it, which would turn their order round.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]


def mean_scores(windows: Sequence[Sequence[float]]) -> Scores:
    """One file's scores: those of its windows, each brought to the sum 1, averaged. Shape (classes,)."""
    rows = np.array(windows, np.float64)
    sums = rows.sum(axis=1, keepdims=True)
    if rows.shape[1] > 1:
        rows = np.divide(rows, sums, out=rows.copy(), where=sums > 0)
    mean: Scores = rows.mean(axis=0)
    return mean


def top1_percent(scores: Scores, labels: Sequence[int]) -> float:
    """Percent of files whose highest score is their class. `scores` has shape (files, classes).

    One score per file is an anomaly's: then the highest mean of precision and recall over 100 thresholds.
    """
    truth = np.array(labels)
    if scores.shape[1] > 1:
        return float(100 * np.mean(scores.argmax(axis=1) == truth))
    values = scores[:, 0]
    best = 0.0
    for threshold in values.min() + np.arange(0.0, 1.0, 0.01) * np.ptp(values):
        above = values > threshold
        hits = np.sum(above & (truth == 1))
        precision = hits / (np.sum(above) + 1e-8)
        recall = hits / (np.sum(truth == 1) + 1e-8)
        best = max(best, float(100 * (precision + recall) / 2))
    return best


def area_under_curve(scores: Scores, labels: Sequence[int]) -> float | None:
    """Mean over the classes, each against the rest; None if a class never or always occurs."""
    truth = np.array(labels)
    classes = scores.shape[1]
    if classes <= 2:
        return _binary_area(scores[:, -1], truth == 1)
    areas = [_binary_area(scores[:, index], truth == index) for index in range(classes)]
    known = [area for area in areas if area is not None]
    return float(np.mean(known)) if len(known) == classes else None


def _binary_area(values: Scores, positive: NDArray[np.bool_]) -> float | None:
    """The share of pairs in which the positive one has the higher value; a tie is half a pair."""
    high, low = values[positive], np.sort(values[~positive])
    if high.size == 0 or low.size == 0:
        return None
    below, not_above = np.searchsorted(low, high, "left"), np.searchsorted(low, high, "right")
    return float((below + not_above).sum() / (2 * high.size * low.size))
