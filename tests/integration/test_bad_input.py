"""Bad input by the front door: one line that says what came and what mends it, and nothing half done."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.cli import main

MODEL = Path(__file__).parents[2] / "models" / "mnist_mlp" / "model.tflite"


def refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *arguments: object
) -> tuple[int, str]:
    """Runs `harness run ... --target esp32c3` in `tmp_path`: exit code and all that was printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "1000")
    code = main(["run", "--target", "esp32c3", *map(str, arguments)])
    captured = capsys.readouterr()
    # A runtime may have quantised the float model to know its tensors.
    made = {path.name for path in (tmp_path / "build").glob("*")}
    assert made <= {"artifacts"}, "something was built before the input was checked"
    return code, captured.out + captured.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["mnist_mpl"], "mnist_mpl: no such model. Did you mean mnist_mlp?"),
        (["gone.tflite"], "gone.tflite: no such file"),
        (["mnist_mlp", "--target", "esp32z9"], "unknown target 'esp32z9'. Known targets: esp32, esp32s2"),
        (["mnist_mlp", "--target", ","], "--target expects a comma-separated list, got ','"),
        (["mnist_mlp", "--runtime", "nope"], "unknown runtime 'nope'. Known: tflm, espdl"),
        (["mnist_mlp", "--target", "ESP32-C3"], "unknown target 'ESP32-C3'. Did you mean esp32c3?"),
        (["mnist_mlp", "--runtime", "tfml"], "Known: tflm, espdl, espdl-v1, tvm. Did you mean tflm?"),
        (["mnist_mlp", "--data", "gone.npz"], "--data gone.npz: no such file or folder. Give an .npz"),
        (["mnist_mlp", "--calibration", "gone"], "--calibration gone: no such file or folder"),
        (["mnist_mlp", "--samples", "0"], "--samples expects a whole number of at least 1, got '0'"),
        (["mnist_mlp", "--infer-timeout", "-1"], "--infer-timeout expects seconds above 0, got '-1'"),
        (["mnist_mlp", "--board", "silicon"], "--board silicon needs an attached board, and no"),
        (["mnist_mlp", "--port-mac", "c3"], "expected a MAC such as 7c:df:a1:00:11:22, got 'c3'"),
        (["mnist_mlp", "--board", "qemu", "--port", "/dev/x"], "--board qemu does not use a port"),
        (["mnist_mlp", "--report-dir", "/proc/nowhere"], "Give a directory that can be written"),
        (["mnist_mlp", "--report-dir", __file__], "is a file"),
    ],
)
def test_usage_errors_end_before_anything_starts(
    arguments: list[str],
    expected: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code, output = refused(capsys, tmp_path, monkeypatch, *arguments)
    assert code == 2
    assert expected in output
    assert len(output.splitlines()) == 1
    assert not (tmp_path / "reports").exists()


def test_two_models_of_one_name_are_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, output = refused(capsys, tmp_path, monkeypatch, f"mnist_mlp,{MODEL}")
    assert code == 2
    assert "both called mnist_mlp" in output


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("empty.tflite", b"", "not a .tflite file: 0 bytes"),
        ("text.tflite", b"hello world, hello world", "not a .tflite file"),
        ("cut.tflite", MODEL.read_bytes()[:3000], "is truncated: 3000 bytes, expected at least"),
    ],
)
def test_unfit_model_files_break_their_item(
    name: str,
    content: bytes,
    expected: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / name).write_bytes(content)
    code, output = refused(capsys, tmp_path, monkeypatch, tmp_path / name)
    assert code == 3
    assert expected in output


def test_a_float_model_alone_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "float.onnx").write_bytes(b"")
    code, output = refused(capsys, tmp_path, monkeypatch, tmp_path / "float.onnx")
    assert code == 2
    assert "float: no runtime of esp32c3 takes .onnx. Float models need a calibration set" in output
    code, output = refused(capsys, tmp_path, monkeypatch, tmp_path / "float.onnx", "--runtime", "tflm")
    assert code == 3
    assert "runtime tflm takes a .tflite file, this model has .onnx. Convert it" in output


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"x": np.full((3, 784), np.nan, np.float32)}, "sample 0 (from 0) holds NaN or infinity"),
        ({"x": np.zeros((3, 100), np.float32)}, "x has shape (3, 100), expected (N, 784)"),
        ({"x": np.zeros((3, 784), np.int32)}, "x is int32, expected uint8 (pixels) or float32"),
        (
            {"x": np.array([{}, 1], dtype=object)},
            "holds Python objects (a pickle), which could run code: refused",
        ),
        ({"a": np.zeros(3), "b": np.zeros(3)}, "expected x (and optionally y), found a, b"),
        ({"x": np.zeros((3, 784), np.float32), "y": np.zeros(2, int)}, "2 labels in y for 3 samples"),
    ],
)
def test_unfit_data_are_refused_before_the_build(
    arrays: dict[str, np.ndarray],
    expected: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    np.savez(tmp_path / "data.npz", **arrays)
    code, output = refused(capsys, tmp_path, monkeypatch, "mnist_mlp", "--data", "data.npz")
    assert code == 3
    assert expected in output


def test_a_missing_port_is_named_with_the_ports_there_are(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = main(["run", "mnist_mlp", "--target", "esp32c3", "--port", "/dev/ttyNOPE", "--samples", "2"])
    assert code == 3
    assert "no such port: /dev/ttyNOPE" in capsys.readouterr().out
