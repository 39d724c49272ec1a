"""One layer's output that is not what it should be: how far off, how often, and where most.

Plain arithmetic on two tensors. Which layer that is, and what it was computed from, is found elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.measure.gaps import distance_lsb
from harness.records.schema import LsbBin

Array = NDArray[np.generic]


@dataclass(frozen=True)
class Worst:
    """The element that is off by most, the first of several; its index in the tensor's shape."""

    index: tuple[int, ...]
    device: float
    oracle: float


def worst_element(device: Array, oracle: Array) -> Worst:
    """Raises ValueError as `distance_lsb`."""
    place = int(np.argmax(distance_lsb(device, oracle)))
    index = tuple(int(at) for at in np.unravel_index(place, oracle.shape))
    return Worst(index, float(device[index]), float(oracle[index]))


def lsb_histogram(device: Array, oracle: Array) -> tuple[LsbBin, ...]:
    """How many elements are off by how much, device less oracle: bins 1, 2-3, 4-7, ... on either side of 0.

    Empty bins are left out; the bins' elements add up to the tensor's.
    """
    distance = distance_lsb(device, oracle).reshape(-1)
    below = np.less(device.reshape(-1).astype(np.float64), oracle.reshape(-1).astype(np.float64))
    found = []
    for sign, side in ((-1, below), (1, ~below)):
        sizes = distance[side]
        powers = [int(size).bit_length() for size in np.unique(sizes)]
        for power in dict.fromkeys(powers):
            low, high = (1 << power) >> 1, (1 << power) - 1
            number = int(np.count_nonzero((sizes >= np.uint64(low)) & (sizes <= np.uint64(high))))
            ends = sorted((sign * low, sign * high))
            found.append(LsbBin(ends[0], ends[1], number))
    return tuple(sorted(found, key=lambda part: part.low))
