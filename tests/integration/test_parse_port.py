"""Boards with firmware that was not made here, read from their port: a real process prints on a terminal."""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.cli import main
from harness.items import Workshop, load_artifact
from harness.model.dataset import load_dataset
from harness.model.spec import load_model
from harness.runtimes import get_runtime
from harness.targets import get_target
from tests import printed_logs as printed
from tests.himax_app import on_terminal

START_S = 60
PRINTER = """
import sys, time
text = sys.argv[1]
while True:
    sys.stdout.write(text)
    sys.stdout.flush()
    time.sleep(0.05)
"""


@contextlib.contextmanager
def printing(lines: list[str]) -> Iterator[str]:
    """The port of a board that says the same again and again: an image that was compiled into it."""
    with on_terminal([sys.executable, "-c", PRINTER, printed.captured(lines).decode()]) as port:
        speaking = os.open(port, os.O_RDONLY | os.O_NOCTTY)
        begun, _, _ = select.select([speaking], [], [], START_S)
        os.close(speaking)
        assert begun, "the board does not start"
        yield port


@pytest.fixture(scope="module")
def one_image(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """An .npz with the fourth test image of himax_cnn, and the scores of a correct device."""
    model = load_model("himax_cnn")
    artifact = load_artifact(model, "tflm")
    assert model.test is not None
    image = load_dataset(model.test, artifact.inputs, model.preprocess).take(4).quantised()[0][3]
    path = tmp_path_factory.mktemp("image") / "image.npz"
    np.savez(path, x=image[np.newaxis])
    scores = get_runtime("tflm").oracle(artifact).run([image])[0]
    return path, scores.reshape(-1).tolist()


def run(reports: Path, port: str, *arguments: str) -> tuple[int, dict[str, Any]]:
    code = main(
        [
            "run",
            "himax_cnn",
            "--target",
            "himax_we1",
            "--port",
            port,
            "--report-dir",
            str(reports),
            *arguments,
        ]
    )
    return code, json.loads((reports / "items.jsonl").read_text())


def test_a_compiled_in_image_is_an_item(one_image: tuple[Path, list[int]], tmp_path: Path) -> None:
    data, scores = one_image
    with printing(printed.himax(scores)) as port:
        code, item = run(tmp_path, port, "--dialect", "himax", "--data", str(data))
    assert code == 0, item["error"]
    assert (item["runtime_gap"]["samples"], item["runtime_gap"]["max_lsb"]) == (1, 0)
    assert any("that the n-th was the n-th sample is taken on trust" in note for note in item["notes"])


def test_one_wrong_lsb_fails_the_item(one_image: tuple[Path, list[int]], tmp_path: Path) -> None:
    data, scores = one_image
    wrong = [scores[0] + 1, *scores[1:]]
    with printing(printed.himax(wrong)) as port:
        code, item = run(tmp_path, port, "--dialect", "himax", "--data", str(data))
    assert code == 1
    assert (item["outcome"], item["runtime_gap"]["mismatching_elements"]) == ("failed", 1)


def test_another_chip_with_such_firmware(one_image: tuple[Path, list[int]], tmp_path: Path) -> None:
    data, scores = one_image
    with printing(printed.himax(scores)) as port:
        code, item = run(tmp_path, port, "--dialect", "himax", "--data", str(data), "--target", "esp32")
    assert (code, item["target"], item["fidelity"]) == (0, "esp32", None)


def test_real_values_are_for_parse(one_image: tuple[Path, list[int]], tmp_path: Path) -> None:
    with printing(printed.tutorial0([0.1] * 10)) as port:
        data = str(one_image[0])
        code, item = run(tmp_path, port, "--dialect", "tutorial0", "--runtime", "tflm", "--data", data)
    assert code == 3
    assert "himax_cnn has int8 outputs, the board prints real scores. Compare real values" in item["error"]


@pytest.fixture(scope="module")
def old_firmware(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, list[float]]]:
    """For two networks in ESP-DL v1 on an ESP32: an image, and what the chip's output tensor holds."""
    made = {}
    for name in ("esp_dl_mnist", "mnist_mlp"):
        model, target = load_model(name), get_target("esp32")
        workshop = Workshop(tmp_path_factory.mktemp("artifacts"))
        artifact = load_artifact(model, "espdl-v1", target, workshop)
        assert model.test is not None
        x = np.load(model.test)["x"][4:5]
        image = tmp_path_factory.mktemp("image") / "image.npz"
        np.savez(image, x=x)
        inputs = load_dataset(image, artifact.inputs, model.preprocess).quantised()[0][0]
        output = get_runtime("espdl-v1").oracle(artifact).run([inputs])[0]
        made[name] = image, output.reshape(-1).tolist()
    return made


