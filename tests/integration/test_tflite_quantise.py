"""A SavedModel becomes a .tflite that runtime tflm runs, close to the float model (extra [keras])."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.cli import main
from harness.runtimes.tflm import Tflm

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="needs the extra [keras]"
)

# y = relu(conv(x)) summed per channel: what comes out is known without TensorFlow.
SAVE = """
import sys
import tensorflow as tf

weights = tf.constant([[[[1.0, -0.5]]]])

@tf.function(input_signature=[tf.TensorSpec((None, 4, 4, 1), tf.float32, name="image")])
def call(image):
    return {"scores": tf.reduce_mean(tf.nn.relu(tf.nn.conv2d(image, weights, 1, "SAME")), (1, 2))}

module = tf.Module()
module.call = call
tf.saved_model.save(module, sys.argv[1], signatures=call)
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("saved") / "net"
    subprocess.run([sys.executable, "-c", SAVE, str(out)], check=True, capture_output=True)
    return out


def test_a_saved_model_becomes_a_tflite(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x = np.random.RandomState(0).uniform(-1, 1, (50, 4, 4, 1)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    out = tmp_path / "net.tflite"
    asked = [
        "quantise",
        str(saved),
        "--runtime",
        "tflm",
        "--data",
        str(tmp_path / "x.npz"),
        "--out",
        str(out),
    ]
    assert main([*asked, "--scheme", "int16x8"]) == 0, capsys.readouterr().err
    artifact = Tflm("int16x8").load(out)
    assert artifact.scheme == "int16x8"
    (given,), (answer,) = artifact.inputs, artifact.outputs
    oracle = Tflm("int16x8").oracle(artifact)
    got = np.stack([answer.dequantise(oracle.run([given.quantise(one[None])])[0])[0] for one in x])
    expected = np.maximum(x * np.array([1.0, -0.5], np.float32), 0).mean((1, 2))
    np.testing.assert_allclose(got, expected, atol=0.01)


def test_what_cannot_be_quantised_is_one_line(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, data = tmp_path / "net.tflite", tmp_path / "x.npz"
    np.savez(data, x=np.zeros((3, 5, 5, 1), np.float32))
    cases = [
        ([saved, "--data", data, "--out", out], "x has shape (3, 5, 5, 1), expected (N, 4, 4, 1)"),
        ([saved, "--out", out], "net has no calibration set. Give some 200 typical inputs"),
        ([saved, "--data", data, "--out", tmp_path / "net.onnx"], "expected a name that ends in .tflite"),
        ([saved, "--data", data, "--out", out, "--scheme", "w8a16"], "runtime tflm has no scheme 'w8a16'"),
    ]
    for arguments, expected in cases:
        assert main(["quantise", "--runtime", "tflm", *map(str, arguments)]) == 2
        error = capsys.readouterr().err
        assert expected in error
        assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]
    for command in (["inspect", str(saved)], ["run", str(saved), "--target", "esp32c3"]):
        assert main(command) == 2
        assert "harness quantise MODEL --runtime tflm" in capsys.readouterr().err
