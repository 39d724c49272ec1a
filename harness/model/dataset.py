"""Input data for a run: a file the user brings (data_files.py), the zoo's test set, or random integers.

Knows the artifact's input tensors and the declared preprocessing, and nothing of boards. A value
that cannot be meant (wrong type, shape, NaN, a pickle) is refused here, before anything is built.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from harness.model.data_files import RECORDINGS, read_arrays
from harness.model.digests import data_digest
from harness.model.preprocess import Preprocess
from harness.model.spec import ModelSpec
from harness.tensors import TensorInfo

Array = NDArray[np.generic]


@dataclass(frozen=True)
class Dataset:
    """`inputs[k]` is (N, *tensors[k].shape): float32 real values, or integers of the tensor's own
    dtype, which are already quantised. `labels` int64 (N,). `digest` is the SHA-256 of the file or folder,
    or of the values where there is no file. `pixels` are the images as they came, uint8 (N, H, W)
    or (N, H, W, 3), for people to look at; None where the data are no such images. `recordings` int64
    (N, 2), of a data set of recordings: the number of what a sample is a window of, and the class of that.
    """

    tensors: tuple[TensorInfo, ...]
    inputs: tuple[Array, ...]
    labels: NDArray[np.int64] | None
    source: str
    digest: str
    pixels: NDArray[np.uint8] | None = None
    recordings: NDArray[np.int64] | None = None

    @property
    def samples(self) -> int:
        return len(self.inputs[0])

    def take(self, samples: int) -> Dataset:
        """The first `samples` ones, or all where there are fewer."""
        return dataclasses.replace(
            self,
            inputs=tuple(x[:samples] for x in self.inputs),
            labels=None if self.labels is None else self.labels[:samples],
            pixels=None if self.pixels is None else self.pixels[:samples],
            recordings=None if self.recordings is None else self.recordings[:samples],
        )

    def quantised(self) -> list[Array]:
        """What oracle and device get, one array (N, *shape) of the tensor's dtype per input."""
        return [
            values if values.dtype == tensor.dtype else tensor.quantise(values.astype(np.float32))
            for tensor, values in zip(self.tensors, self.inputs, strict=True)
        ]

    def real(self) -> list[NDArray[np.float32]]:
        """What the float reference gets, one array (N, *shape) float32 per input."""
        return [
            values.astype(np.float32) if values.dtype == np.float32 else tensor.dequantise(values)
            for tensor, values in zip(self.tensors, self.inputs, strict=True)
        ]


def load_dataset(
    path: Path,
    tensors: TensorInfo | Sequence[TensorInfo],
    preprocess: Preprocess | None = None,
    classes: int | None = None,
    class_names: Sequence[str] = (),
    labelled: bool = True,
) -> Dataset:
    """Reads a file or folder as data_files.py has them. An .npz has `x` (`x0`, `x1`, ... for several
    inputs), the inputs' names, or, for one input, whatever its only array is called; optionally `y`, one
    class number per sample.

    Floating values are real ones; integers of the input's own dtype are already quantised; uint8
    with a `preprocess` are pixels. The first axis counts samples; axes of length 1 may be missing,
    an input that is one vector also takes images, row by row, and images go from channels first to channels
    last, or back, where only that fits.

    Args:
        classes: number of output elements; labels must be below it.
        class_names: what the model calls them, where it does.
        labelled: False leaves `y` alone: a regression has no classes, and nobody calibrates on labels.

    Raises:
        DataError: names the file, the key, what was expected and the numpy line that mends it.
    """
    tensors = (tensors,) if isinstance(tensors, TensorInfo) else tuple(tensors)
    arrays = read_arrays(path, tensors, preprocess, class_names)
    named = {key: arrays[key] for key in _input_keys(path, arrays, tensors)}
    checked = _checked_inputs(named, tensors, preprocess, str(path))
    samples = len(checked[0])
    labels = _labels(arrays["y"], samples, classes, str(path)) if "y" in arrays and labelled else None
    pixels = _pixels(next(iter(named.values())), samples)
    recordings = arrays[RECORDINGS].astype(np.int64) if path.is_dir() and RECORDINGS in arrays else None
    return Dataset(tensors, checked, labels, str(path), data_digest(path), pixels, recordings)


