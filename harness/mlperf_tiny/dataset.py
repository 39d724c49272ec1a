"""The data of an MLPerf Tiny accuracy run: a directory with y_labels.csv and the files it names.

A row is `file,classes,class`, for anomaly detection `file,classes,class,bytes_to_send,stride`: such a
file is sent in overlapping windows. The bytes go to the device as they are.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from harness.errors import DataError

LABELS = "y_labels.csv"
PIXEL_ZERO_POINT = -128
"""Of an int8 input that holds pixels: the bytes come as 0...255, and the device subtracts 128."""
_REMEDY = "See benchmark/evaluation/datasets of github.com/mlcommons/tiny"


@dataclass(frozen=True)
class Sample:
    """One file: `label` is its class, `windows` what is sent, one after another."""

    file: str
    classes: int
    label: int
    windows: tuple[bytes, ...]


def read_dataset(directory: Path) -> list[Sample]:
    """All samples, in the order of y_labels.csv.

    Raises:
        DataError: a file is missing, or a row is not of the form above.
    """
    labels = directory / LABELS
    try:
        rows = [row for row in csv.reader(labels.read_text("utf-8").splitlines()) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        came = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{labels}: expected a list of files and classes, came {came}", _REMEDY) from None
    if not rows:
        raise DataError(f"{labels}: expected at least one row, came none", _REMEDY)
    return [_sample(directory, row, f"{labels}, row {number}") for number, row in enumerate(rows, 1)]


def _sample(directory: Path, row: list[str], where: str) -> Sample:
    numbers = row[1:]
    if len(row) not in (3, 5) or not all(number.strip().isdecimal() for number in numbers):
        raise DataError(f"{where}: expected file,classes,class[,bytes_to_send,stride], came {','.join(row)}")
    classes, label, *window = map(int, numbers)
    if label >= classes:
        raise DataError(f"{where}: expected a class below {classes}, came {label}")
    path = directory / row[0]
    if not path.resolve().is_relative_to(directory.resolve()):
        raise DataError(f"{where}: expected a file in {directory}, came {row[0]}")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{where}: expected the file {path}, came {error.strerror}", _REMEDY) from None
    size, stride = window or (len(data), 1)
    if not 0 < size <= len(data) or stride == 0:
        raise DataError(f"{where}: expected windows within the {len(data)} bytes of {path}, came {size}")
    starts = range(0, len(data) - size + 1, stride) if window else (0,)
    return Sample(row[0], classes, label, tuple(data[start : start + size] for start in starts))
