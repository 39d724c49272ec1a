"""A user's data file, or folder of images, as named arrays: its formats, and what is wrong with a file.

    .npz                 whatever arrays are in it
    .npy                 one array: x
    .csv                 a line per sample and a line of names first; a column label, class, target or y
                         holds the class numbers. Lines of numbers alone are samples without labels
    .bin, .raw           the model's input as the device takes it, sample after sample;
                         NAME.float32.bin, NAME.uint8.bin, ... say another type
                         In .csv, .bin and .raw, images are row by row, channels last
    a folder             images, as image_folder.py has them, in the size and colours the model takes; or,
                         with a y_labels.csv, a data set of MLPerf Tiny

Whether the values can be meant is for dataset.py to say. Pickles are refused everywhere.
"""

from __future__ import annotations

import csv
import math
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError, first_line
from harness.mlperf_tiny.dataset import LABELS as LABELS_FILE
from harness.mlperf_tiny.dataset import PIXEL_ZERO_POINT, read_dataset
from harness.model.image_folder import Form, read_images
from harness.model.preprocess import Preprocess
from harness.tensors import TensorInfo

Array = NDArray[np.generic]

SUFFIXES = (".npz", ".npy", ".csv", ".bin", ".raw")
LABELS = ("label", "class", "target", "y")
RAW_TYPES = ("int8", "uint8", "int16", "int32", "int64", "float32")
PIXEL_MAX = 255
RECORDINGS = "recordings"
"""Beside `x` from a folder: (N, 2), which recording each sample is a window of, and the class of that."""

# What numpy and zipfile raise on damaged files, found by fuzzing and in their sources.
_DAMAGE = (
    ValueError,
    OSError,
    EOFError,
    KeyError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    SyntaxError,
    tokenize.TokenError,
    UserWarning,
    zipfile.BadZipFile,
    zlib.error,
)


def read_arrays(
    path: Path, tensors: Sequence[TensorInfo], preprocess: Preprocess | None, classes: Sequence[str] = ()
) -> dict[str, Array]:
    """The arrays in a file by name; `x`, and `y` where there are labels, for all but .npz.

    Args:
        classes: what the model calls its outputs; folders of classes have these names.

    Raises:
        DataError: not of these formats, damaged, or not what such a model can take.
    """
    if (path / LABELS_FILE).is_file():
        return _mlperf_tiny(path, _only(path, tensors), preprocess)
    if path.is_dir():
        return _images(path, _only(path, tensors), preprocess, classes)
    if not path.is_file():
        raise DataError(f"{path}: no such data file")
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return {"x": _npy(path)}
    if suffix == ".csv":
        return _csv(path, _only(path, tensors), preprocess)
    if suffix in (".bin", ".raw"):
        return {"x": _raw(path, _only(path, tensors))}
    return _npz(path)


def _only(path: Path, tensors: Sequence[TensorInfo]) -> TensorInfo:
    if len(tensors) != 1:
        numbered = ", ".join(f"x{index}=x{index}" for index in range(len(tensors)))
        raise DataError(
            f"{path}: the model has {len(tensors)} inputs, which only an .npz file can hold",
            f'Write it with np.savez("data.npz", {numbered}, y=y)',
        )
    return tensors[0]


def _npz(path: Path) -> dict[str, Array]:
    with path.open("rb") as file:
        # An .npz is a zip archive; np.load would take anything else for a pickle.
        is_npz = file.read(4) in (b"PK\x03\x04", b"PK\x05\x06") and zipfile.is_zipfile(file)
    if not is_npz:
        raise DataError(
            f"{path}: expected an .npz file, came something else or a truncated one",
            f'Write it with np.savez("data.npz", x=x, y=y); also taken: {", ".join(SUFFIXES[1:])} '
            "and folders of images",
        )
    arrays = {}
    key = "x"
    try:
        # Opened here: numpy leaves the file open when the archive is damaged.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            for key in archive.files:
                arrays[key] = archive[key]
    except _DAMAGE as error:
        raise _not_loaded(path, key, error) from None
    # A member that is no .npy comes back as bytes.
    return {key: values for key, values in arrays.items() if isinstance(values, np.ndarray)}


