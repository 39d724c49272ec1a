"""The float model, run in onnxruntime, Keras or tflite-micro: what the network says before quantisation.

One sample at a time in one thread: that is how the device runs, and what makes the floats the
same on every run. It knows nothing of artifacts or integers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError, ModelError, UnsupportedError, UsageError, first_line
from harness.extras import require
from harness.model.dataset import load_dataset
from harness.model.digests import file_digest
from harness.model.keras_onnx import float_onnx
from harness.model.preprocess import Preprocess
from harness.model.spec import ModelSpec
from harness.tensors import TensorInfo

Progress = Callable[[int, int], None]
"""Called with (samples done, samples in all)."""

_ORT_DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
}


class Reference(ABC):
    """A float model that can be run; `name` is what records call it."""

    name: str

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def digest(self) -> str:
        """SHA-256 of the file, hex."""
        return file_digest(self._path)

    @abstractmethod
    def _input_shapes(self) -> list[tuple[int | None, ...]]:
        """Per input, batch first; None where the model leaves a size open."""

    @abstractmethod
    def _invoke(self, inputs: list[NDArray[np.float32]]) -> NDArray[np.generic]:
        """The first output for one sample."""

    def run(
        self,
        inputs: Sequence[NDArray[np.float32]],
        progress: Progress | None = None,
        like: tuple[int, ...] = (),
    ) -> NDArray[np.float32]:
        """Real inputs, one array (N, *shape) per model input in the model's order, to the first
        output as (N, elements), in the order of a tensor of shape `like`: an image of channels first is
        turned where only that fits.

        Raises:
            ModelError: number or shape of the inputs does not fit the model.
        """
        shapes = self._input_shapes()
        if len(inputs) != len(shapes):
            raise ModelError(f"{self._path}: the model has {len(shapes)} inputs, the data {len(inputs)}")
        fitted = [fit_layout(values, shape, self._path) for values, shape in zip(inputs, shapes, strict=True)]
        outputs = []
        samples = len(inputs[0])
        for index in range(samples):
            try:
                output = self._invoke([values[index] for values in fitted])
            except Exception as error:
                raise ModelError(f"{self._path}: {self.name} failed: {first_line(error)}") from error
            outputs.append(_turned(np.asarray(output, dtype=np.float32), like).reshape(-1))
            if progress is not None:
                progress(index + 1, samples)
        return np.stack(outputs)


class OnnxReference(Reference):
    """An .onnx file in onnxruntime on the CPU."""

    name = "onnx"

    def __init__(self, path: Path, model: bytes | None = None) -> None:
        """`model` instead of the file's own bytes."""
        super().__init__(path)
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                model or str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime has a dozen exception classes and no common base
            raise ModelError(f"{path}: onnxruntime cannot load it: {first_line(error)}") from error
        self._inputs = self._session.get_inputs()
        for info in self._inputs:
            if info.type not in _ORT_DTYPES:
                raise ModelError(f"{path}: input {info.name} is {info.type}, expected tensor(float)")

    def _input_shapes(self) -> list[tuple[int | None, ...]]:
        return [
            tuple(size if isinstance(size, int) and size > 0 else None for size in info.shape)
            for info in self._inputs
        ]

    def _invoke(self, inputs: list[NDArray[np.float32]]) -> NDArray[np.generic]:
        feeds = {
            info.name: values.astype(_ORT_DTYPES[info.type])
            for info, values in zip(self._inputs, inputs, strict=True)
        }
        first: NDArray[np.generic] = self._session.run(None, feeds)[0]
        return first

    @classmethod
    def tensors(
        cls, path: Path, inputs: Sequence[NDArray[np.float32]]
    ) -> tuple[dict[str, NDArray[np.float32]], str]:
        """Every tensor that a file's nodes compute for one sample, in the order they run, by name; and the
        name of the first output.

        Raises:
            ModelError: the file does not load, or does not run on these inputs, (1, *shape) each.
        """
        import onnx

        try:
            model = onnx.load(path)
        except Exception as error:  # protobuf's own, by version
            raise ModelError(f"{path}: onnx cannot load it: {first_line(error)}") from error
        names = [name for node in model.graph.node for name in node.output if name]
        known = {output.name for output in model.graph.output}
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
        reference = cls(path, model.SerializeToString())
        shapes = reference._input_shapes()
        fitted = [fit_layout(value, shape, path)[0] for value, shape in zip(inputs, shapes, strict=True)]
        feeds = {
            info.name: value.astype(_ORT_DTYPES[info.type])
            for info, value in zip(reference._inputs, fitted, strict=True)
        }
        values = reference._session.run(names, feeds)
        computed = {name: np.asarray(value, np.float32) for name, value in zip(names, values, strict=True)}
        return computed, str(model.graph.output[0].name)


