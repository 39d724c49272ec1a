"""The integers a correct device must return: the tflite-micro interpreter on this machine.

It runs the file's own bytes, not our reading of them. Its kernels are TFLM's reference
kernels, which round twice; LiteRT's round differently and are no oracle for a device.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from harness.errors import DataError, MissingError, ModelError
from harness.portable.graph import Graph
from harness.runtimes.base import Array, Oracle


class TflmOracle(Oracle):
    """Two interpreters, made when first needed: one that reuses memory, one that keeps every tensor.

    Raises:
        MissingError: the tflite-micro wheel is not installed.
        ModelError: the interpreter refuses the model, with its own words.
    """

    def __init__(self, graph: Graph, data: bytes) -> None:
        self._graph = graph
        self._data = data
        self._plain: Any = None
        self._preserving: Any = None

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        if self._plain is None:
            self._plain = self._interpreter("kAllocationRecording")
        self._invoke(self._plain, inputs)
        shapes = [self._graph.tensors[index].info.shape for index in self._graph.outputs]
        return [np.array(self._plain.get_output(i)).reshape(shape) for i, shape in enumerate(shapes)]

    def run_layers(self, inputs: Sequence[Array]) -> list[Array]:
        if self._preserving is None:
            self._preserving = self._interpreter("kPreserveAllTensors")
        self._invoke(self._preserving, inputs)
        layers = [self._graph.tensors[operator.outputs[0]] for operator in self._graph.operators]
        values = [self._preserving.GetTensor(layer.index, 0)["tensor_data"] for layer in layers]
        return [
            np.array(value).reshape(layer.info.shape) for value, layer in zip(values, layers, strict=True)
        ]

    def _invoke(self, interpreter: Any, inputs: Sequence[Array]) -> None:
        expected = [self._graph.tensors[index].info for index in self._graph.inputs]
        if len(inputs) != len(expected):
            raise DataError(f"the model takes {len(expected)} inputs, {len(inputs)} came")
        for position, (value, info) in enumerate(zip(inputs, expected, strict=True)):
            if value.dtype.name != info.dtype or value.size != info.elements:
                raise DataError(
                    f"input '{info.name}' is {info.dtype} {list(info.shape)}; "
                    f"{value.dtype.name} {list(value.shape)} came"
                )
            interpreter.set_input(np.ascontiguousarray(value).reshape(info.shape), position)
        _speaking(interpreter.invoke)

    def _interpreter(self, config: str) -> Any:
        try:
            from tflite_micro import runtime
        except ImportError as error:
            raise MissingError(
                "the tflite-micro wheel is not installed", "pip install tflite-micro"
            ) from error

        return _speaking(
            lambda: runtime.Interpreter.from_bytes(
                self._data,
                arena_size=self._arena_bytes(),
                intrepreter_config=getattr(runtime.InterpreterConfig, config),
            )
        )

    def _arena_bytes(self) -> int:
        """Enough for either interpreter: all activations side by side, scratch of four bytes per

        element, and the interpreter's own records. Memory that is not touched costs nothing.
        """
        activations = sum(t.info.size_bytes + 64 for t in self._graph.tensors if t.data is None)
        scales = sum(len(t.scales) for t in self._graph.tensors)
        records = 1024 * (len(self._graph.tensors) + len(self._graph.operators)) + 32 * scales
        return (1 << 20) + 6 * activations + records


def _speaking(call: Callable[[], Any]) -> Any:
    """Runs `call`; the interpreter's chatter is swallowed, its complaint becomes the error's text."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                return call()
        except RuntimeError as error:
            log.seek(0)
            words = log.read().decode(errors="replace").strip().splitlines()
            raise ModelError(f"tflite-micro refuses the model: {words[-1] if words else error}") from error
        finally:
            os.dup2(saved, 2)
            os.close(saved)