def _npy(path: Path) -> Array:
    with path.open("rb") as file:
        if file.read(6) != b"\x93NUMPY":
            raise DataError(
                f"{path}: expected an .npy file, came something else or a truncated one",
                'Write it with np.save("data.npy", x)',
            )
        file.seek(0)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # numpy warns of headers that it has to guess at
                values: Array = np.load(file, allow_pickle=False)
        except _DAMAGE as error:
            raise _not_loaded(path, "x", error) from None
    return values


def _not_loaded(path: Path, key: str, error: Exception) -> DataError:
    if "allow_pickle" in str(error):
        return DataError(
            f"{path}: {key} holds Python objects (a pickle), which could run code: refused",
            f'Store numbers: np.savez("data.npz", {key}=np.asarray({key}, dtype=np.float32))',
        )
    return DataError(f"{path}: damaged: {first_line(error)}")


def _csv(path: Path, tensor: TensorInfo, preprocess: Preprocess | None) -> dict[str, Array]:
    """Whole numbers 0..255 are pixels where the model declares what these become."""
    import pandas as pd  # half a second that only tables need

    names = _csv_names(path)
    try:
        table = pd.read_csv(path, header=0 if names else None, dtype=np.float64, encoding="utf-8")
    except (OSError, ValueError, UnicodeError) as error:
        raise DataError(
            f"{path}: expected a line of numbers per sample: {first_line(error)}",
            "Lines of equal length, numbers separated by commas; the first line may hold the columns' names",
        ) from None
    labels = [place for place, name in enumerate(names) if name.strip().lower() in LABELS]
    if len(labels) > 1:
        found = ", ".join(names[place] for place in labels)
        raise DataError(f"{path}: expected one column of labels, came {found}", "Rename all but one")
    values = table.to_numpy()
    x = np.delete(values, labels, axis=1)
    if x.shape[1] != tensor.elements:
        what = f"{x.shape[1]} values" + (f" beside '{names[labels[0]]}'" if labels else "")
        hint = "" if labels or not names else f"; a column of labels is called {', '.join(LABELS)}"
        raise DataError(f"{path}: {what} per line, the model's input has {tensor.elements}{hint}")
    arrays: dict[str, Array] = {"x": _typed(x, tensor, preprocess).reshape(-1, *_stored_shape(tensor))}
    if labels:
        arrays["y"] = _whole(path, values[:, labels[0]], names[labels[0]])
    return arrays


