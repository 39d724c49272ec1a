"""`harness generate --target himax_we1`: the folder is built by its own Makefile fragment, and run."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.cli import main
from harness.dialects import parse_log
from harness.dialects.console import image_frame
from harness.items import load_artifact
from harness.model.spec import load_model
from harness.runtimes import get_runtime
from tests.bench_runs import run_pytest
from tests.himax_app import build_app, on_terminal
from tests.tflite_builder import ModelBuilder

TARGET = ("--target", "himax_we1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("himax") / "out"
    assert main(["generate", "himax_cnn", *TARGET, "--out", str(out)]) == 0
    assert [path.name for path in out.iterdir()] == ["examples"]
    return out / "examples" / "himax_cnn"


@pytest.fixture(scope="module")
def program(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_app(folder, load_model("himax_cnn"), tmp_path_factory.mktemp("sdk") / "himax_tflm")


def items(reports: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (reports / "items.jsonl").read_text().splitlines()]


def test_the_folder_says_what_it_is(folder: Path) -> None:
    readme = (folder / "README.md").read_text()
    assert "Generated, not built" in readme
    assert "operator 5 (FULLY_CONNECTED): 64 weight scales, so written as CONV_2D 1x1" in readme
    operators = (folder / "model_operators.h").read_text()
    assert "MicroMutableOpResolver<3>" in operators
    for method in ("AddConv2D()", "AddMaxPool2D()", "AddReshape()"):
        assert operators.count(method) == 1
    assert "alignas(16) const unsigned char kModelData[] = {" in (folder / "model_data.cc").read_text()
    assert "include examples/himax_cnn/himax_cnn.mk" in (folder / "himax_cnn.mk").read_text()


def test_only_one_file_calls_the_sdk(folder: Path) -> None:
    sources = [path for path in folder.rglob("*") if path.suffix in (".c", ".cc", ".h")]
    callers = [path.name for path in sources if "hx_drv_uart" in path.read_text()]
    assert callers == ["board.cc"]


def test_the_firmware_is_a_board_of_the_bench(
    program: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with on_terminal([str(program)]) as port:
        arguments = ["run", "himax_cnn", *TARGET, "--dialect", "himax", "--port", port, "--samples", "40"]
        assert main([*arguments, "--report-dir", str(tmp_path)]) == 0
    (item,) = items(tmp_path)
    assert (item["runtime_gap"]["max_lsb"], item["runtime_gap"]["samples"]) == (0, 40)
    assert item["fidelity"] is None
    assert item["counts"] is None, "ticks that nobody vouches for are no measurement"
    assert item["wire"]["repeated_images"] == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "its chip and fidelity are stated by nobody" in shown
    assert "printed latency 'invoke': median" in shown


def test_pytest_takes_it_too(program: Path, tmp_path: Path) -> None:
    with on_terminal([str(program)]) as port:
        run = run_pytest(
            tmp_path / "r", *TARGET, "--model", "himax_cnn", "--dialect", "himax", "--port", port,
            "--samples", "3",
        )  # fmt: skip
    assert run.code == 0, run.output
    assert "himax_we1-himax_cnn" in run.items()


def test_another_models_firmware_is_named(
    program: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with on_terminal([str(program)]) as port:
        arguments = ["run", "mnist_mlp", *TARGET, "--dialect", "himax", "--port", port, "--samples", "2"]
        assert main([*arguments, "--report-dir", str(tmp_path)]) == 3
    assert items(tmp_path)[0]["error"].startswith(
        "expected firmware of model d0d3a5aa8ce2, the board has 5aa0f468fd2d. Generate, build and flash"
    )
    capsys.readouterr()


def test_damaged_images_are_refused_and_the_next_one_runs(program: Path) -> None:
    artifact = load_artifact(load_model("himax_cnn"), "tflm")
    image = np.arange(784, dtype=np.uint8).astype(np.int8)
    good = image_frame(image.tobytes())
    wrong_crc = bytearray(good)
    wrong_crc[100] ^= 1
    asking = f"image:784 bytes, model:{hashlib.sha256(artifact.data).hexdigest()}"

    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdin
        assert process.stdout

        def answer(frame: bytes) -> list[str]:
            """What follows when it has asked; it asks again every second, so no reading hangs."""
            while next_line() != asking:
                pass
            process.stdin.write(frame)
            lines: list[str] = []
            while len(lines) < 30 and not any(line.startswith(("refused", "result")) for line in lines):
                lines.append(next_line())
            return lines

        def next_line() -> str:
            return process.stdout.readline().decode().removesuffix("\r\n")

        assert answer(bytes(wrong_crc)) == ["refused:wrong CRC"]
        assert answer(image_frame(image.tobytes()[:-1])) == ["refused:another length"]
        assert answer(b"noise IMG IMIMG:" + good[4:40]) == ["refused:cut short"]
        lines = answer(b"IIMIMG\0" + good)
        process.stdin.close()

    (inference,) = parse_log("\r\n".join([*lines, ""]).encode(), "himax").inferences
    expected = get_runtime("tflm").oracle(artifact).run([image.reshape(artifact.inputs[0].shape)])[0]
    assert inference.scores == tuple(expected.reshape(-1).tolist())
    assert [latency.unit for latency in inference.latencies] == ["ticks"]


def float_model() -> bytes:
    model = ModelBuilder()
    x = model.input((1, 4), dtype="float32")
    y = model.tensor((1, 4), dtype="float32")
    model.operator("RELU", [x], [y])
    return model.build([y])


def without_method() -> bytes:
    model = ModelBuilder()
    x = model.input((1, 4), scale=0.1)
    y, z = (model.tensor((1, 4), scale=0.1) for _ in range(2))
    model.operator("RELU", [x], [y])
    model.operator("LOG_SOFTMAX", [y], [z])
    return model.build([z])


def two_inputs() -> bytes:
    model = ModelBuilder()
    a, b = (model.input((1, 4), scale=0.1) for _ in range(2))
    y = model.tensor((1, 4), scale=0.1)
    model.operator("ADD", [a, b], [y], fused_activation_function=0)
    return model.build([y])


def mean_over_channels() -> bytes:
    model = ModelBuilder()
    x = model.input((1, 4, 4, 8), scale=0.1)
    y = model.tensor((1, 4, 4), scale=0.1)
    model.operator("MEAN", [x, model.constant(np.array([3], np.int32))], [y], keep_dims=False)
    return model.build([y])


def too_large(shape: tuple[int, ...]) -> bytes:
    model = ModelBuilder()
    x = model.input(shape, scale=0.1)
    y = model.tensor(shape, scale=0.1)
    model.operator("RELU", [x], [y])
    return model.build([y])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (float_model(), "input 'input_0' is float32; the Himax SDK takes int8 in and out"),
        (without_method(), "operator 1 (LOG_SOFTMAX): the Himax SDK's MicroMutableOpResolver has none"),
        (two_inputs(), "the firmware takes one input and gives one output, the model has 2 inputs"),
        (mean_over_channels(), "operator 0 (MEAN): that version is right only over height and width"),
        (
            too_large((1, 700, 700, 1)),
            "24,232 bytes too much for SYSTEM0 of himax_we1, which has 957,168: model 408, arena 980,992 "
            "(activations 980,000), before the SDK's own data. Make the network smaller, the arena first",
        ),
    ],
)
def test_what_will_not_run_is_refused_and_nothing_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes, message: str
) -> None:
    model = tmp_path / "net.tflite"
    model.write_bytes(data)
    assert main(["generate", str(model), *TARGET, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"harness: {model}: {message}"), error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["net.tflite"]


def test_a_directory_with_something_in_it_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["generate", "himax_cnn", *TARGET, "--out", str(tmp_path)]) == 2
    assert "expected a new or empty directory. Give another DIR" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_name_of_the_sdks_own_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "Handwriting.tflite"
    model.write_bytes(load_model("mnist_mlp").artifacts["tflite"].read_bytes())
    assert main(["generate", str(model), *TARGET, "--out", str(tmp_path / "out")]) == 2
    assert "'handwriting' is one of the Himax SDK's own examples or targets" in capsys.readouterr().err


def test_another_runtime_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["generate", "himax_cnn", *TARGET, "--runtime", "espdl", "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "himax_we1 takes runtime tflm, not espdl. Use --runtime tflm" in capsys.readouterr().err


def test_the_bench_does_not_pretend_to_run_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "himax_cnn", *TARGET, "--report-dir", str(tmp_path / "r")]) == 2
    error = capsys.readouterr().err
    assert "himax_we1: generate only: nothing here builds for it or runs its instruction set" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "r").exists()
