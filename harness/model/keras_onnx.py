"""A Keras file that is a chain, or a float .tflite, to a float ONNX model: channels first, batch 1, opset 13.
No TensorFlow.

The graph is as lean as a quantiser wants it: Conv, Gemm and pools, no transposes. What a Flatten moves
is moved in the weights of the Dense layer behind it.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any

import onnx

from harness.errors import ModelError, UnsupportedError
from harness.model.keras_file import INPUT, KerasModel, read_keras
from harness.model.keras_layers import LAYERS, NotConvertedError
from harness.model.onnx_chain import Chain
from harness.model.spec import ModelSpec


def float_onnx(model: ModelSpec) -> Path | None:
    """The model's .onnx file; or one made of its Keras file, float .tflite or SavedModel, there until this
    process ends; or None.

    Raises:
        ModelError, UnsupportedError: the file is damaged, or has what is not converted.
        MissingError: a SavedModel, and no TensorFlow to read it.
    """
    from harness.runtimes.tflm.float_file import float_tflite  # the runtimes know models

    if "onnx" in model.artifacts:
        return model.artifacts["onnx"]
    source = model.artifacts.get("keras") or float_tflite(model)
    return _converted(source) if source is not None else None


def _read(path: Path) -> KerasModel:
    if path.suffix.lower() != ".tflite":
        return read_keras(path)
    from harness.model.tflite_layers import read_tflite_layers

    return read_tflite_layers(path)


@functools.cache
def _converted(path: Path) -> Path:
    model = to_onnx(path)
    directory = Path(tempfile.mkdtemp(prefix="harness-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    out = directory / f"{path.stem}.onnx"
    onnx.save(model, out)
    return out


def to_onnx(path: Path) -> Any:
    """A .keras, .h5 or float .tflite file as an ONNX model: `input` (1, C, H, W), or (1, ...) where it is no
    image, to `output`.

    Raises:
        UnsupportedError: a layer or setting that is not converted, by index and class.
        ModelError: the file is damaged, or its weights do not fit.
    """
    model = _read(path)
    chain = Chain(model.input_shape)
    points = {INPUT: chain.point}
    for place, layer in enumerate(model.layers):
        if layer.kind not in LAYERS:
            raise UnsupportedError(
                f"{path}: {layer.where} is not supported", f"Supported: {', '.join(sorted(LAYERS))}"
            )
        chain.go_to(*(points[read] for read in layer.reads or (place - 1,)))
        try:
            LAYERS[layer.kind](chain, layer)
        except NotConvertedError as refused:
            raise UnsupportedError(f"{path}: {layer.where}: {refused}") from None
        except (ArithmeticError, IndexError, KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{path}: {layer.where} does not fit: {error}") from error
        points[place] = chain.point
    chain.go_to(points[len(model.layers) - 1 if model.output is None else model.output])
    return chain.model()
