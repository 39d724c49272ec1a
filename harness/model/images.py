"""Labelled images in memory, and the pair of .npz files the bench takes of them.

Where they come from is for others to know: `zoo_data.py` for the zoo, `image_folder.py` for a user's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.model.digests import write_sums

TEST, CALIBRATION = "test.npz", "calibration.npz"


@dataclass(frozen=True)
class Images:
    """`x` uint8 (N, H, W) or (N, H, W, 3); `y` uint8 (N,), class numbers."""

    x: NDArray[np.uint8]
    y: NDArray[np.uint8]

    def take(self, which: slice | Sequence[int] | NDArray[np.int64]) -> Images:
        return Images(self.x[which], self.y[which])


def write_sets(directory: Path, train: Images, held_out: Images, calibration: int) -> None:
    """Writes test.npz (all of `held_out`), calibration.npz (the first of `train`) and SHA256SUMS."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, images in ((TEST, held_out), (CALIBRATION, train.take(slice(calibration)))):
        np.savez_compressed(directory / name, x=images.x, y=images.y)
    write_sums(directory, [TEST, CALIBRATION])
