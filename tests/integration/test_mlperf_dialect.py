"""`--dialect mlperf`: a device that answers MLPerf Tiny's commands becomes an item of the bench."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.cli import main
from harness.errors import UnsupportedError
from harness.mlperf_tiny.deployment import as_integers, as_sent, check_tensors
from harness.serve import emulated_board
from harness.tensors import TensorInfo
from tests.serial_terminal import terminal_of

OUTPUT = TensorInfo("y", (1, 3), "int8", scale=1 / 256, zero_point=-128)


@pytest.fixture(autouse=True)
def _own_history(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HARNESS_HISTORY_URL", f"sqlite:///{tmp_path}/history.sqlite")


def run(port: str, model: str, reports: Path) -> tuple[int, dict[str, Any]]:
    code = main(
        f"run {model} --target esp32c3 --port {port} --dialect mlperf".split()
        + f"--samples 3 --infer-timeout 5 --report-dir {reports}".split()
    )
    return code, json.loads((reports / "items.jsonl").read_text())


def test_scores_through_the_dialect_are_the_oracles_and_another_model_is_noticed(tmp_path: Path) -> None:
    with (
        emulated_board("mnist_mlp", "esp32c3", "tflm", tmp_path) as board,
        terminal_of(board) as terminal,
    ):
        code, record = run(terminal.path, "mnist_mlp", tmp_path / "right")
        assert code == 0
        assert record["runtime_gap"]["elements"] == 30
        assert record["runtime_gap"]["max_lsb"] == 0
        assert record["fidelity"] is None, "it is claimed, not checked"
        assert record["latency"] is None, "microseconds of unknown fidelity are no latency"
        assert any("esp32c3-isa with model mnist_mlp" in note for note in record["notes"])
        assert any("sent as pixels" in note for note in record["notes"])

        code, record = run(terminal.path, "himax_cnn", tmp_path / "other")
        assert code == 1
        assert record["outcome"] == "failed"
        assert record["runtime_gap"]["mismatching_samples"] == 3
        log = (tmp_path / "other" / "items" / "esp32c3-himax_cnn-tflm" / "uart.log").read_text()
        assert "m-results-[" in log


@pytest.mark.parametrize("where", [[], ["--board", "qemu"], ["--board", "silicon"]])
def test_the_dialect_wants_a_port_and_no_claim_of_silicon(where: list[str], tmp_path: Path) -> None:
    command = ["run", "mnist_mlp", "--target", "esp32c3", "--dialect", "mlperf", *where]
    assert main([*command, "--report-dir", str(tmp_path)]) == 2


def test_a_model_of_other_tensors_is_refused() -> None:
    wide = TensorInfo("x", (1, 2), "int16", scale=1.0)
    check_tensors("m", [OUTPUT], [OUTPUT])
    for inputs, outputs in (([wide], [OUTPUT]), ([OUTPUT], [wide]), ([OUTPUT, OUTPUT], [OUTPUT])):
        with pytest.raises(UnsupportedError, match="one int8 input and one int8 output, m has"):
            check_tensors("m", inputs, outputs)


def test_decimals_become_the_oracles_integers_only_where_they_are_its_own() -> None:
    exact = np.array([[-128, 0, 127]], np.int8)
    printed = np.array([[0.0, 0.5, 0.996]])
    assert as_integers(printed, exact, OUTPUT).tolist() == [[-128, 0, 127]]
    assert as_integers(np.add(printed, [[0, 0.004, 0]]), exact, OUTPUT).tolist() == [[-128, 1, 127]]
    assert as_integers(np.array([[9.0, -9.0, 0.996]]), exact, OUTPUT).tolist() == [[127, -128, 127]]


def test_decimals_too_coarse_for_an_lsb_blame_nobody() -> None:
    fine = TensorInfo("y", (1, 1), "int8", scale=1e-4, zero_point=0)
    assert as_integers(np.array([[0.001]]), np.array([[7]], np.int8), fine).tolist() == [[7]]
    assert as_integers(np.array([[0.003]]), np.array([[7]], np.int8), fine).tolist() == [[30]]


def test_only_pixels_are_shifted() -> None:
    pixels = TensorInfo("x", (1, 2), "int8", scale=1.0, zero_point=-128)
    sound = TensorInfo("x", (1, 2), "int8", scale=1.0, zero_point=83)
    assert as_sent(b"\x80\x7f", pixels) == b"\x00\xff"
    assert as_sent(b"\x80\x7f", sound) == b"\x80\x7f"
