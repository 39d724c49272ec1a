"""Boards with firmware that was not made here, read from their port: a real process prints on a terminal."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.cli import main
from harness.items import load_artifact
from harness.model.dataset import load_dataset
from harness.model.spec import load_model
from harness.runtimes import get_runtime
from tests import printed_logs as printed
from tests.himax_app import on_terminal

PRINTER = """
import sys, time
text = sys.argv[1]
while True:
    sys.stdout.write(text)
    sys.stdout.flush()
    time.sleep(0.05)
"""


def printing(lines: list[str]) -> list[str]:
    """A board that says the same again and again: an image that was compiled into it."""
    return [sys.executable, "-c", PRINTER, printed.captured(lines).decode()]


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
    with on_terminal(printing(printed.himax(scores))) as port:
        code, item = run(tmp_path, port, "--dialect", "himax", "--data", str(data))
    assert code == 0, item["error"]
    assert (item["runtime_gap"]["samples"], item["runtime_gap"]["max_lsb"]) == (1, 0)
    assert any("that the n-th was the n-th sample is taken on trust" in note for note in item["notes"])


def test_one_wrong_lsb_fails_the_item(one_image: tuple[Path, list[int]], tmp_path: Path) -> None:
    data, scores = one_image
    wrong = [scores[0] + 1, *scores[1:]]
    with on_terminal(printing(printed.himax(wrong))) as port:
        code, item = run(tmp_path, port, "--dialect", "himax", "--data", str(data))
    assert code == 1
    assert (item["outcome"], item["runtime_gap"]["mismatching_elements"]) == ("failed", 1)


def test_another_chip_with_such_firmware(one_image: tuple[Path, list[int]], tmp_path: Path) -> None:
    data, scores = one_image
    with on_terminal(printing(printed.himax(scores))) as port:
        code, item = run(tmp_path, port, "--dialect", "himax", "--data", str(data), "--target", "esp32")
    assert (code, item["target"], item["fidelity"]) == (0, "esp32", None)


def test_real_values_are_for_parse(one_image: tuple[Path, list[int]], tmp_path: Path) -> None:
    with on_terminal(printing(printed.tutorial0([0.1] * 10))) as port:
        code, item = run(tmp_path, port, "--dialect", "tutorial0", "--data", str(one_image[0]))
    assert code == 3
    assert "himax_cnn has int8 outputs, the board prints real scores. Compare real values" in item["error"]


def test_parse_reads_the_port_for_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    with on_terminal(printing(printed.tutorial0([0.25, 0.75]))) as port:
        assert main(["parse", "--port", port, "--seconds", "1", "--inferences", "2", "--format", "json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["dialect"] == "tutorial0"
    assert [inference["scores"] for inference in record["inferences"]] == [[0.25, 0.75]] * 2


def test_parse_compares_what_the_port_says(
    one_image: tuple[Path, list[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    data, scores = one_image
    arguments = ["--model", "himax_cnn", "--data", str(data), "--inferences", "1", "--format", "json"]
    with on_terminal(printing(printed.himax(scores, one_line=True))) as port:
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
