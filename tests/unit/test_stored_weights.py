"""Float .tflite files with weights in float16 or int8 are float networks, everywhere a float file is one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.cli import main
from harness.errors import ModelError, UnsupportedError
from harness.model.keras_onnx import to_onnx
from harness.model.reference import OnnxReference, TfliteReference
from harness.model.spec import load_model
from harness.runtimes.tflm import Tflm
from harness.runtimes.tflm.float_file import float_bytes, is_float, stored_as
from tests.tflite_builder import ModelBuilder

KERNEL = np.random.default_rng(1).integers(-127, 128, (4, 3, 3, 2)).astype(np.int8)
BIAS = np.array([0.5, -0.25, 0.0, 1.0], np.float32)
SCALES = (0.01, 0.02, 0.005, 0.03)
ONCE = dict.fromkeys(("stride_w", "stride_h", "dilation_w_factor", "dilation_h_factor"), 1)


def net(kind: str) -> bytes:
    """A convolution and a RELU, whose kernel the file holds as it is told."""
    model = ModelBuilder()
    x = model.input((1, 5, 4, 2), "float32")
    scale = np.array(SCALES, np.float32).reshape(4, 1, 1, 1)
    if kind == "dynamic-range":
        weights = model.constant(KERNEL, SCALES)
    elif kind == "float16":
        half = model.constant((KERNEL * scale).astype(np.float16))
        weights = model.tensor(KERNEL.shape, "float32")
        model.operator("DEQUANTIZE", [half], [weights])
    else:
        weights = model.constant(KERNEL * scale)
    y, z = (model.tensor((1, 5, 4, 4), "float32") for _ in range(2))
    model.operator("CONV_2D", [x, weights, model.constant(BIAS)], [y], padding=0, **ONCE)
    model.operator("RELU", [y], [z])
    return model.build([z])


def saved(path: Path, kind: str) -> Path:
    file = path / f"{kind}.tflite"
    file.write_bytes(net(kind))
    return file


@pytest.mark.parametrize(("kind", "atol"), [("dynamic-range", 2e-6), ("float16", 2e-2)])
def test_it_answers_as_the_float_network_does(kind: str, atol: float, tmp_path: Path) -> None:
    path, plain = saved(tmp_path, kind), saved(tmp_path, "float")
    assert [stored_as(path), stored_as(plain)] == [kind, "float"]
    assert float_bytes(plain) == plain.read_bytes()
    assert list(load_model(path).artifacts) == ["tflite_float"]
    x = np.random.default_rng(7).normal(0, 1, (3, 1, 5, 4, 2)).astype(np.float32)
    expected, found = TfliteReference(plain).run([x]), TfliteReference(path).run([x])
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(found, expected, atol=atol)
    (tmp_path / "net.onnx").write_bytes(to_onnx(path).SerializeToString())
    np.testing.assert_allclose(
        OnnxReference(tmp_path / "net.onnx").run([x], like=(1, 5, 4, 4)), found, atol=2e-6
    )


@pytest.mark.parametrize(
    ("kind", "said", "size"),
    [
        ("dynamic-range", "dynamic-range: float32 data, int8 weights, taken as float32", "88 B"),
        ("float16", "none: float32 data, float16 weights, taken as float32", "160 B"),
        ("float", "none: float32 data\n", "304 B"),
    ],
)
def test_inspect_says_what_it_is(
    kind: str, said: str, size: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(saved(tmp_path, kind))]) == 0
    shown = capsys.readouterr().out
    assert f"quantisation  {said}" in shown
    assert f"parameters    76, {size} in the file" in shown.replace("\u00a0", " ")
    assert "DEQUANTIZE" not in shown


def test_integer_data_are_no_float_network(tmp_path: Path) -> None:
    model = ModelBuilder()
    x, y = model.input((1, 4), "float32"), model.tensor((1, 4), scale=0.1)
    model.operator("QUANTIZE", [x], [y])
    (tmp_path / "net.tflite").write_bytes(model.build([y]))
    assert not is_float(tmp_path / "net.tflite")
    with pytest.raises(ModelError, match=r"expected a float \.tflite file, came one with integers"):
        stored_as(tmp_path / "net.tflite")


def test_what_is_not_converted_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="is float16, expected int8 or int16"):
        Tflm().load(saved(tmp_path, "float16"))
    model = ModelBuilder()
    x, y = model.input((1, 4), "float32"), model.tensor((1, 4), "float32")
    model.operator("POW", [x, model.constant(np.ones((1, 4), np.int8), [0.5])], [y])
    (tmp_path / "net.tflite").write_bytes(model.build([y]))
    with pytest.raises(
        UnsupportedError, match=r"operator 0 \(POW\) is not supported in a dynamic-range file"
    ):
        float_bytes(tmp_path / "net.tflite")
