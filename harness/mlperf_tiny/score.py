"""Accuracy as the MLPerf Tiny runner counts it: Top-1 and the area under the ROC curve.

Formulas of benchmark/runner/main.py, with one difference: scores whose sum is not positive are not
divided by it, which would turn their order round.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.measure.ranking import binary_area

Scores = NDArray[np.float64]
AUC, TOP1 = "AUC", "Top-1 in percent"
QUALITY_TARGETS = {"ad01": (AUC, 0.85), "ic01": (TOP1, 85.0), "kws01": (TOP1, 90.0), "vww01": (TOP1, 80.0)}
"""Of the closed division: benchmark/MLPerfTiny_Rules.adoc of mlcommons/tiny, by the model's name."""


def quality(model: str, top1: float, area: float | None) -> str | None:
    """Whether a model of the benchmark is as good as the closed division wants it; None for any other."""
    if model not in QUALITY_TARGETS:
        return None
    figure, least = QUALITY_TARGETS[model]
    came = area if figure == AUC else top1
    reached = came is not None and came >= least
    shown = "unknown" if came is None else f"{came:.{3 if figure == AUC else 1}f}"
    word = "reached" if reached else "not reached"
    return f"{model}: {figure} {shown}, the closed division asks for {least:g}: {word}"


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
        return binary_area(scores[:, -1], truth == 1)
    areas = [binary_area(scores[:, index], truth == index) for index in range(classes)]
    known = [area for area in areas if area is not None]
    return float(np.mean(known)) if len(known) == classes else None
