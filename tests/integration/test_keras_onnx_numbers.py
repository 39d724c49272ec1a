"""Keras files converted without TensorFlow give Keras' own numbers; with TensorFlow only to compare."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.cli import main
from harness.extras import EXTRAS, install_command
from harness.model.keras_onnx import to_onnx
from harness.model.reference import KerasReference, OnnxReference
from harness.runtimes.espdl import Espdl

pytestmark = [
    # Keras 3.15 as it saves .h5, with numpy 2.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.tensorflow,
    pytest.mark.skipif(
        not all(importlib.util.find_spec(module) for module in EXTRAS["keras"]),
        reason=f"needs {install_command('keras')}",
    ),
]


def network(name: str) -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    make = keras.layers
    keras.utils.set_random_seed(3)
    if name == "sequential":
        layers = [
            keras.Input((13, 9, 3)),
            make.ZeroPadding2D(((1, 0), (2, 1))),
            make.Conv2D(8, (3, 2), strides=2, padding="same", activation="relu"),
            make.DepthwiseConv2D(3, padding="same", depth_multiplier=2, use_bias=False),
            make.BatchNormalization(),
            make.ReLU(max_value=6.0),
            make.Conv2D(8, 2, dilation_rate=2, groups=4, activation="tanh"),
            make.AveragePooling2D(2, strides=1, padding="same"),
            make.Dropout(0.5),
            make.Flatten(),
            make.Dense(12, activation="leaky_relu"),
            make.LeakyReLU(negative_slope=0.2),
            make.Reshape((2, 3, 2)),
            make.MaxPooling2D((2, 1)),
            make.Reshape((-1,)),
            make.Dense(5),
            make.Softmax(),
        ]
    else:
        layers = [
            keras.Input((12, 12, 1)),
            make.Conv2D(4, 3, activation="elu"),
            make.MaxPooling2D(3, strides=2, padding="same"),
            make.Conv2D(6, 3),
            make.BatchNormalization(scale=False),
            make.Activation("sigmoid"),
            make.GlobalAveragePooling2D(),
            make.Dense(3, activation="softmax"),
        ]
    model = keras.Sequential(layers)
    if name == "functional":
        taken = reached = keras.Input((12, 12, 1))
        for layer in model.layers:
            reached = layer(reached)
        model = keras.Model(taken, reached)
    random = np.random.RandomState(4)
    # Fresh biases and statistics of BatchNormalization are 0 and 1, and would hide a mistake.
    model.set_weights(
        [
            3 * weights if weights.ndim > 1 else random.uniform(0.1, 0.9, weights.shape)
            for weights in model.get_weights()
        ]
    )
    return model


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("name", ["sequential", "functional"])
def test_every_layer_gives_keras_numbers(name: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"net{suffix}"
    model = network(name)
    model.save(path)
    (tmp_path / "net.onnx").write_bytes(to_onnx(path).SerializeToString())
    x = np.random.RandomState(5).normal(0, 1, (20, 1, *model.input_shape[1:])).astype(np.float32)
    expected = KerasReference(path).run([x])
    found = OnnxReference(tmp_path / "net.onnx").run([x])
    assert np.ptp(expected, axis=0).max() > 1e-3  # another input, another answer
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


@pytest.mark.skipif(importlib.util.find_spec("esp_ppq") is None, reason=f"needs {install_command('espdl')}")
def test_an_h5_file_is_quantised_and_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import keras

    model = keras.Sequential(
        [
            keras.Input((8, 6, 3)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )
    model.save(tmp_path / "my.h5")
    data = tmp_path / "data.npz"
    np.savez(data, x=np.random.RandomState(6).normal(0, 1, (20, 8, 6, 3)).astype(np.float32))
    files = [str(tmp_path / "my.h5"), "--target", "esp32s3"]
    out = tmp_path / "my.espdl"
    quantise = ["quantise", *files, "--data", str(data), "--out", str(out), "--calibration", "minmax"]
    assert main(quantise) == 0
    shown = capsys.readouterr().out
    assert float(shown.partition("mean |difference| ")[2].partition(",")[0]) < 0.1
    assert Espdl().load(out, "esp32s3").inputs[0].shape == (1, 8, 6, 3)
    for bits in ("8", "16"):
        v1 = tmp_path / f"v1_{bits}"
        assert main(["export-v1", *files, "--bits", bits, "--calibration", str(data), "--out", str(v1)]) == 0
        assert (v1 / "model" / "model_define.hpp").is_file()
