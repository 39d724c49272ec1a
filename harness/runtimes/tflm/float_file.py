"""Float .tflite files: which files they are, what holds one, and one made of a SavedModel.

A float file runs on no device here; it is what integers are made of (`quantise.py`), and the reference to
compare them with. Weights stored as float16 or int8 are taken as floats (`stored_weights.py`).
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import os
import shutil
import tempfile
from importlib import metadata
from pathlib import Path

from harness import __version__
from harness.errors import HarnessError, ModelError, OutputError, UnsupportedError
from harness.exclusive import exclusive
from harness.model.digests import data_digest
from harness.model.spec import ModelSpec
from harness.portable.graph import Graph
from harness.portable.ops import OPERATORS
from harness.runtimes.planned import read_file
from harness.runtimes.tflm import reader
from harness.runtimes.tflm.stored_weights import FLOAT, with_float_weights
from harness.runtimes.tflm.writer import write


def is_float(path: Path) -> bool:
    """Whether it is a sound .tflite file of a float network, however its weights are stored."""
    try:
        return bool(with_float_weights(reader.read_any(read_file(path)))[1])
    except HarnessError:
        return False  # whoever loads it says what is wrong


def read_float(path: Path) -> Graph:
    """The graph of a float .tflite file, weights in float32.

    Raises:
        ModelError, UnsupportedError: as `reader.read`; or it is not a float file.
    """
    return _read(path)[0]


def stored_as(path: Path) -> str:
    """How a float .tflite file stores its weights: a word of `stored_weights`. Raises as `read_float`."""
    return _read(path)[1]


def stored_weight_bytes(path: Path) -> int:
    """What weights and biases take in a float .tflite file. Raises as `read_float`."""
    read_float(path)
    constants = [tensor for tensor in reader.read_any(read_file(path)).tensors if tensor.data is not None]
    held = [each for each in constants if each.scales or each.info.dtype in ("float16", "float32")]
    return sum(each.info.size_bytes for each in held)


def float_bytes(path: Path) -> bytes:
    """A float .tflite file, weights in float32: the file's own bytes where they are that.

    Raises:
        ModelError, UnsupportedError: as `read_float`; or weights are stored otherwise, and an operator's
            options are not known, so that it cannot be written anew.
    """
    graph, how = _read(path)
    if how == FLOAT:
        return path.read_bytes()
    for operator in graph.operators:
        if operator.op not in OPERATORS:
            raise UnsupportedError(
                f"{path}: operator {operator.index} ({operator.op}) is not supported in a {how} file",
                "Convert it again without converter.optimizations, to a float file",
            )
    return write(graph)


def _read(path: Path) -> tuple[Graph, str]:
    try:
        graph, how = with_float_weights(reader.read_any(read_file(path)))
    except (ModelError, UnsupportedError) as error:
        raise type(error)(f"{path}: {error.message}", error.remedy) from error
    if not how:
        raise ModelError(f"{path}: expected a float .tflite file, came one with integers in it")
    return graph, how


def float_tflite(model: ModelSpec) -> Path | None:
    """The model's float .tflite file; or one made of its SavedModel, kept in `model.conversions` or there
    until this process ends; or None.

    Raises:
        ModelError, UnsupportedError: the SavedModel cannot be read, or has what a .tflite has not.
        MissingError: TensorFlow, which alone reads SavedModels, is not installed.
    """
    if "tflite_float" in model.artifacts:
        return model.artifacts["tflite_float"]
    saved = model.artifacts.get("savedmodel")
    return _converted(saved, model.conversions) if saved is not None else None


@functools.cache
def _converted(saved: Path, kept: Path | None) -> Path:
    from harness.extras import require_installed
    from harness.runtimes.tflm.quantise import convert

    require_installed("tensorflow", "keras")
    if kept is None:
        kept = Path(tempfile.mkdtemp(prefix="harness-"))
        atexit.register(shutil.rmtree, kept, ignore_errors=True)
    recipe = f"{__version__} {_tensorflow()} {data_digest(saved)}"
    out = kept / f"{saved.name}-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}.tflite"
    with exclusive(out):
        if not out.is_file():
            try:
                with tempfile.TemporaryDirectory(dir=kept, prefix=".making-") as work:
                    made = Path(work) / out.name
                    convert(saved, made)
                    os.replace(made, out)
            except OSError as error:
                raise OutputError(f"{out}: not writable: {error.strerror}") from None
    return out


def _tensorflow() -> str:
    """The installed version, under either of the package's names."""
    for name in ("tensorflow-cpu", "tensorflow"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return ""
