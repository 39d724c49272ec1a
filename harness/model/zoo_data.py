"""The data the zoo is trained, calibrated and tested with; a recipe names one of these sets.

`python -m harness.model.zoo_data models` writes every `models/<set>/test.npz` and `calibration.npz`
again. No run needs it: those files are committed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.model import bands, digits, photographs
from harness.model.images import Images, write_sets


@dataclass(frozen=True)
class DataSet:
    """`split()` gives training and held-out images; `calibration`: so many of the first go into the file."""

    split: Callable[[], tuple[Images, Images]]
    calibration: int


SETS = {
    "mnist": DataSet(digits.split, 200),
    "bands_1x1": DataSet(lambda: bands.split(2, 1), 100),
    "bands_15x15": DataSet(lambda: bands.split(10, 15), 100),
    "photographs": DataSet(photographs.split, 24),
}


def main() -> None:
    for name, data in SETS.items():
        write_sets(Path(sys.argv[1]) / name, *data.split(), data.calibration)


if __name__ == "__main__":
    main()
