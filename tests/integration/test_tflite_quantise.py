"""A SavedModel and a float .tflite become a .tflite that runtime tflm runs, close to the float model; a run
does it on the way (extra [keras]).
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.cli import main
from harness.model.spec import load_model
from harness.runtimes.tflm import Tflm
from harness.runtimes.tflm.float_file import float_tflite
from tests.bench_runs import run_harness
from tests.tflite_builder import ModelBuilder

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


@pytest.fixture
def floating(tmp_path: Path) -> Path:
    """The same network, as a float .tflite."""
    model = ModelBuilder()
    x = model.input((1, 4, 4, 1), "float32")
    y, z = model.tensor((1, 4, 4, 2), "float32"), model.tensor((1, 2), "float32")
    weights = model.constant(np.array([1.0, -0.5], np.float32).reshape(2, 1, 1, 1))
    bias = model.constant(np.zeros(2, np.float32))
    once = dict.fromkeys(("stride_w", "stride_h", "dilation_w_factor", "dilation_h_factor"), 1)
    model.operator("CONV_2D", [x, weights, bias], [y], padding=0, fused_activation_function=1, **once)
    model.operator("MEAN", [y, model.constant(np.array([1, 2], np.int32))], [z], keep_dims=False)
    path = tmp_path / "net.tflite"
    path.write_bytes(model.build([z]))
    return path


def right(x: np.ndarray) -> np.ndarray:
    """What the network computes."""
    return np.maximum(x * np.array([1.0, -0.5], np.float32), 0).mean((1, 2))


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
    np.testing.assert_allclose(got, right(x), atol=0.01)


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
    assert main(["run", str(saved), "--target", "esp32c3", "--report-dir", str(tmp_path / "r")]) == 2
    assert f"harness quantise {saved} --runtime tflm --data FILE.npz" in capsys.readouterr().err


def test_a_float_tflite_becomes_one_of_integers(
    floating: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x = np.random.RandomState(0).uniform(-1, 1, (50, 4, 4, 1)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    for scheme, near in (("int8", 0.01), ("int16x8", 0.002)):
        out = tmp_path / f"{scheme}.tflite"
        asked = [floating, "--data", tmp_path / "x.npy", "--scheme", scheme, "--out", out]
        assert main(["quantise", "--runtime", "tflm", *map(str, asked)]) == 0, capsys.readouterr().err
        artifact = Tflm(scheme).load(out)
        assert artifact.scheme == scheme
        (given,), (answer,) = artifact.inputs, artifact.outputs
        assert given.dtype == answer.dtype == scheme.removesuffix("x8")
        oracle = Tflm(scheme).oracle(artifact)
        got = np.stack([answer.dequantise(oracle.run([given.quantise(one[None])])[0])[0] for one in x])
        np.testing.assert_allclose(got, right(x), atol=near)


def test_a_saved_model_runs_like_any_other_model(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run makes its integers and its float reference, which the next one finds."""
    monkeypatch.setenv("HARNESS_BUILD_ROOT", str(tmp_path / "build"))
    x = np.random.RandomState(0).uniform(-1, 1, (30, 4, 4, 1)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    mine = tmp_path / "mine"
    mine.mkdir()
    named = f'savedmodel = "{os.path.relpath(saved, mine)}"'
    (mine / "model.toml").write_text(f'name = "net"\n[input]\nshape = [1, 4, 4, 1]\n[artifacts]\n{named}\n')
    options = ("--target", "esp32c3", "--runtime", "tflm", "--samples", "10", "--data", tmp_path / "x.npy")
    run = run_harness(tmp_path / "reports", mine, *options)
    assert run.code == 0, run.output
    item = run.items()["esp32c3-net"]
    assert (item["runtime_gap"]["max_lsb"], item["runtime_gap"]["samples"]) == (0, 10)
    assert item["quantisation_gap"]["reference"] == "tflite"
    assert item["quantisation_gap"]["max_abs"] < 0.01
    (kept,) = (tmp_path / "build" / "conversions").glob("*.tflite")
    made_ns = kept.stat().st_mtime_ns
    again = dataclasses.replace(load_model(saved), conversions=kept.parent)
    assert float_tflite(again) == kept
    assert kept.stat().st_mtime_ns == made_ns
