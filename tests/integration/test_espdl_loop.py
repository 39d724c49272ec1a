"""The main job with runtime espdl: committed files, emulated chips, nothing but the standard install."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.bundled import zoo_directory
from harness.cli import main
from tests.bench_runs import run_harness, run_pytest


def test_the_zoo_passes_on_both_instruction_sets_beside_tflm(tmp_path: Path) -> None:
    run = run_pytest(
        tmp_path / "r",
        "--model",
        "mnist_mlp,himax_cnn",
        "--target",
        "esp32s3,esp32c3,esp32p4",
        "--runtime",
        "tflm,espdl",
        "--samples",
        "25",
    )
    assert run.code == 0, run.output
    assert "12 passed" in run.output
    records = [json.loads(line) for line in (run.reports / "items.jsonl").read_text().splitlines()]
    espdl = [record for record in records if record["runtime"] == "espdl"]
    assert len(records) == 12
    assert len(espdl) == 6
    for record in espdl:
        gap = record["runtime_gap"]
        assert (gap["max_lsb"], gap["elements"], gap["layer_samples"]) == (0, 250, 10)
        assert gap["layers"] == (11 if record["model"] == "himax_cnn" else 4)
        assert record["accuracy"]["device"] == record["accuracy"]["oracle"]


def test_a_file_of_ones_own_and_the_wrong_chip(tmp_path: Path) -> None:
    """An ESP32-S3 file runs on the ESP32-S3; the ESP32-C3's item breaks, with the reason."""
    file = zoo_directory() / "himax_cnn" / "model.esp32s3.espdl"
    run = run_harness(
        tmp_path / "r",
        str(file),
        "--target",
        "esp32s3,esp32c3,esp32h2",
        "--runtime",
        "espdl",
        "--samples",
        "5",
    )
    assert run.code == 3, run.output
    outcomes = {record["target"]: record["outcome"] for record in run.items().values()}
    assert outcomes == {"esp32s3": "passed", "esp32c3": "error", "esp32h2": "error"}
    errors = {record["target"]: record["error"] for record in run.items().values()}
    assert "has layout (N/16)HWC16_UNALIGNED, that of esp32s3 and esp32p4" in errors["esp32c3"]
    assert errors["esp32h2"].startswith("ESP-DL does not support esp32h2")


def test_a_float_model_without_calibration_set_says_what_is_missing(tmp_path: Path) -> None:
    onnx = zoo_directory() / "mnist_mlp" / "model.onnx"
    run = run_harness(tmp_path / "r", str(onnx), "--target", "esp32s3", "--runtime", "espdl")
    assert run.code == 3, run.output
    (record,) = run.items().values()
    assert "has no calibration set. Give some 200 typical inputs: --calibration FILE.npz" in record["error"]


def test_the_zoo_on_this_machine(tmp_path: Path) -> None:
    """gcc -O2 once left the softmax's call out, on the host alone."""
    run = run_harness(
        tmp_path / "r", "himax_cnn,mnist_mlp", "--target", "esp32s3,esp32p4", "--runtime", "espdl",
        "--board", "host",
        "--samples", "5",
    )  # fmt: skip
    assert run.code == 0, run.output


def test_generate_needs_to_know_the_chip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["generate", "himax_cnn", "--runtime", "espdl", "--out", str(tmp_path / "out")]
    assert main(command) == 2
    assert "runtime espdl has a file for each kind of chip. Name one" in capsys.readouterr().err
    assert main([*command, "--target", "esp32c6"]) == 0
    assert "11 layers, arena 6192 bytes" in capsys.readouterr().out
