"""A float .tflite is known as one, runs as the reference, becomes ONNX, and is refused where it cannot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.cli import main
from harness.errors import UnsupportedError
from harness.items import Workshop, load_artifact, runtimes_for
from harness.model.keras_onnx import to_onnx
from harness.model.reference import OnnxReference, TfliteReference, open_reference
from harness.model.spec import load_model, read_spec
from harness.runtimes.tflm import Tflm
from harness.targets import get_target
from tests.branched_net import net_with_branches, numbers
from tests.tflite_builder import ModelBuilder

RELU, RELU6 = 1, 3
SAME, VALID = 0, 1


def chain() -> bytes:
    """Every operator that becomes a layer, in a net of odd sizes, where a wrong layout or padding shows."""
    model = ModelBuilder()
    reached = model.input((1, 11, 8, 3), "float32")

    def then(op: str, shape: tuple[int, ...], *constants: np.ndarray, **options: object) -> None:
        nonlocal reached
        made = model.tensor((1, *shape), "float32")
        model.operator(op, [reached, *map(model.constant, constants)], [made], **options)
        reached = made

    step = {"stride_w": 1, "stride_h": 1}
    apart = {"dilation_w_factor": 1, "dilation_h_factor": 1}
    then("PAD", (13, 9, 3), np.array([[0, 0], [1, 1], [0, 1], [0, 0]], np.int32))
    two = {"stride_w": 2, "stride_h": 2, "padding": SAME, "fused_activation_function": RELU6}
    then("CONV_2D", (7, 5, 4), numbers(4, 3, 3, 3), numbers(4), **two, **apart)
    then(
        "DEPTHWISE_CONV_2D",
        (5, 3, 8),
        numbers(1, 3, 3, 8),
        **step,
        **apart,
        padding=VALID,
        depth_multiplier=2,
    )
    then("LEAKY_RELU", (5, 3, 8), alpha=0.25)
    pool = {"filter_width": 2, "filter_height": 2, "stride_w": 1, "stride_h": 2, "padding": SAME}
    then("MAX_POOL_2D", (3, 3, 8), **pool)
    then("AVERAGE_POOL_2D", (2, 3, 8), **pool, fused_activation_function=RELU)
    then("TANH", (2, 3, 8))
    then("RESHAPE", (48,), np.array([1, 48], np.int32))
    then("FULLY_CONNECTED", (12,), numbers(12, 48), numbers(12), fused_activation_function=RELU)
    then("RESHAPE", (2, 2, 3), np.array([1, 2, 2, 3], np.int32))
    then("LOGISTIC", (2, 2, 3))
    then("MEAN", (3,), np.array([1, 2], np.int32), keep_dims=False)
    then("RELU", (3,))
    then("RELU6", (3,))
    then("SOFTMAX", (3,), beta=1.0)
    return model.build([reached])


def branched() -> bytes:
    model = ModelBuilder()
    x = model.input((1, 4), "float32")
    a, b = (model.tensor((1, 4), "float32") for _ in range(2))
    weights = model.constant(numbers(4, 4))
    model.operator("FULLY_CONNECTED", [x, weights], [a])
    model.operator("ADD", [a, x], [b])
    return model.build([b])


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_a_chain_becomes_onnx_with_the_same_answers(tmp_path: Path) -> None:
    path = written(tmp_path / "net.tflite", chain())
    model = load_model(path)
    assert list(model.artifacts) == ["tflite_float"]
    reference, why = open_reference(model)
    assert isinstance(reference, TfliteReference), why
    converted = tmp_path / "net.onnx"
    converted.write_bytes(to_onnx(path).SerializeToString())
    x = np.random.default_rng(7).normal(0, 1, (5, 1, 11, 8, 3)).astype(np.float32)
    expected = reference.run([x])
    assert np.ptp(expected) > 0.05
    np.testing.assert_allclose(OnnxReference(converted).run([x]), expected, atol=2e-6)


def test_branches_become_onnx_with_the_same_answers(tmp_path: Path) -> None:
    path = written(tmp_path / "net.tflite", net_with_branches())
    (tmp_path / "net.onnx").write_bytes(to_onnx(path).SerializeToString())
    x = np.random.default_rng(7).normal(0, 1, (5, 1, 5, 4, 3)).astype(np.float32)
    expected = TfliteReference(path).run([x])
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(OnnxReference(tmp_path / "net.onnx").run([x]), expected, atol=5e-6)


def test_an_image_is_compared_in_the_layout_of_the_artifact(tmp_path: Path) -> None:
    model = ModelBuilder()
    x = model.input((1, 5, 4, 3), "float32")
    y = model.tensor((1, 5, 4, 3), "float32")
    model.operator("TANH", [x], [y])
    path = written(tmp_path / "net.tflite", model.build([y]))
    (tmp_path / "net.onnx").write_bytes(to_onnx(path).SerializeToString())
    real = np.random.default_rng(7).normal(0, 1, (2, 1, 5, 4, 3)).astype(np.float32)
    for like, axes in (((1, 5, 4, 3), (0, 1, 2, 3, 4)), ((1, 3, 5, 4), (0, 1, 4, 2, 3))):
        expected = np.tanh(real.transpose(axes)).reshape(2, -1)
        for reference in (TfliteReference(path), OnnxReference(tmp_path / "net.onnx")):
            np.testing.assert_allclose(reference.run([real], like=like), expected, atol=1e-6)


def test_inspect_says_float_and_how_to_quantise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "net.tflite", branched())
    assert main(["inspect", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "net.tflite  (float)" in shown
    assert "MACs          16\n" in shown
    assert (
        f"quantise it: harness quantise {path} --runtime tflm --data FILE.npz --out net_int8.tflite" in shown
    )
    for verdict in ("tflm      quantised", "espdl     quantised", "espdl-v1  no", "tvm       quantised"):
        assert verdict in shown
    words = " ".join(shown.split())
    assert "operator 1 (Add add_1_add) is not supported: v1's layer" in words
    assert "net.onnx" not in words


def test_an_error_of_the_passing_onnx_names_the_file_that_was_given(tmp_path: Path) -> None:
    path = written(tmp_path / "net.tflite", branched())
    np.save(tmp_path / "x.npy", numbers(2, 4))
    workshop = Workshop(tmp_path, calibration=tmp_path / "x.npy")
    with pytest.raises(UnsupportedError) as refused:
        load_artifact(load_model(path), "espdl-v1", get_target("esp32c3"), workshop)
    assert refused.value.message.startswith(f"{path} as ONNX: operator 1 (Add")


def test_a_run_without_data_gives_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "net.tflite", branched())
    assert main(["run", str(path), "--target", "esp32c3", "--report-dir", str(tmp_path / "r")]) == 2
    error = capsys.readouterr().err
    assert "net: no runtime of esp32c3 takes a float .tflite" in error
    assert f"harness quantise {path} --runtime tflm --data FILE.npz --out net_int8.tflite" in error


def test_runtimes_that_cannot_read_a_file_are_left_out_where_another_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.items.available", lambda extra: True)  # noqa: ARG005
    workshop = Workshop(tmp_path, calibration=tmp_path / "x.npy")
    target = get_target("esp32c3")
    chained = load_model(written(tmp_path / "chain.tflite", chain()))
    assert runtimes_for(chained, target, ["all"], workshop) == ["tflm", "espdl", "espdl-v1", "tvm"]
    branches = load_model(written(tmp_path / "branched.tflite", branched()))
    assert runtimes_for(branches, target, ["all"], workshop) == ["tflm", "espdl", "espdl-v1", "tvm"]
    net = load_model(written(tmp_path / "net.tflite", of_two_inputs()))
    assert runtimes_for(net, target, ["all"], workshop) == ["tflm"]
    monkeypatch.setattr("harness.items.available", lambda extra: extra != "keras")
    assert runtimes_for(net, target, ["all"], workshop) == ["espdl", "espdl-v1", "tvm"]  # each then says why


def test_tflm_makes_no_file_where_one_is_brought() -> None:
    zoo = load_model("himax_cnn")
    alone = load_model(zoo.artifacts["keras"])
    assert not Tflm().makes_from(zoo)
    assert Tflm().makes_from(alone)
    assert Tflm().float_file(alone) == zoo.artifacts["keras"]


def of_int8() -> bytes:
    model = ModelBuilder()
    x = model.input((1, 4), scale=0.1)
    y = model.tensor((1, 4), scale=0.1)
    model.operator("RELU", [x], [y])
    return model.build([y])


def of_no_layer() -> bytes:
    model = ModelBuilder()
    x = model.input((1, 4), "float32")
    y = model.tensor((1, 4), "float32")
    model.operator("COS", [x], [y])
    return model.build([y])


def of_two_inputs() -> bytes:
    model = ModelBuilder()
    a, b = (model.input((1, 4), "float32") for _ in range(2))
    y = model.tensor((1, 4), "float32")
    model.operator("ADD", [a, b], [y])
    return model.build([y])


def of_other_ranks() -> bytes:
    model = ModelBuilder()
    x = model.input((1, 3, 3, 4), "float32")
    flat, y = model.tensor((1, 4), "float32"), model.tensor((1, 3, 3, 4), "float32")
    model.operator("MEAN", [x, model.constant(np.array([1, 2], np.int32))], [flat], keep_dims=False)
    model.operator("MUL", [x, flat], [y])
    return model.build([y])


def of_no_stride() -> bytes:
    model = ModelBuilder()
    x = model.input((1, 4, 4, 1), "float32")
    y = model.tensor((1, 2, 2, 1), "float32")
    pool = {"filter_width": 2, "filter_height": 2, "stride_w": 2, "stride_h": 0, "padding": VALID}
    model.operator("MAX_POOL_2D", [x], [y], **pool)
    return model.build([y])


def of_two_samples() -> bytes:
    model = ModelBuilder()
    x = model.input((2, 4), "float32")
    y = model.tensor((2, 4), "float32")
    model.operator("TANH", [x], [y])
    return model.build([y])


def of_odd_softmax() -> bytes:
    model = ModelBuilder()
    x = model.input((1, 4), "float32")
    y = model.tensor((1, 4), "float32")
    model.operator("SOFTMAX", [x], [y], beta=0.5)
    return model.build([y])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (of_two_inputs, "2 inputs and 1 outputs, expected one of each. Give what it was converted from"),
        (of_other_ranks, "layer 1 (Multiply multiply_1): (3, 3, 4) and (4,): expected as many dimensions"),
        (
            of_no_layer,
            "operator 0 (COS) is not converted. Converted: ADD, AVERAGE_POOL_2D, CONCATENATION, CONV_2D",
        ),
        (of_odd_softmax, "operator 0 (SOFTMAX): beta 0.5, expected 1"),
        (
            of_no_stride,
            "layer 0 (MaxPooling2D maxpooling2d_0) does not fit: integer division or modulo by zero",
        ),
        (of_two_samples, "operator 0 (TANH): from (2, 4) to (2, 4), expected batch 1 in both"),
        (of_int8, "expected a float .tflite file, came one with integers in it"),
        (lambda: chain()[:999], "the .tflite file is truncated: 999 bytes"),
    ],
)
def test_what_is_not_converted_is_refused_by_name(
    data: Callable[[], bytes], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "net.tflite", data())
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "model.toml").write_text(
        'name = "net"\n[input]\nshape = [1, 4]\n[artifacts]\ntflite_float = "../net.tflite"\n'
    )
    read_spec(mine)
    command = [
        "quantise",
        str(mine),
        "--runtime",
        "tvm",
        "--data",
        str(path),
        "--out",
        str(tmp_path / "o.onnx"),
    ]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
