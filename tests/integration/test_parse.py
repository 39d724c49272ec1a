"""`harness parse` as a user calls it, and foreign scores against the oracle of a real model."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from harness.cli import main
from harness.items import load_artifact
from harness.model.dataset import load_dataset
from harness.model.spec import load_model
from harness.runtimes import get_runtime
from tests import printed_logs as printed

SAMPLES = 5


def write(tmp_path: Path, lines: Sequence[str]) -> str:
    path = tmp_path / "monitor.log"
    path.write_bytes(printed.captured(lines))
    return str(path)


@pytest.fixture(scope="module")
def exact() -> np.ndarray:
    """The oracle's int8 answers of himax_cnn to its first test images, (SAMPLES, 10)."""
    model = load_model("himax_cnn")
    artifact = load_artifact(model, "tflm")
    assert model.test is not None
    (images,) = load_dataset(model.test, artifact.inputs, model.preprocess).take(SAMPLES).quantised()
    oracle = get_runtime("tflm").oracle(artifact)
    return np.stack([oracle.run([image])[0].reshape(-1) for image in images])


def himax_log(tmp_path: Path, scores: np.ndarray) -> str:
    return write(tmp_path, [line for row in scores for line in printed.himax(row.tolist())])


def test_json_holds_the_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parse", write(tmp_path, printed.tutorial0([0.25, 0.75])), "--format", "json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["dialect"], record["comparison"], record["notes"]) == ("tutorial0", None, [])
    assert record["inferences"][0]["scores"] == [0.25, 0.75]
    assert record["inferences"][0]["latencies"][0] == {
        "label": "SIGN::forward",
        "value": 487156,
        "unit": "us",
        "line": 2,
    }


def test_json_stays_json_with_a_score_that_is_no_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = write(tmp_path, printed.tutorial0([float("nan"), float("-inf")]))
    assert main(["parse", log, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["inferences"][0]["scores"] == ["nan", "-inf"]


def test_csv_has_one_row_per_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [*printed.espdl_test(["out"]), *printed.espdl_profile([("a,b", "Conv", 12)], "cycle")]
    assert main(["parse", write(tmp_path, lines), "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    figures = {(row["kind"], row["name"], row["type"]): (row["value"], row["unit"]) for row in rows}
    assert figures["profile", "a,b", "Conv"] == ("12", "cycle")
    assert figures["profile_total", "mnist", "modules"] == ("12", "cycle")
    assert figures["memory", "variable", "internal"] == ("12.27", "KB")
    assert figures["memory", "variable", "psram"] == ("", "KB")
    assert figures["test", "", ""] == ("passed", "")


@pytest.mark.parametrize("one_line", [False, True])
def test_standard_input_and_the_table(one_line: bool) -> None:
    log = printed.captured(printed.himax([-128, 7], one_line))
    command = [sys.executable, "-m", "harness.cli", "parse", "-"]
    done = subprocess.run(command, input=log, capture_output=True, check=True)
    shown = done.stdout.decode()
    assert "dialect himax" in shown
    assert "-128, 7" in shown


def test_the_table_of_every_kind_on_a_terminal(tmp_path: Path) -> None:
    lines = [
        *printed.espdl_test(["out"], "out"),
        *printed.espdl_profile([("conv\x07", "Conv", 12)]),
        printed.latency_print("whole", 99),
    ]
    command = [sys.executable, "-m", "harness.cli", "parse", write(tmp_path, lines)]
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command, stdout=slave, env=environment) as process:
        os.close(slave)
        shown = b""
        try:
            while chunk := os.read(master, 65536):
                shown += chunk
        except OSError:
            pass  # Linux ends a pty with EIO.
    os.close(master)
    assert process.returncode == 1
    text = shown.decode()
    assert "\x1b[1m" in text
    assert "\x07" not in text
    for word in ("output out does not match", "12 us", "61.95 KB", "whole 99 us", "mnist"):
        assert word in text


def test_a_test_that_did_not_pass_is_no_success(tmp_path: Path) -> None:
    assert main(["parse", write(tmp_path, printed.espdl_test(["a"]))]) == 0
    assert main(["parse", write(tmp_path, printed.espdl_test(["a"], "a"))]) == 1
    assert main(["parse", write(tmp_path, printed.espdl_test(["a"])[:1])]) == 1


def test_int8_scores_equal_the_oracle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], exact: np.ndarray
) -> None:
    arguments = ["parse", himax_log(tmp_path, exact), "--model", "himax_cnn", "--format", "json"]
    assert main(arguments) == 0
    comparison = json.loads(capsys.readouterr().out)["comparison"]
    assert (comparison["samples"], comparison["runtime_gap"]["max_lsb"]) == (SAMPLES, 0)
    assert comparison["accuracy"]["device"] == comparison["accuracy"]["oracle"]
    assert comparison["whole_gap"]["agreement"] == 1.0


def test_one_wrong_lsb_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], exact: np.ndarray
) -> None:
    wrong = exact.copy()
    wrong[3, 0] += 1
    assert main(["parse", himax_log(tmp_path, wrong), "--model", "himax_cnn"]) == 1
    shown = capsys.readouterr().out
    assert "1 of 50" in shown


