"""Keras files to ONNX without TensorFlow: what is refused, and what is read of files built by hand.

That the numbers are Keras' own is shown in tests/integration/test_keras_onnx_numbers.py.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnxruntime
import pytest

from harness.bundled import zoo_directory
from harness.errors import ModelError, UnsupportedError
from harness.model.keras_file import read_keras
from harness.model.keras_onnx import float_onnx, to_onnx
from harness.model.reference import OnnxReference, open_reference
from harness.model.spec import load_model

DENSE = (np.array([[1.0, 10.0], [2.0, 20.0]], np.float32), np.array([0.5, 0.25], np.float32))


def layer(kind: str, name: str = "", **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": name or kind.lower(), **config}}


def sequential(*layers: dict[str, Any], shape: tuple[int | None, ...] = (None, 2)) -> dict[str, Any]:
    first = layer("InputLayer", "input", batch_shape=shape)
    return {"class_name": "Sequential", "config": {"name": "net", "layers": [first, *layers]}}


def zipped(path: Path, config: dict[str, Any], weights: dict[str, tuple[np.ndarray, ...]]) -> Path:
    """As Keras 3 writes it; `weights` by group."""
    stored = io.BytesIO()
    with h5py.File(stored, "w") as file:
        for group, arrays in weights.items():
            for place, values in enumerate(arrays):
                file[f"layers/{group}/vars/{place}"] = values
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", stored.getvalue())
    return path


def hdf5(path: Path, config: dict[str, Any], weights: dict[str, tuple[np.ndarray, ...]]) -> Path:
    """As Keras 2 writes it; `weights` by layer."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        for name, arrays in weights.items():
            group = file.create_group(f"model_weights/{name}")
            names = [f"{name}/{place}:0".encode() for place in range(len(arrays))]
            group.attrs["weight_names"] = names
            for key, values in zip(names, arrays, strict=True):
                group[key.decode()] = values
    return path


def run(path: Path, x: Any) -> list[float]:
    session = onnxruntime.InferenceSession(to_onnx(path).SerializeToString())
    (taken,) = session.get_inputs()
    return (
        session.run(None, {taken.name: np.asarray(x, np.float32).reshape(taken.shape)})[0]
        .reshape(-1)
        .tolist()
    )


POOL = layer("MaxPooling2D", pool_size=2)


@pytest.mark.parametrize("write", [zipped, hdf5])
def test_a_neuron_by_hand(write, tmp_path):
    path = write(tmp_path / "net", sequential(layer("Dense", "dense", activation="linear")), {"dense": DENSE})
    assert run(path, [3, 4]) == [11.5, 110.25]


def test_layers_of_one_class_are_told_apart_by_their_order(tmp_path):
    half = (np.eye(2, dtype=np.float32) / 2, np.zeros(2, np.float32))
    config = sequential(layer("Dense", "late"), layer("Dense", "early"))
    assert run(zipped(tmp_path / "a.keras", config, {"dense": DENSE, "dense_1": half}), [3, 4]) == [
        5.75,
        55.125,
    ]
    assert run(hdf5(tmp_path / "a.h5", config, {"late": DENSE, "early": half}), [3, 4]) == [5.75, 55.125]


def test_a_flatten_at_the_end_keeps_keras_order(tmp_path):
    path = zipped(tmp_path / "f.keras", sequential(layer("Flatten"), shape=(None, 2, 2, 3)), {})
    x = np.arange(12).reshape(1, 2, 2, 3)
    assert run(path, x.transpose(0, 3, 1, 2)) == list(range(12))


@pytest.mark.parametrize("version", [2, 3])
def test_a_functional_chain_is_read_and_a_branch_refused(version, tmp_path):
    def inbound(*names: str) -> Any:
        if version == 2:
            return [[[name, 0, 0, {}] for name in names]] if names else []
        tensors = [{"class_name": "__keras_tensor__", "config": {"keras_history": [n, 0, 0]}} for n in names]
        return [{"args": [tensors if len(tensors) > 1 else tensors[0]], "kwargs": {}}] if names else []

    first = {**layer("InputLayer", "input", batch_shape=(None, 2)), "inbound_nodes": inbound()}
    dense = {**layer("Dense", "dense"), "inbound_nodes": inbound("input")}
    add = {**layer("Add", "add"), "inbound_nodes": inbound("input", "dense")}
    chain = {"class_name": "Functional", "config": {"layers": [first, dense]}}
    assert run(zipped(tmp_path / "c.keras", chain, {"dense": DENSE}), [3, 4]) == [11.5, 110.25]
    branch = {"class_name": "Functional", "config": {"layers": [first, dense, add]}}
    with pytest.raises(
        UnsupportedError, match=r"layer 2 \(Add add\) reads input, dense, expected dense: only a chain"
    ):
        read_keras(zipped(tmp_path / "b.keras", branch, {"dense": DENSE}))