def esp32(reports: Path, model: str, port: str, dialect: str, image: Path) -> tuple[int, dict[str, Any]]:
    arguments = ["--dialect", dialect, "--port", port, "--data", str(image), "--report-dir", str(reports)]
    code = main(["run", model, "--target", "esp32", *arguments])
    return code, json.loads((reports / "items.jsonl").read_text())


def test_the_integers_that_esp_dl_v1_prints(
    old_firmware: dict[str, tuple[Path, list[float]]], tmp_path: Path
) -> None:
    image, scores = old_firmware["esp_dl_mnist"]
    for off, verdict in ((0, 0), (1, 1)):
        lines = printed.espdl_v1_tutorial([int(scores[0]) + off, *map(int, scores[1:])], 7243)
        with printing(lines) as port:
            code, item = esp32(tmp_path, "esp_dl_mnist", port, "espdl-v1", image)
        assert (code, item["runtime"], item["runtime_gap"]["max_lsb"]) == (verdict, "espdl-v1", off)


def test_the_decimals_that_tutorial_0_prints(
    old_firmware: dict[str, tuple[Path, list[float]]], tmp_path: Path
) -> None:
    image, scores = old_firmware["mnist_mlp"]
    for off, verdict in ((0.0, 0), (1e-6, 1)):
        with printing(printed.tutorial0([scores[0] + off, *scores[1:]])) as port:
            code, item = esp32(tmp_path, "mnist_mlp", port, "tutorial0", image)
        assert (code, item["runtime_gap"]["mismatching_elements"]) == (verdict, verdict)
        assert any("equal in all of them counts as equal" in note for note in item["notes"])


def test_parse_reads_the_port_for_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    with printing(printed.tutorial0([0.25, 0.75])) as port:
        assert main(["parse", "--port", port, "--seconds", "1", "--inferences", "2", "--format", "json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["dialect"] == "tutorial0"
    assert [inference["scores"] for inference in record["inferences"]] == [[0.25, 0.75]] * 2


def test_parse_compares_what_the_port_says(
    one_image: tuple[Path, list[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    data, scores = one_image
    arguments = ["--model", "himax_cnn", "--data", str(data), "--inferences", "1", "--format", "json"]
    with printing(printed.himax(scores, one_line=True)) as port:
        assert main(["parse", "--port", port, "--seconds", "0.6", *arguments]) == 0
    assert json.loads(capsys.readouterr().out)["comparison"]["runtime_gap"]["max_lsb"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["parse"], "expected a LOG or --port, one of the two"),
        (["parse", "x.log", "--port", "/dev/null"], "expected a LOG or --port, one of the two"),
        (["parse", "--port", "/dev/no-such-port"], "no such port: /dev/no-such-port"),
        (["parse", "--port", "/dev/null", "--seconds", "0"], "--seconds expects a number above 0, got 0"),
        (
            ["parse", "--port", "/dev/null", "--dialect", "x"],
            "unknown dialect 'x'. Known: tutorial0, espdl-v1",
        ),
        (
            ["run", "--target", "esp32", "--dialect", "x"],
            "unknown dialect 'x'. Known: tutorial0, espdl-v1, espdl",
        ),
        (
            ["run", "--target", "esp32", "--dialect", "himax"],
            "--dialect reads an attached board, but no --port",
        ),
        (
            ["run", "--target", "esp32", "--dialect", "himax", "--port", "/dev/null", "--board", "silicon"],
            "--board silicon with --dialect: firmware that only prints cannot say what it runs on",
        ),
    ],
)
def test_wrong_choices_are_named(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
