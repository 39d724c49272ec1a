"""Float .tflite files: which files they are, what holds one, and one made of a SavedModel.

A float file runs on no device here; it is what integers are made of (`quantise.py`), and the reference to
compare them with.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

from harness.errors import HarnessError, ModelError, UnsupportedError
from harness.model.spec import ModelSpec
from harness.portable.graph import Graph
from harness.runtimes.planned import read_file
from harness.runtimes.tflm import reader


def is_float(path: Path) -> bool:
    """Whether it is a sound .tflite file with nothing quantised in it."""
    try:
        return reader.is_float(reader.read_any(read_file(path)))
    except HarnessError:
        return False  # whoever loads it says what is wrong


def read_float(path: Path) -> Graph:
    """The graph of a float .tflite file.

    Raises:
        ModelError, UnsupportedError: as `reader.read`; or it is not a float file.
    """
    try:
        graph = reader.read_any(read_file(path))
    except (ModelError, UnsupportedError) as error:
        raise type(error)(f"{path}: {error.message}", error.remedy) from error
    if not reader.is_float(graph):
        raise ModelError(f"{path}: expected a float .tflite file, came one with integers in it")
    return graph


def float_tflite(model: ModelSpec) -> Path | None:
    """The model's float .tflite file; or one made of its SavedModel, there until this process ends; or None.

    Raises:
        ModelError, UnsupportedError: the SavedModel cannot be read, or has what a .tflite has not.
        MissingError: TensorFlow, which alone reads SavedModels, is not installed.
    """
    if "tflite_float" in model.artifacts:
        return model.artifacts["tflite_float"]
    return _converted(model.artifacts["savedmodel"]) if "savedmodel" in model.artifacts else None


@functools.cache
def _converted(saved: Path) -> Path:
    from harness.runtimes.tflm.quantise import convert

    directory = Path(tempfile.mkdtemp(prefix="harness-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    out = directory / f"{saved.name}.tflite"
    convert(saved, out)
    return out
