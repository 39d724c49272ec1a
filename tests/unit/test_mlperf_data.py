"""A data set of MLPerf Tiny as --data: its bytes mean to a model what they mean to the reference device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.errors import DataError
from harness.model.dataset import load_dataset
from harness.model.preprocess import Preprocess
from harness.tensors import TensorInfo

IMAGE = TensorInfo("image", (1, 2, 3, 1), "int8", 0.5, -128)
FEATURES = TensorInfo("mfcc", (1, 2, 3, 1), "int8", 0.5, 83)
REAL = TensorInfo("image", (1, 2, 3, 1), "float32")

values = np.array([[0, 1, 127, 128, 254, 255], [9, 8, 7, 6, 5, 4]], np.uint8)


def dataset(directory: Path, files: dict[str, bytes], rows: str) -> Path:
    for name, data in files.items():
        (directory / name).write_bytes(data)
    (directory / "y_labels.csv").write_text(rows)
    return directory


@pytest.fixture
def two(tmp_path: Path) -> Path:
    files = {"a.bin": values[0].tobytes(), "b.bin": values[1].tobytes()}
    return dataset(tmp_path, files, "b.bin,3,2\na.bin,3,0\n")


def test_pixels_are_shifted_and_features_are_not(two: Path) -> None:
    as_pixels = load_dataset(two, IMAGE, classes=3)
    assert as_pixels.labels is not None
    assert as_pixels.labels.tolist() == [2, 0]
    assert as_pixels.quantised()[0].reshape(2, 6)[1].tolist() == [-128, -127, -1, 0, 126, 127]
    as_features = load_dataset(two, FEATURES)
    assert as_features.quantised()[0].reshape(2, 6)[1].tolist() == [0, 1, 127, -128, -2, -1]


def test_declared_pixels_serve_a_float_model(two: Path) -> None:
    real = load_dataset(two, REAL, Preprocess("affine", 0.5, -3.0)).real()[0]
    np.testing.assert_array_equal(real.reshape(2, 6)[1], values[0] * np.float32(0.5) - 3)


def test_windows_of_a_float_file_are_samples_without_labels(tmp_path: Path) -> None:
    spectrogram = np.arange(10, dtype="<f4")
    path = dataset(tmp_path, {"c.bin": spectrogram.tobytes()}, "c.bin,2,1,24,8\n")
    data = load_dataset(path, FEATURES)
    assert data.labels is None
    expected = np.stack([spectrogram[start : start + 6] for start in (0, 2, 4)])
    np.testing.assert_array_equal(data.real()[0].reshape(3, 6), expected)


def test_another_models_data_set_is_refused(two: Path) -> None:
    larger = TensorInfo("x", (1, 7), "int8", 0.5, 0)
    for tensor, said in (
        (larger, "samples of 6 bytes, the model's input is 7 of int8"),
        (REAL, "6 of float32"),
    ):
        with pytest.raises(DataError, match=said):
            load_dataset(two, tensor)
    (two / "a.bin").unlink()
    with pytest.raises(DataError, match="expected the file"):
        load_dataset(two, IMAGE)
