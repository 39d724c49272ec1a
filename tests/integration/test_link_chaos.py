"""A faulty wire before the real firmware, native and emulated, and the commands that put it there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.boards import choose_board
from harness.cli import main
from harness.link.chaos import Chaos, ChaosPort
from harness.link.client import Link
from harness.targets import get_target
from tests.firmware_demo import build_demo, demo_layers
from tests.link_devices import PythonDevice, demo_inputs
from tests.serial_terminal import Terminal

# At 1e-3 of each kind every other round trip is lost.
FAULTS = {"drop": 1e-3, "flip": 1e-3, "dup": 1e-3, "garbage": 1e-3, "delay": 1e-3}


@pytest.mark.parametrize(
    ("platform", "samples", "reset"),
    [("host", 3000, 2e-5), ("qemu_riscv32", 400, 1e-4), ("qemu_xtensa", 400, 1e-4)],
)
def test_every_inference_is_right_over_a_wire_that_errs(
    platform: str, samples: int, reset: float, tmp_path: Path
) -> None:
    image = build_demo(platform, tmp_path)
    board, _ = choose_board(get_target(image.target), image, kind="host" if platform == "host" else "qemu")
    with board as port:
        faulty = ChaosPort(port, Chaos(**FAULTS, reset=reset, seed=3), board.reset)
        link = Link(faulty, board_state=board.state)
        link.connect()
        inputs = demo_inputs(samples)
        replies = list(link.infer_stream(inputs))
        assert [reply.output for reply in replies] == [demo_layers(data)[2] for data in inputs]
    assert all(faulty.faults.values()), faulty.faults
    assert link.statistics.retries > samples / 10


def test_a_run_over_a_faulty_wire_is_exact_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--samples", "60", "--reference", "none", "--report-dir", "out"]
    chaos = "drop=5e-4,flip=5e-4,reset=2e-5,seed=2"
    arguments = ["run", "test15_sigmoid", "--runtime", "tflm", "--target", "esp32c3", *options]
    assert main([*arguments, "--chaos", chaos]) == 0, capsys.readouterr()
    item = json.loads((tmp_path / "out" / "items.jsonl").read_text())
    assert item["runtime_gap"]["mismatching_elements"] == 0
    assert item["wire"]["chaos_flip"] > 0
    assert "a faulty wire, as asked: --chaos drop=0.0005,flip=0.0005,reset=2e-05,seed=2" in item["notes"]


def test_link_test_measures_an_attached_board_at_every_rate(capsys: pytest.CaptureFixture[str]) -> None:
    device = PythonDevice()
    terminal = Terminal(device)
    try:
        assert main(["link-test", "--port", terminal.path, "--seconds", "0.05"]) == 0
    finally:
        terminal.unplug()
    shown = capsys.readouterr().out
    assert f"{terminal.path}: esp32c3, fidelity host" in shown
    assert shown.count(" clean\n") == 7
    assert "highest clean baud: 3000000 (fidelity host: its UART has no rate of its own" in shown
    assert len(device.bauds) == 0
    assert device.boots == 1


def test_link_test_finds_the_faults_that_were_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    faults = ["--chaos", "flip=1e-3,seed=1"]
    assert main(["link-test", "--target", "esp32s3", "--seconds", "0.1", *faults]) == 1
    shown = capsys.readouterr().out
    assert "qemu_xtensa-esp32s3: esp32s3, fidelity isa" in shown
    assert "highest clean baud: none" in shown
    assert "--chaos flip=0.001,seed=1: " in shown


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--port", "/dev/nowhere"], 3, "/dev/nowhere: no such port: /dev/nowhere"),
        (["--seconds", "0"], 2, "--seconds expects a number above 0, got 0"),
        (["--port", "/dev/nowhere", "--target", "esp32c3"], 2, "--port is an attached board, --target"),
        (["--target", "himax_we1"], 2, "himax_we1 has no emulator here"),
        (["--chaos", "often"], 2, "--chaos takes drop="),
        (["--baud", "0"], 2, "--baud expects a whole number of at least 1, got 0"),
    ],
)
def test_link_test_refuses_in_one_line(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["link-test", *arguments]) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_chaos_is_refused_where_nothing_guards_the_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", "mnist_mlp", "--target", "esp32c3", "--port", "/dev/nowhere"]
    assert main([*arguments, "--dialect", "tutorial0", "--chaos", "drop=1e-3"]) == 2
    assert "--chaos with --dialect" in capsys.readouterr().err
