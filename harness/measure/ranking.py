"""How well a figure ranks one kind of thing above another: plain arithmetic, for any kind of score."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def binary_area(values: NDArray[np.float64], positive: NDArray[np.bool_]) -> float | None:
    """The area under the ROC curve: the share of pairs in which the positive one has the higher value; a
    tie is half a pair. None where one kind is missing.
    """
    high, low = values[positive], np.sort(values[~positive])
    if high.size == 0 or low.size == 0:
        return None
    below, not_above = np.searchsorted(low, high, "left"), np.searchsorted(low, high, "right")
    return float((below + not_above).sum() / (2 * high.size * low.size))
