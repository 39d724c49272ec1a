"""The power-of-two quantiser of runtime tvm: its rules, its file, what it refuses."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from harness.errors import DataError, HarnessError, ModelError, UnsupportedError, UsageError
from harness.runtimes.base import FloatModel
from harness.runtimes.tvm import Tvm
from harness.runtimes.tvm.calibrate import BINS, Histogram, exponent_of
from harness.runtimes.tvm.quantise import quantise
from tests.tvm_networks import save

SHAPES = ((1, 2, 4, 4), (1, 3))


def model(directory: Path, nodes: list[onnx.NodeProto] | None = None, samples: int = 12) -> FloatModel:
    """Conv+Relu, Gemm, Sigmoid, or the nodes given; its calibration set holds ±4."""
    rng = np.random.default_rng(2)
    weights = {
        "w": rng.uniform(-0.9, 0.9, (3, 2, 3, 3)).astype(np.float32),
        "b": np.array([0.5, -0.3, 90.0], np.float32),
        "v": rng.uniform(-0.4, 0.4, (12, 3)).astype(np.float32),
        "a": np.array([0.1, 0.2, -0.3], np.float32),
    }
    nodes = nodes or [
        helper.make_node("Conv", ["x", "w", "b"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        helper.make_node("Gemm", ["f", "v", "a"], ["g"]),
        helper.make_node("Sigmoid", ["g"], ["y"]),
    ]
    path = save(directory / "net.onnx", nodes, weights, SHAPES)
    x = rng.uniform(-4, 4, (samples, *SHAPES[0][1:])).astype(np.float32)
    np.savez(directory / "data.npz", x=x)
    return FloatModel("net", path, directory / "data.npz")


def stored(path: Path) -> dict[str, np.ndarray]:
    file = onnx.load(path)
    return {item.name: onnx.numpy_helper.to_array(item) for item in file.graph.initializer}


@given(st.floats(1e-12, 1e12, allow_nan=False))
def test_the_exponent_is_the_smallest_that_reaches(largest: float) -> None:
    exponent = exponent_of(largest)
    assert 127 * 2.0**exponent >= largest * (1 - 1e-15)
    assert 127 * 2.0 ** (exponent - 1) < largest


@pytest.mark.parametrize(("largest", "exponent"), [(127.0, 0), (127.1, 1), (1.0, -6), (0.0, -7), (254.0, 1)])
def test_the_exponent_by_hand(largest: float, exponent: int) -> None:
    assert exponent_of(largest) == exponent


def test_each_method_reads_the_same_histogram() -> None:
    counts = np.zeros((2, BINS), np.int64)
    counts[0] = 1e6 * np.exp(-np.arange(BINS) / 60)  # nearly all below 2, one value at 16
    counts[0, -1] = 1
    seen = Histogram(16.0, counts)
    assert seen.exponent("minmax") == math.ceil(math.log2(16 / 127))
    assert seen.exponent("mse") < seen.exponent("minmax")
    assert seen.exponent("entropy") < seen.exponent("minmax")


def test_the_most_negative_integer_counts() -> None:
    """Images of -128 ... 127 keep their integers though 128 / 127 is above 1."""
    counts = np.zeros((2, BINS), np.int64)
    counts[1, -1] = 500
    counts[0, :: BINS // 128] = 1
    assert Histogram(128.0, counts).exponent("mse") == 0
    assert Histogram(128.0, counts).exponent("minmax") == 1


def test_the_file_follows_the_rules(tmp_path: Path) -> None:
    result = quantise(Tvm(), model(tmp_path), tmp_path / "net.qdq.onnx", "minmax")
    values = stored(result.path)
    source = stored(tmp_path / "net.onnx")
    weights_scale = 2.0 ** exponent_of(float(np.abs(source["w"]).max()))
    assert values["w/scale"] == weights_scale
    np.testing.assert_array_equal(values["w/int"], np.rint(source["w"] / weights_scale).astype(np.int8))
    # A Conv's bias has its output's exponent, a Gemm's that of its sums.
    np.testing.assert_array_equal(values["c/b/int"], np.rint(source["b"] / values["r/scale"]))
    assert values["c/b/int"].dtype == np.int8
    assert values["g/a/scale"] == values["r/scale"] * values["v/scale"]
    assert values["g/a/int"].dtype == np.int32
    artifact = Tvm().load(result.path)
    assert [layer.op for layer in artifact.layers] == ["Conv+Relu", "Flatten", "Gemm", "Sigmoid"]
    assert artifact.outputs[0].dtype == "float32"


def test_a_bias_too_wide_for_int8_is_not_wrapped(tmp_path: Path) -> None:
    """-500 in units of an output that Relu keeps below 100; esp_quantize would cast it to int8."""
    source = model(tmp_path)
    file = onnx.load(source.file)
    wide = onnx.numpy_helper.from_array(np.array([0.5, -500.0, 1.0], np.float32), "b")
    next(item for item in file.graph.initializer if item.name == "b").CopyFrom(wide)
    onnx.save(file, source.file)
    result = quantise(Tvm(), source, tmp_path / "net.qdq.onnx", "minmax")
    values = stored(result.path)
    assert values["c/b/int"].dtype == np.int32
    assert values["c/b/int"][1] * values["r/scale"] == -500.0


def test_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    source = model(tmp_path)
    program = (
        "import sys; from pathlib import Path; from harness.runtimes.base import FloatModel;"
        "from harness.runtimes.tvm import Tvm; from harness.runtimes.tvm.quantise import quantise;"
        "quantise(Tvm(), FloatModel('net', *map(Path, sys.argv[1:3])), Path(sys.argv[3]))"
    )
    arguments = [sys.executable, "-c", program, source.file, source.calibration]
    subprocess.run(
        [*arguments, tmp_path / "other.onnx"], check=True, env={**os.environ, "PYTHONHASHSEED": "4"}
    )
    quantise(Tvm(), source, tmp_path / "own.onnx")
    assert (tmp_path / "other.onnx").read_bytes() == (tmp_path / "own.onnx").read_bytes()


def unsupported(op: str, **attributes: object) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Conv", ["x", "w", "b"], ["c"]),
        helper.make_node(op, ["c"], ["e"], **attributes),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("Gemm", ["f", "v", "a"], ["y"]),
    ]


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"nodes": unsupported("Erf")}, UnsupportedError, r"operator 1 \(Erf\) is not supported"),
        ({"nodes": unsupported("Softmax", axis=1)}, UnsupportedError, r"\(Softmax\): only at the end"),
        ({"method": "kl"}, UsageError, "unknown calibration 'kl'"),
        ({"out": "net.tvm"}, UsageError, "expected a name that ends in .onnx"),
        ({"data": np.zeros((0, 2, 4, 4), np.float32)}, DataError, "is empty"),
        ({"data": np.zeros((3, 5, 5), np.float32)}, DataError, "expected"),
        ({"data": np.full((3, 2, 4, 4), 3e38, np.float32)}, HarnessError, "NaN or infinity"),
        ({"onnx": b"no model"}, ModelError, "not a valid ONNX model"),
    ],
)
def test_bad_input_leaves_nothing(
    change: dict[str, object], kind: type[HarnessError], words: str, tmp_path: Path
) -> None:
    source = model(tmp_path, change.get("nodes"))  # type: ignore[arg-type]
    if "data" in change:
        np.savez(source.calibration, x=change["data"])
    if "onnx" in change:
        source.file.write_bytes(change["onnx"])  # type: ignore[arg-type]
    before = sorted(tmp_path.iterdir())
    out = tmp_path / str(change.get("out", "net.qdq.onnx"))
    with pytest.raises(kind, match=words) as caught:
        quantise(Tvm(), source, out, str(change.get("method", "minmax")))
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before