def dataset_from(
    inputs: Array | Sequence[Array],
    labels: Array | None,
    tensors: Sequence[TensorInfo],
    preprocess: Preprocess | None = None,
) -> Dataset:
    """Arrays in hand, by the same rules as `load_dataset`; one per input tensor. For one tensor
    also the array itself or a list of samples.

    Raises:
        DataError: as `load_dataset`.
    """
    alone = isinstance(inputs, np.ndarray) or (len(tensors) == 1 and len(inputs) != 1)
    arrays = [np.asarray(inputs)] if alone else list(inputs)
    if len(arrays) != len(tensors):
        raise DataError(f"inputs: expected {len(tensors)} arrays, one per input, came {len(arrays)}")
    named = {f"x{index}": np.asarray(values) for index, values in enumerate(arrays)}
    checked = _checked_inputs(named, tuple(tensors), preprocess, "inputs")
    samples = len(checked[0])
    known = None if labels is None else _labels(np.asarray(labels), samples, None, "inputs")
    pixels = _pixels(named["x0"], samples)
    return Dataset(tuple(tensors), checked, known, "arrays", _digest(checked), pixels)


def first_sample(model: ModelSpec, tensors: Sequence[TensorInfo], data: Path | None) -> list[Array]:
    """The integers of one sample: of `data`, else of the model's test set, else random ones.

    Raises:
        DataError: as `load_dataset` and `random_dataset`.
    """
    source = data or model.test
    if source is None:
        dataset = random_dataset(tensors, 1, seed=0)
    else:
        dataset = load_dataset(source, tensors, model.preprocess, labelled=False).take(1)
    return [values[0] for values in dataset.quantised()]


def random_dataset(tensors: Sequence[TensorInfo], samples: int, seed: int) -> Dataset:
    """Uniform over each integer input's full range, -1..1 for float ones; equal seeds, equal values.

    Raises:
        DataError: an integer input without a scale: which values are valid, only the user knows.
    """
    # RandomState's stream is frozen for good, so a seed in an old record still gives the same data.
    random = np.random.RandomState(seed)
    inputs: list[Array] = []
    for tensor in tensors:
        size = (samples, *tensor.shape)
        if tensor.dtype == "float32":
            inputs.append(random.uniform(-1, 1, size).astype(np.float32))
        elif tensor.dtype == "bool":
            inputs.append(random.randint(0, 2, size).astype(np.bool_))
        elif tensor.quantised:
            limits = np.iinfo(tensor.dtype)
            drawn = random.randint(int(limits.min), int(limits.max) + 1, size, dtype=np.int64)
            inputs.append(drawn.astype(tensor.dtype))
        else:
            raise DataError(
                f"input {tensor.name} is {tensor.dtype} without a scale: its valid range is not known",
                "Give data: --data FILE.npz",
            )
    return Dataset(tuple(tensors), tuple(inputs), None, f"random (seed {seed})", _digest(inputs))


def _digest(inputs: Sequence[Array]) -> str:
    return hashlib.sha256(b"".join(values.tobytes() for values in inputs)).hexdigest()


def _input_keys(path: Path, arrays: dict[str, Array], tensors: tuple[TensorInfo, ...]) -> list[str]:
    names = [tensor.name for tensor in tensors]
    numbered = ["x"] if len(tensors) == 1 else [f"x{index}" for index in range(len(tensors))]
    only = [key for key in arrays if key != "y"] if len(tensors) == 1 else []
    for keys in (numbered, names, only):
        if len(keys) == len(tensors) == len(set(keys)) and all(key in arrays for key in keys):
            return keys
    found = ", ".join(arrays) or "nothing"
    raise DataError(
        f"{path}: expected {', '.join(numbered)} (and optionally y), found {found}",
        f'Write it with np.savez("data.npz", {", ".join(f"{key}={key}" for key in numbered)}, y=y)',
    )


def _checked_inputs(
    named: dict[str, Array], tensors: tuple[TensorInfo, ...], preprocess: Preprocess | None, source: str
) -> tuple[Array, ...]:
    checked = []
    for (key, values), tensor in zip(named.items(), tensors, strict=True):
        where = f"{source}: {key}"
        checked.append(_checked(_with_sample_axis(values, tensor, where), tensor, preprocess, source, key))
        if len(checked[-1]) != len(checked[0]):
            first = next(iter(named))
            raise DataError(f"{source}: {first} has {len(checked[0])} samples, {key} has {len(checked[-1])}")
    return tuple(checked)


