"""What an autoencoder is judged by: how far its output is from its input, and whether that tells anomalies.

As MLPerf Tiny scores ad01: the mean squared error of a window, averaged over the windows of a recording,
against the class of the recording.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.measure.ranking import binary_area
from harness.records.schema import Reconstruction

Array = NDArray[np.generic]
Labels = NDArray[np.int64] | None


def reconstruction(
    real: Array, device: Array, oracle: Array, reference: Array | None, labels: Labels, recordings: Labels
) -> Reconstruction:
    """From real values (N, ...), all of as many elements. `recordings` (N, 2) are each window's recording and
    the class of that; without, each sample is a recording of its own with its label.
    """
    numbers, known = np.arange(len(real)), labels
    if recordings is not None:
        numbers, known = recordings.T
    _, first, place = np.unique(numbers, return_index=True, return_inverse=True)
    truth = known[first] if known is not None else None

    def judged(output: Array) -> tuple[float, float | None]:
        error = _flat(output) - _flat(real)
        each: NDArray[np.float64] = np.mean(error**2, axis=1)
        mean = np.bincount(place, each) / np.bincount(place)
        area = binary_area(mean, truth == 1) if truth is not None else None
        return float(each.mean()), area

    (mse_device, auc_device), (mse_oracle, auc_oracle) = judged(device), judged(oracle)
    mse_reference, auc_reference = judged(reference) if reference is not None else (None, None)
    return Reconstruction(
        mse_device, mse_oracle, mse_reference, auc_device, auc_oracle, auc_reference, len(first)
    )


def _flat(values: Array) -> NDArray[np.float64]:
    return values.reshape(len(values), -1).astype(np.float64)