def _csv_names(path: Path) -> list[str]:
    """The columns' names; [] when the first line already holds numbers."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            first = next(csv.reader([file.readline(1 << 20)]), [])
    except (OSError, UnicodeError, csv.Error) as error:
        raise DataError(f"{path}: expected a CSV file in UTF-8: {error}") from None
    if not first:
        raise DataError(f"{path}: expected a line of numbers per sample, came an empty file")
    return [] if all(_is_number(cell) for cell in first) else first


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _typed(x: NDArray[np.float64], tensor: TensorInfo, preprocess: Preprocess | None) -> Array:
    whole = bool(np.all(np.floor(x) == x))
    if preprocess is not None and whole and x.size and x.min() >= 0 and x.max() <= PIXEL_MAX:
        return x.astype(np.uint8)
    if whole and not tensor.quantised and tensor.dtype != "float32":
        return x.astype(tensor.dtype)
    return x


def _whole(path: Path, values: NDArray[np.float64], name: str) -> NDArray[np.int64]:
    wrong = ~(np.floor(values) == values)
    if wrong.any():
        sample = int(np.argmax(wrong))
        raise DataError(
            f"{path}: {name} of sample {sample} (from 0) is {values[sample]:g}, expected a class number"
        )
    return values.astype(np.int64)


def _raw(path: Path, tensor: TensorInfo) -> Array:
    said = Path(path.stem).suffix.removeprefix(".").lower()
    if said not in RAW_TYPES and not tensor.quantised:
        raise DataError(
            f"{path}: raw values of what type? The model's input is {tensor.dtype}",
            f"Name the file {path.stem}.{tensor.dtype}{path.suffix}; types: {', '.join(RAW_TYPES)}",
        )
    dtype = np.dtype(said if said in RAW_TYPES else tensor.dtype).newbyteorder("<")
    data = path.read_bytes()
    each = tensor.elements * dtype.itemsize
    if not data or len(data) % each:
        raise DataError(
            f"{path}: {len(data)} bytes, expected a multiple of {each}: {tensor.elements} {dtype.name} "
            "per sample",
            f"If they are of another type, say it in the name: {path.stem.partition('.')[0]}.float32"
            f"{path.suffix}",
        )
    return np.frombuffer(data, dtype).astype(dtype.name).reshape(-1, *_stored_shape(tensor))


def _mlperf_tiny(path: Path, tensor: TensorInfo, preprocess: Preprocess | None) -> dict[str, Array]:
    """The bytes as the benchmark's runner sends them, each window of a file a sample with the file's class.

    One byte a value is a pixel where the model declares what becomes of pixels or has the zero point -128, as
    ic01 and vww01 have; else an int8 of the input's own. Four bytes are float32 (ad01): windows of a
    recording, whose class is about the whole of it.
    """
    samples = read_dataset(path)
    rows = [(window, sample.label) for sample in samples for window in sample.windows]
    data, sizes = b"".join(window for window, _ in rows), {len(window) for window, _ in rows}
    shape = (-1, *_stored_shape(tensor))
    if sizes == {4 * tensor.elements}:
        recordings = [(place, each.label) for place, each in enumerate(samples) for _ in each.windows]
        return {
            "x": np.frombuffer(data, "<f4").astype(np.float32).reshape(shape),
            RECORDINGS: np.array(recordings),
        }
    if sizes != {tensor.elements} or (tensor.dtype != "int8" and preprocess is None):
        came = ", ".join(map(str, sorted(sizes)))
        raise DataError(
            f"{path}: samples of {came} bytes, the model's input is {tensor.elements} of {tensor.dtype}",
            "Give the data set of this model; a float model needs --preprocess to know what pixels become",
        )
    x = np.frombuffer(data, np.uint8)
    if preprocess is None:
        x = (x ^ 0x80 if tensor.zero_point == PIXEL_ZERO_POINT else x).view(np.int8)
    return {"x": x.reshape(shape), "y": np.array([label for _, label in rows], np.int64)}


def _stored_shape(tensor: TensorInfo) -> tuple[int, ...]:
    """Of one flat sample: with channels last, so that one file serves a float model that has them first and
    the quantised one that has them last.
    """
    sizes = tensor.shape[1:]
    first = len(sizes) == 3 and sizes[0] in (1, 3) and sizes[2] not in (1, 3)
    return (*sizes[1:], sizes[0]) if first else sizes


def _images(
    path: Path, tensor: TensorInfo, preprocess: Preprocess | None, classes: Sequence[str]
) -> dict[str, Array]:
    height, width, channels = _image_shape(path, tensor)
    if preprocess is None and tensor.dtype != "uint8":
        raise DataError(
            f"{path}: images are pixels 0..255; what the model takes for them is not declared",
            "Say it: --preprocess scale=0.00392157,offset=0 (here / 255), or [preprocess] in model.toml",
        )
    resize = bool(preprocess and preprocess.resize)
    images = read_images(path, Form((height, width) if resize else None, gray=channels == 1), classes)
    if images.x.shape[1:3] != (height, width):
        came = "x".join(map(str, images.x.shape[1:3]))
        raise DataError(
            f"{path}: the images are {came}, the model takes {height}x{width}",
            'Scale them: --preprocess resize=bilinear,..., or resize = "bilinear" under [preprocess]',
        )
    x = images.x[..., ::-1] if preprocess and preprocess.colour == "bgr" and channels == 3 else images.x
    x = x if x.ndim == 4 else x[..., np.newaxis]
    return {"x": np.ascontiguousarray(x), **({} if images.y is None else {"y": images.y})}


def _image_shape(path: Path, tensor: TensorInfo) -> tuple[int, int, int]:
    """Height, width, channels of the images that an input takes; a vector takes square gray ones."""
    sizes = tensor.shape[1:]
    if len(sizes) == 3 and sizes[2] in (1, 3):
        return sizes[0], sizes[1], sizes[2]
    if len(sizes) == 3 and sizes[0] in (1, 3):
        return sizes[1], sizes[2], sizes[0]
    if len(sizes) == 2:
        return sizes[0], sizes[1], 1
    side = math.isqrt(tensor.elements)
    if len(sizes) == 1 and side * side == tensor.elements:
        return side, side, 1
    raise DataError(f"{path}: a folder of images, but the model's input {tensor.shape} is no image")
