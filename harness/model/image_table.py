"""Images in CSV tables, as Kaggle has MNIST: a line per image, `label,pixel0,pixel1,...`.

Square, gray, 0..255. A table without labels (Kaggle's test.csv) cannot be tested with and is passed over.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError, first_line

LABEL = "label"


def tables_in(directory: Path) -> list[Path]:
    """The .csv files with labels: `directory` itself if it is one, or those directly in it."""
    found = [directory] if directory.is_file() else sorted(directory.glob("*.csv"))
    labelled = [path for path in found if _header(path)[0] == LABEL]
    if found and not labelled:
        came = ",".join(_header(found[0])[:3])
        raise DataError(f"{found[0]}: expected a header line {LABEL},pixel0,pixel1,..., came {came},...")
    return labelled


def _header(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline(1 << 20).rstrip("\r\n").split(",")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected a folder of images or a CSV table: {error}") from None


def read_table(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pixels (N, side, side) and labels (N,). Raises DataError, with the line where it can."""
    import pandas as pd  # half a second that only tables need

    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not readable as CSV: {first_line(error)}") from None
    values = table.to_numpy()
    side = round((values.shape[1] - 1) ** 0.5)
    if side < 1 or side * side != values.shape[1] - 1:
        raise DataError(f"{path}: {values.shape[1] - 1} pixels per line are no square image")
    if not len(values):
        raise DataError(f"{path}: it holds no images")
    if not np.issubdtype(values.dtype, np.number):
        raise DataError(f"{path}: expected whole numbers 0..255, came text")
    wrong = ~((values >= 0) & (values <= 255) & (values == np.floor(values))).all(axis=1)
    if wrong.any():
        line = int(np.argmax(wrong)) + 2
        raise DataError(f"{path}, line {line}: expected whole numbers 0..255, all of them there")
    whole = values.astype(np.uint8)
    return whole[:, 1:].reshape(-1, side, side), whole[:, 0]