@pytest.mark.parametrize(
    ("config", "shape", "message"),
    [
        (layer("Lambda", "code", function="x"), (2,), r"\(Lambda code\) is not supported\. Supported: Activ"),
        (layer("Dense", "dense", activation="mish"), (2,), r"\(Dense dense\): activation mish: expected one"),
        (layer("Dense", "dense"), (1, 2, 2), r"its input has the shape \(1, 2, 2\), .* put a Flatten before"),
        (POOL, (2,), r"expected \(height, width, channels\)"),
        (
            layer("MaxPooling2D", pool_size=2, data_format="channels_first"),
            (4, 4, 1),
            "channels_first: expect",
        ),
        (layer("MaxPooling2D", pool_size=2, padding="causal"), (4, 4, 1), "'causal': expected valid or same"),
        (layer("ReLU", threshold=1.0), (2,), r"threshold 1\.0: expected 0"),
        (layer("Softmax", axis=1), (4, 4, 2), "axis 1: expected the last one"),
        (layer("BatchNormalization", axis=1), (4, 4, 2), "axis 1: expected the last one"),
    ],
)
def test_what_is_not_converted_is_named(config, shape, message, tmp_path):
    path = zipped(tmp_path / "net.keras", sequential(config, shape=(None, *shape)), {"dense": DENSE})
    with pytest.raises(UnsupportedError, match=rf"^{path}: layer 1 .*{message}"):
        to_onnx(path)


def test_weights_that_do_not_fit(tmp_path):
    config = sequential(layer("Dense", "dense"), shape=(None, 3))
    with pytest.raises(ModelError, match=r"layer 1 \(Dense dense\) does not fit: 2 inputs expected, 3 came"):
        to_onnx(zipped(tmp_path / "a.keras", config, {"dense": DENSE}))
    with pytest.raises(ModelError, match=r"layer 1 \(Dense dense\) does not fit: "):
        to_onnx(zipped(tmp_path / "b.keras", config, {}))
    window = layer("MaxPooling2D", pool_size=5)
    with pytest.raises(ModelError, match=r"a window of \(5, 5\) on an image of \(4, 4\)"):
        to_onnx(zipped(tmp_path / "c.keras", sequential(window, shape=(None, 4, 4, 1)), {}))


def test_files_that_are_no_models(tmp_path):
    path = tmp_path / "my.keras"
    path.write_bytes(b"not a model")
    with pytest.raises(
        ModelError, match=r"expected a Keras file \(a \.keras zip or a \.h5 file\), came neither"
    ):
        read_keras(path)
    whole = (zoo_directory() / "mnist_mlp" / "model.keras").read_bytes()
    for cut in (10, len(whole) // 2, len(whole) - 10):
        path.write_bytes(whole[:cut])
        with pytest.raises(ModelError, match=r"my\.keras: damaged Keras file: "):
            read_keras(path)
    hdf5(path, sequential(layer("Dense")), {"dense": DENSE})
    with h5py.File(path, "a") as file:
        del file.attrs["model_config"]
    with pytest.raises(ModelError, match="it holds weights but no network"):
        read_keras(path)
    zipped(path, sequential(shape=(None, None, 2)), {})
    with pytest.raises(ModelError, match=r"expected an input of fixed shape, came \[None, None, 2\]"):
        read_keras(path)


def test_a_keras_file_alone_has_a_float_reference(tmp_path):
    path = zipped(tmp_path / "net.keras", sequential(layer("Dense", "dense")), {"dense": DENSE})
    model = load_model(path)
    reference, why = open_reference(model)
    assert isinstance(reference, OnnxReference), why
    assert reference.run([np.array([[[3, 4]]], np.float32)]).tolist() == [[11.5, 110.25]]
    assert float_onnx(model) == float_onnx(model)  # converted once
    zipped(path.with_name("odd.keras"), sequential(layer("Lambda", "code")), {})
    reference, why = open_reference(load_model(path.with_name("odd.keras")))
    assert reference is None
    assert "layer 1 (Lambda code) is not supported" in why