def test_real_scores_against_the_float_reference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], exact: np.ndarray
) -> None:
    artifact = load_artifact(load_model("himax_cnn"), "tflm")
    real = artifact.outputs[0].dequantise(exact)
    log = write(tmp_path, [line for row in real for line in printed.tutorial0(row.tolist())])
    assert main(["parse", log, "--model", "himax_cnn", "--format", "csv"]) == 0
    rows = {row["name"]: row["value"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    assert rows["samples"] == str(SAMPLES)
    assert rows["top-1, device"] == rows["top-1, oracle"]
    assert "runtime gap, LSB" not in rows


def test_the_users_own_data(tmp_path: Path, exact: np.ndarray) -> None:
    data = str(tmp_path / "one.npz")
    np.savez(data, x=np.zeros((1, 28, 28, 1), np.float32))
    log = himax_log(tmp_path, exact[:1])
    assert main(["parse", log, "--model", "himax_cnn", "--data", data]) == 1


@pytest.mark.parametrize(
    ("lines", "arguments", "message"),
    [
        (printed.himax([1, 2, 3]), ["--model", "himax_cnn"], "3 scores, himax_cnn has 10 outputs"),
        (printed.himax([1] * 10)[:-1], ["--model", "himax_cnn"], "lines are missing"),
        (printed.himax([900] * 10), ["--model", "himax_cnn"], "score 900 is not int8"),
        (printed.person_detection(90, 5), ["--model", "himax_cnn"], "too coarse"),
        (printed.tutorial0([float("nan")] * 10), ["--model", "himax_cnn"], "not a finite number"),
        (
            printed.espdl_v1_tutorial([1] * 10, 5),
            ["--model", "mnist_mlp", "--runtime", "espdl-v1", "--target", "esp32"],
            "integer scores, the output",
        ),
        (["time: 5 us"], ["--model", "himax_cnn"], "expected scores to compare with himax_cnn"),
        (printed.himax([1] * 10), ["--data", "x.npz"], "--data without --model"),
        (printed.himax([1] * 10), ["--model", "himax_cnn", "--data", "x.npz"], "x.npz: no such data file"),
        (["nothing"], [], "Known: --dialect tutorial0, espdl-v1, espdl, tflm, tvm, himax"),
        (["nothing"], ["--dialect", "tvn"], "unknown dialect 'tvn'"),
    ],
)
def test_what_cannot_be_read_or_compared(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    lines: list[str],
    arguments: list[str],
    message: str,
) -> None:
    assert main(["parse", write(tmp_path, lines), *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert not captured.out


def test_more_inferences_than_samples(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], exact: np.ndarray
) -> None:
    data = str(tmp_path / "one.npz")
    np.savez(data, x=np.zeros((1, 28, 28, 1), np.float32))
    assert main(["parse", himax_log(tmp_path, exact), "--model", "himax_cnn", "--data", data]) == 2
    assert "the log has 5 inferences" in capsys.readouterr().err


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parse", str(tmp_path / "none.log")]) == 2
    assert "No such file or directory" in capsys.readouterr().err
