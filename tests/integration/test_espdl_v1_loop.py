"""The main job with runtime espdl-v1: float models and v1 projects, emulated chips, the standard install."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from harness.bundled import zoo_directory
from harness.cli import main
from tests.bench_runs import Run, run_harness, run_pytest
from tests.espdl_v1_host import onnx_chain

EXPORT = ("export-v1", "mnist_mlp", "--target", "esp32s3", "--bits", "16", "--out")
node = helper.make_node


def records(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.reports / "items.jsonl").read_text().splitlines()]


def test_the_zoo_is_quantised_and_passes_on_both_instruction_sets(tmp_path: Path) -> None:
    run = run_pytest(
        tmp_path / "r",
        *("--target", "esp32s3,esp32c3", "--model", "mnist_mlp,himax_cnn", "--samples", "25"),
        *("--runtime", "espdl-v1,espdl-v1:int8-per-channel"),
        environment={"HARNESS_BUILD_ROOT": str(tmp_path / "build")},
    )
    assert run.code == 0, run.output
    items = records(run)
    assert len(items) == 8
    assert {item["scheme"] for item in items} == {"int16", "int8-per-channel"}
    for item in items:
        gap = item["runtime_gap"]
        assert (gap["max_lsb"], gap["mismatching_layers"], gap["layer_samples"]) == (0, [], 10)
        assert item["accuracy"]["device"] == item["accuracy"]["oracle"] >= 0.88
    # Of one model and scheme, all chips of a kind run the same bytes.
    assert len(list((tmp_path / "build" / "artifacts").glob("*.espdlv1"))) == 8


def test_a_wrong_exponent_in_a_generated_project_is_a_runtime_gap(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The device runs what model_define.hpp says, the oracle what the coefficients were made with."""
    for name in ("right", "wrong"):
        given = [
            "export-v1",
            "mnist_mlp",
            "--target",
            "esp32s3",
            "--bits",
            "16",
            "--out",
            str(tmp_path / name),
        ]
        assert main(given) == 0
    model = tmp_path / "wrong" / "model" / "model_define.hpp"
    text = model.read_text()
    changed = re.sub(r"l2\(Conv2D<int16_t>\(-11", "l2(Conv2D<int16_t>(-10", text)
    assert changed != text
    model.write_text(changed)
    run = run_harness(
        tmp_path / "r",
        *(f"{tmp_path / 'right'},{tmp_path / 'wrong'}", "--target", "esp32s3", "--samples", "5"),
    )
    assert run.code == 1, run.output
    right, wrong = (run.items()[f"esp32s3-{name}"] for name in ("right", "wrong"))
    assert (right["outcome"], right["runtime_gap"]["max_lsb"]) == ("passed", 0)
    assert wrong["outcome"] == "failed"
    assert wrong["runtime_gap"]["mismatching_layers"][0] == "1 Conv2D"
    capsys.readouterr()
    assert main(["lint-v1", str(tmp_path / "wrong")]) == 1
    assert "l2: output exponent -10, but" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("target", "runtime", "message"),
    [
        ("esp32c3", "espdl-v1", "the project is for esp32s3"),
        ("esp32p4", "espdl-v1", "esp-dl v1 does not support esp32p4. Targets of runtime espdl-v1: esp32,"),
        ("esp32s3", "espdl-v1:int8", "is int16; runtime espdl-v1:int8 takes int8. Run it as"),
    ],
)
def test_a_project_for_something_else(
    target: str, runtime: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = tmp_path / "project"
    assert main([*EXPORT, str(project)]) == 0
    out = tmp_path / "out"
    given = ["generate", str(project), "--target", target, "--runtime", runtime, "--out", str(out)]
    assert main(given) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def branching(path: Path) -> Path:
    weights = {"w": np.ones((4, 4), np.float32)}
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("Add", ["a", "x"], ["y"], "skip")]
    return onnx_chain(path, nodes, weights, (1, 4))


def dense(path: Path, batch: int = 1) -> Path:
    weights = {"w": np.ones((4, 2), np.float32)}
    return onnx_chain(path, [node("MatMul", ["x", "w"], ["y"])], weights, (batch, 4))


@pytest.mark.parametrize(
    ("model", "calibration", "message"),
    [
        (branching, np.ones((3, 4)), r"net\.onnx: operator 1 \(Add skip\) is not supported: v1"),
        (dense, np.ones((0, 4)), r"calibration\.npz: x is empty"),
        (dense, np.ones((3, 5)), r"x has shape \(3, 5\), expected \(N, 4\)"),
        (dense, np.full((3, 4), np.inf), r"sample 0 \(from 0\) holds NaN or infinity"),
        (dense, np.full((3, 4), 1e38), r"tensor y takes NaN or infinity on the calibration set"),
        (
            lambda path: dense(path, 2),
            np.ones((3, 4)),
            r"expected \(1, \.\.\.\).* with batch 1",
        ),
    ],
)
def test_float_models_and_calibration_sets_that_do_not_fit(
    model: Any, calibration: np.ndarray, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = model(tmp_path / "net.onnx")
    np.savez(tmp_path / "calibration.npz", x=calibration.astype(np.float32))
    given = ["generate", str(path), "--target", "esp32s3", "--runtime", "espdl-v1"]
    given += ["--calibration", str(tmp_path / "calibration.npz"), "--out", str(tmp_path / "out")]
    assert main(given) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_schemes_that_v1_has_not(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["generate", str(zoo_directory() / "mnist_mlp"), "--runtime", "espdl-v1:int16-entropy"]
    assert main([*given, "--out", "unused"]) == 2
    assert "no scheme 'int16-entropy'. Known: int16, int8, int8-entropy" in capsys.readouterr().err