class KerasReference(Reference):
    """A .keras or .h5 file in Keras on TensorFlow (extra `keras`)."""

    name = "keras"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        tensorflow = require("tensorflow", "keras")
        keras = require("keras", "keras")
        # TensorFlow refuses once it has run something; its threads are then already set.
        with contextlib.suppress(RuntimeError):
            tensorflow.config.threading.set_intra_op_parallelism_threads(1)
        try:
            self._model = keras.models.load_model(path, compile=False)
        except Exception as error:  # zip, HDF5, JSON and Keras' own: all mean the file is not readable
            raise ModelError(f"{path}: Keras cannot load it: {first_line(error)}") from error
        self._call = tensorflow.function(lambda inputs: self._model(inputs, training=False))

    def _input_shapes(self) -> list[tuple[int | None, ...]]:
        return [tuple(tensor.shape) for tensor in self._model.inputs]

    def _invoke(self, inputs: list[NDArray[np.float32]]) -> NDArray[np.generic]:
        outputs = self._call(inputs[0] if len(inputs) == 1 else inputs)
        first = outputs[0] if isinstance(outputs, list | tuple) else outputs
        return np.asarray(first)


class TfliteReference(Reference):
    """A float .tflite file, or one made of a SavedModel, in tflite-micro."""

    name = "tflite"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        from harness.runtimes.tflm.float_file import float_bytes, read_float  # the runtimes know models
        from harness.runtimes.tflm.oracle import TflmOracle

        graph = read_float(path)
        self._inputs = [graph.tensors[index].info for index in graph.inputs]
        self._interpreter = TflmOracle(graph, float_bytes(path))

    def _input_shapes(self) -> list[tuple[int | None, ...]]:
        return [tensor.shape for tensor in self._inputs]

    def _invoke(self, inputs: list[NDArray[np.float32]]) -> NDArray[np.generic]:
        return self._interpreter.run(inputs)[0]


def open_reference(spec: ModelSpec, kind: str = "onnx") -> tuple[Reference | None, str]:
    """The float reference of a model, and why there is none where it is None ("" otherwise).

    For kind onnx, a model that has only a Keras file is converted: no TensorFlow is needed. One that has only
    a float .tflite or a SavedModel runs as .tflite.

    Raises:
        UsageError: `kind` is neither onnx nor keras.
        ModelError: the file does not load.
        MissingError: kind keras without TensorFlow.
    """
    kinds: dict[str, type[Reference]] = {"onnx": OnnxReference, "keras": KerasReference}
    if kind not in kinds:
        raise UsageError(f"reference {kind!r}: expected {' or '.join(kinds)}")
    if kind == "onnx" and {"onnx", "keras"}.isdisjoint(spec.artifacts):
        from harness.runtimes.tflm.float_file import float_tflite

        tflite = float_tflite(spec)
        if tflite is not None:
            return TfliteReference(tflite), ""
    try:
        path = float_onnx(spec) if kind == "onnx" else spec.artifacts.get(kind)
    except UnsupportedError as error:
        return None, f"no float reference to compare with: {error}"
    if path is None:
        return None, f"{spec.name} has no .{kind} file, so there is no float reference to compare with"
    return kinds[kind](path), ""


def fit_layout(values: NDArray[np.float32], shape: tuple[int | None, ...], path: Path) -> NDArray[np.float32]:
    """(N, *sample shape) to (N, *shape) with batch 1: axes of length 1 come and go, and NHWC and
    NCHW are exchanged where only that fits. An open size takes the sample's.

    Raises:
        ModelError: neither fits.
    """
    sample = values.shape[1:]
    wanted = tuple(
        size if size is not None else (1 if axis == 0 or len(shape) != len(sample) else sample[axis])
        for axis, size in enumerate(shape)
    )
    if [size for size in sample if size != 1] == [size for size in wanted if size != 1]:
        return values.reshape(len(values), *wanted)
    for axes in ((0, 1, 4, 2, 3), (0, 1, 3, 4, 2)):
        if values.ndim == 5 and values.transpose(axes).shape[1:] == wanted:
            return np.ascontiguousarray(values.transpose(axes))
    raise ModelError(
        f"{path}: the float model's input is {shape}, one sample of the data is {sample}",
        "Export the float model with batch 1 and the input shape of the quantised one",
    )


def _turned(output: NDArray[np.float32], like: tuple[int, ...]) -> NDArray[np.float32]:
    if output.shape != like and output.ndim == len(like) == 4:
        for axes in ((0, 2, 3, 1), (0, 3, 1, 2)):
            if output.transpose(axes).shape == like:
                return output.transpose(axes)
    return output


def load_inputs(path: Path, tensor: TensorInfo, preprocess: Preprocess | None) -> NDArray[np.float32]:
    """An .npz file as real inputs (N, *tensor.shape) of a float model, whose channels may lie first
    where the file's lie last, and the other way round.

    Raises:
        DataError: as `load_dataset`.
    """
    try:
        return load_dataset(path, tensor, preprocess, labelled=False).real()[0]
    except DataError:
        if len(tensor.shape) != 4:
            raise
        one, *rest = tensor.shape
        for axes in ((1, 2, 0), (2, 0, 1)):
            turned = dataclasses.replace(tensor, shape=(one, *(rest[axis] for axis in axes)))
            with contextlib.suppress(DataError):
                return fit_layout(
                    load_dataset(path, turned, preprocess, labelled=False).real()[0], tensor.shape, path
                )
        raise