def _with_sample_axis(values: Array, tensor: TensorInfo, where: str) -> Array:
    """`values` as (N, *tensor.shape), or DataError."""
    core = _without_ones(tensor.shape)
    if values.size == 0:
        raise DataError(f"{where} is empty: its shape is {values.shape}")
    if values.ndim and _without_ones(values.shape[1:]) == core:
        return values.reshape(-1, *tensor.shape)
    if values.ndim > 1 and len(core) == 1 and int(np.prod(values.shape[1:])) == core[0]:
        return values.reshape(-1, *tensor.shape)
    if _without_ones(values.shape) == core:
        return values.reshape(1, *tensor.shape)
    # Images channels first for a model that wants them last, or the other way round: as fit_layout does.
    for axes in ((0, 2, 3, 1), (0, 3, 1, 2)):
        if values.ndim == 4 and _without_ones(np.transpose(values, axes).shape[1:]) == core:
            return np.ascontiguousarray(np.transpose(values, axes)).reshape(-1, *tensor.shape)
    expected = ", ".join(str(size) for size in ("N", *tensor.shape[1:]))
    raise DataError(f"{where} has shape {values.shape}, expected ({expected})")


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _checked(
    values: Array, tensor: TensorInfo, preprocess: Preprocess | None, source: str, key: str
) -> Array:
    """Real float32 values or the tensor's own integers, or DataError."""
    if preprocess is not None and values.dtype == np.uint8:
        return preprocess.apply(values.astype(np.uint8))
    if np.issubdtype(values.dtype, np.floating) and (tensor.quantised or tensor.dtype == "float32"):
        with np.errstate(over="ignore"):
            real = values.astype(np.float32)
        bad = np.asarray(~np.isfinite(real).reshape(len(real), -1).all(axis=1))
        if bad.any():
            raise DataError(
                f"{source}: {key}: sample {int(np.argmax(bad))} (from 0) holds NaN or infinity "
                f"({int(bad.sum())} of {len(bad)} samples do)",
                f"Leave them out: {key}[np.isfinite({key}).reshape(len({key}), -1).all(1)]",
            )
        return real
    if values.dtype == tensor.dtype:
        return values
    kinds = {f"{tensor.dtype} (already quantised)": tensor.dtype}
    if tensor.quantised:
        kinds = {"float32 (real values)": "float32", **kinds}
    elif tensor.dtype == "float32":
        kinds = {"float32 (real values)": "float32"}
    else:
        kinds = {f"{tensor.dtype}": tensor.dtype}
    if preprocess is not None:
        kinds = {"uint8 (pixels)": "uint8", **kinds}
    kind = f"np.{next(iter(kinds.values()))}"
    remedy = f'Convert it: np.savez("data.npz", {key}={key}.astype({kind}))'
    if values.dtype == np.uint8 and preprocess is None:
        remedy += "; or, if it is pixels, say what they become: --preprocess scale=0.00392157 (/ 255)"
    raise DataError(f"{source}: {key} is {values.dtype}, expected {' or '.join(kinds)}", remedy)


def _pixels(values: Array, samples: int) -> NDArray[np.uint8] | None:
    if values.dtype != np.uint8 or len(values) != samples:
        return None
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    image = values.ndim == 3 or (values.ndim == 4 and values.shape[3] == 3)
    return values.astype(np.uint8) if image else None


def _labels(y: Array, samples: int, classes: int | None, source: str) -> NDArray[np.int64]:
    if y.ndim == 2 and y.shape[1] > 1:
        raise DataError(
            f"{source}: y has shape {y.shape}, expected ({samples},)",
            "If it is one-hot: y = y.argmax(axis=1)",
        )
    if not np.issubdtype(y.dtype, np.integer):
        raise DataError(
            f"{source}: y is {y.dtype}, expected whole class numbers",
            "Convert it: y = y.astype(np.int64); or, if they are no classes: --task regression",
        )
    labels = y.astype(np.int64).reshape(-1)
    if len(labels) != samples:
        raise DataError(f"{source}: {len(labels)} labels in y for {samples} samples")
    limit = classes if classes is not None else np.iinfo(np.int64).max
    wrong = (labels < 0) | (labels >= limit)
    if wrong.any():
        index = int(np.argmax(wrong))
        allowed = f"0..{classes - 1}" if classes is not None else "0 or more"
        raise DataError(f"{source}: y[{index}] is {labels[index]}, expected {allowed}")
    return labels
