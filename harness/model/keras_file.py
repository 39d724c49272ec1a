"""A .keras or .h5 file read with h5py alone: its layers, their settings and weights. No TensorFlow.

Takes a chain: a Sequential model, or a functional one without branches. Nothing in the file is run; what
the layers mean is for `keras_onnx.py` to know. Formats: Keras 3's zip (config.json and
model.weights.h5), and the HDF5 file of Keras 2 and 3 (`model.save("my.h5")`).
"""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from harness.errors import ModelError, UnsupportedError

# What h5py, json and zipfile raise on damaged files.
_DAMAGE = (
    OSError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    RuntimeError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
)


INPUT = -1
"""In place of a layer: the model's input."""


@dataclass(frozen=True)
class KerasLayer:
    """One layer. `weights` are in Keras' order: kernel, bias, or what the layer has. `reads` are places
    in the model's layers, or INPUT; empty: the layer before.
    """

    index: int
    kind: str
    name: str
    config: dict[str, Any]
    weights: tuple[NDArray[np.float32], ...]
    reads: tuple[int, ...] = ()

    @property
    def where(self) -> str:
        """How messages name it."""
        return f"layer {self.index} ({self.kind} {self.name})"


@dataclass(frozen=True)
class KerasModel:
    """`input_shape` is of one sample, without the batch; input layers are not among `layers`. `output` is the
    place of the layer that makes the output, or INPUT; None: the last one.
    """

    input_shape: tuple[int, ...]
    layers: tuple[KerasLayer, ...]
    output: int | None = None


def read_keras(path: Path) -> KerasModel:
    """Reads a .keras or .h5 file.

    Raises:
        ModelError: neither format, damaged, weights without a network, or an input of open size.
        UnsupportedError: a layer has several inputs, or the model is no chain, by index and class.
    """
    try:
        with path.open("rb") as file:
            start = file.read(4)
        if start == b"PK\x03\x04":
            return _read_zip(path)
        if start == b"\x89HDF":
            return _read_hdf5(path)
    except _DAMAGE as error:
        raise ModelError(f"{path}: damaged Keras file: {type(error).__name__}: {error}") from error
    raise ModelError(
        f"{path}: expected a Keras file (a .keras zip or a .h5 file), came neither",
        'Save the model with model.save("my.keras")',
    )


def _read_zip(path: Path) -> KerasModel:
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
        stored = archive.read("model.weights.h5")
    entries = list(_entries(path, config))
    with h5py.File(io.BytesIO(stored), "r") as file:
        groups = file.get("layers") or file.get("_layer_checkpoint_dependencies")
        # Keras names the groups by class, counting; a layer's own name is not used.
        seen: Counter[str] = Counter()
        layers = []
        for entry in entries:
            stem = _snake_case(entry.kind)
            number = seen[stem]
            seen[stem] += 1
            group = groups.get(f"{stem}_{number}" if number else stem) if groups is not None else None
            held = group.get("vars") if group is not None else None
            weights = [held[str(place)] for place in range(len(held))] if held is not None else []
            layers.append((entry, _arrays(weights)))
    return _model(path, layers)


def _read_hdf5(path: Path) -> KerasModel:
    with h5py.File(path, "r") as file:
        text = file.attrs.get("model_config")
        if text is None:
            raise ModelError(
                f"{path}: it holds weights but no network",
                'Save the whole model: model.save("my.keras"), not model.save_weights',
            )
        entries = list(_entries(path, json.loads(text)))
        layers = []
        for entry in entries:
            group = file["model_weights"].get(entry.name)
            names = group.attrs["weight_names"] if group is not None else []
            weights = [group[name.decode() if isinstance(name, bytes) else name] for name in names]
            layers.append((entry, _arrays(weights)))
    return _model(path, layers)


@dataclass(frozen=True)
class _Entry:
    kind: str
    name: str
    config: dict[str, Any]


def _entries(path: Path, config: dict[str, Any]) -> Iterator[_Entry]:
    """The layers of a model's configuration, in order."""
    kind = config["class_name"]
    if kind not in ("Sequential", "Functional", "Model"):
        raise UnsupportedError(
            f"{path}: the model is a {kind}, expected Sequential or a functional chain",
            "Export it to ONNX with Keras: model.export('my.onnx', format='onnx')",
        )
    layers = config["config"]["layers"]
    before: str | None = None
    for index, layer in enumerate(layers):
        settings = layer["config"]
        name = str(layer.get("name") or settings["name"])
        if kind != "Sequential":
            sources = list(_sources(layer["inbound_nodes"]))
            if sources != ([] if before is None else [before]):
                shown = ", ".join(sources) or "nothing"
                raise UnsupportedError(
                    f"{path}: layer {index} ({layer['class_name']} {name}) reads {shown}, expected "
                    f"{before or 'nothing'}: only a chain of layers is read",
                    "Export it to ONNX with Keras: model.export('my.onnx', format='onnx')",
                )
        before = name
        yield _Entry(str(layer["class_name"]), name, settings)


def _sources(nodes: Any) -> Iterator[str]:
    """The names of the layers that a layer reads: Keras 3's `keras_history`, or Keras 2's lists."""
    if isinstance(nodes, dict):
        history = nodes.get("keras_history")
        if history is not None:
            yield str(history[0])
            return
        for value in nodes.values():
            yield from _sources(value)
    elif isinstance(nodes, list):
        if len(nodes) >= 3 and isinstance(nodes[0], str) and isinstance(nodes[1], int):
            yield nodes[0]
            return
        for value in nodes:
            yield from _sources(value)


def _model(path: Path, layers: list[tuple[_Entry, tuple[NDArray[np.float32], ...]]]) -> KerasModel:
    if not layers:
        raise ModelError(f"{path}: the model has no layers")
    first = layers[0][0]
    shape = first.config.get("batch_shape") or first.config.get("batch_input_shape")
    if shape is None or len(shape) < 2 or not all(isinstance(size, int) and size > 0 for size in shape[1:]):
        raise ModelError(
            f"{path}: expected an input of fixed shape, came {shape}",
            "Save the model with keras.Input((28, 28, 1)) or your own sizes as its first layer",
        )
    kept = [(index, *layer) for index, layer in enumerate(layers) if layer[0].kind != "InputLayer"]
    return KerasModel(
        tuple(shape[1:]),
        tuple(
            KerasLayer(index, entry.kind, entry.name, entry.config, weights) for index, entry, weights in kept
        ),
    )


def _arrays(stored: list[Any]) -> tuple[NDArray[np.float32], ...]:
    return tuple(np.asarray(values[()], dtype=np.float32) for values in stored)


def _snake_case(name: str) -> str:
    """As Keras' naming.to_snake_case: MaxPooling2D is max_pooling2d."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
