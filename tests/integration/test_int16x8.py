"""int16 activations with int8 weights: every operator tflite-micro has for them, 0 LSB, with sanitizers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.errors import ModelError, UnsupportedError
from harness.items import load_artifact
from harness.model.spec import load_model
from harness.portable.ops.multiplied_sums import MultipliedSums, ReducedSums
from harness.runtimes.tflm import Tflm
from tests import operator_cases
from tests.engine_host import assert_exact
from tests.int16x8_cases import bundle
from tests.tflite_builder import ModelBuilder

SUMS = ("conv_2d", "depthwise_conv_2d", "fully_connected", "wide_sums", "declared_sums")
# Those that must agree in more than shapes; what only moves values is left to the emulators.
OTHERS = (
    "average_pool_2d", "max_pool_2d", "mean", "add", "sub", "mul", "pad", "softmax", "logistic", "tanh",
    "fine_sigmoid", "relu", "relu6", "leaky_relu", "quantize", "dequantize",
)  # fmt: skip


@pytest.mark.parametrize(("operators", "count"), [(SUMS, 6), (OTHERS, 3)], ids=["sums", "others"])
def test_operators_are_exact(operators: tuple[str, ...], count: int, tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(bundle(operators, seed=1, count=count))
    artifact = Tflm().load(path)
    if operators == SUMS:
        kinds = {(type(step.sums), step.sums.wide) for step in artifact.plan.steps}
        assert kinds == {(MultipliedSums, False), (ReducedSums, False), (ReducedSums, True)}
    assert_exact(artifact, tmp_path / "project", seed=2)


def test_every_value_of_every_function(tmp_path: Path) -> None:
    """All 65536 inputs; in the softmax each beside the largest: every sample of its tables is read."""
    model, outputs, inputs = ModelBuilder(), [], []
    every = np.arange(-32768, 32768, dtype=np.int32).astype(np.int16).reshape(1, -1)
    functions = (
        ("LOGISTIC", 2.0**-12, "int16", 1 / 32768), ("TANH", 0.00031, "int16", 1 / 32768),
        ("LEAKY_RELU", 0.003, "int16", 0.0011), ("QUANTIZE", 0.003, "int8", 0.7),
        ("DEQUANTIZE", 0.0031, "float32", 0.0),
    )  # fmt: skip
    for op, x_scale, dtype, y_scale in functions:
        x, y = model.input(every.shape, "int16", x_scale), model.tensor(every.shape, dtype, y_scale)
        model.operator(op, [x], [y], **({"alpha": 0.3} if op == "LEAKY_RELU" else {}))
        outputs.append(y)
        inputs.append(every)
    rows = np.stack([np.full(65536, 32767, np.int16), every[0]], axis=1)
    x, y = model.input(rows.shape, "int16", 10 / 65535), model.tensor(rows.shape, "int16", 1 / 32768)
    model.operator("SOFTMAX", [x], [y], beta=1.0)
    path = tmp_path / "net.tflite"
    path.write_bytes(model.build([*outputs, y]))
    assert_exact(Tflm().load(path), tmp_path / "project", inferences=[[*inputs, rows]])


def test_floats_between_two_integers(tmp_path: Path) -> None:
    """And next to them, at both ends, and far beyond."""
    scale = np.float32(0.0037)
    middles = ((np.arange(-32770, 32770) + 0.5) * scale).astype(np.float32)
    floats = np.concatenate([np.nextafter(middles, -1e9), middles, np.nextafter(middles, 1e9)])
    floats = np.append(floats, [0.0, -0.0, 1e-40, 4e6, -4e6]).astype(np.float32).reshape(1, -1)
    model = ModelBuilder()
    x, y = model.input(floats.shape, "float32"), model.tensor(floats.shape, "int16", float(scale))
    model.operator("QUANTIZE", [x], [y])
    path = tmp_path / "net.tflite"
    path.write_bytes(model.build([y]))
    assert_exact(Tflm().load(path), tmp_path / "project", inferences=[[floats]])


def dense(bias: type[np.signedinteger], op: str = "FULLY_CONNECTED") -> bytes:
    model = ModelBuilder()
    depthwise = op == "DEPTHWISE_CONV_2D"
    shape, taps = ((1, 3, 3, 4), (1, 1, 1, 4)) if depthwise else ((1, 4), (4, 4))
    x, y = model.input(shape, "int16", 0.1), model.tensor(shape, "int16", 0.1)
    w = model.constant(np.ones(taps, np.int8), scales=[0.1])
    b = model.constant(np.full(4, np.iinfo(bias).max >> 2, bias), scales=[0.01])
    options = {"fused_activation_function": 0}
    if depthwise:
        options |= {"padding": 1, "stride_h": 1, "stride_w": 1, "depth_multiplier": 1}
        options |= {"dilation_h_factor": 1, "dilation_w_factor": 1}
    model.operator(op, [x, w, b], [y], **options)
    return model.build([y])


def hard_swish() -> bytes:
    model = ModelBuilder()
    x, y = model.input((1, 4), "int16", 0.1), model.tensor((1, 4), "int16", 0.1)
    model.operator("HARD_SWISH", [x], [y])
    return model.build([y])


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (dense(np.int64), "a bias of more than 47 bits"),
        (dense(np.int8), "is int8, expected int64"),
        (dense(np.int32, "DEPTHWISE_CONV_2D"), "is int32, expected int64"),
        (hard_swish(), "tflite-micro has it for int8 alone"),
    ],
)
def test_what_tflite_micro_does_not_have_is_refused(model: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(model)
    with pytest.raises(UnsupportedError, match=words) as caught:
        Tflm().load(path)
    assert "\n" not in str(caught.value)


def test_a_file_says_itself_that_it_is_int16x8(tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(bundle(["fully_connected"], seed=1, count=1))
    model = load_model(str(path))
    assert load_artifact(model, "tflm").scheme == load_artifact(model, "tflm:int16x8").scheme == "int16x8"
    path.write_bytes(operator_cases.bundle("relu", seed=1, count=1))
    with pytest.raises(ModelError, match=r"is int8; runtime tflm:int16x8 takes int16x8.*--runtime tflm"):
        load_artifact(model, "tflm:int16x8")
