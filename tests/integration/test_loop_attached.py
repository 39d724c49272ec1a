"""The main job against a board on a port: here QEMU behind a pseudo-terminal, with firmware already on it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.boards.qemu import QemuBoard
from harness.items import load_artifact
from harness.model.spec import load_model
from harness.runtimes import get_runtime
from harness.targets import get_target
from harness.toolchains.bare_metal import build
from tests.bench_runs import run_harness, run_pytest
from tests.serial_terminal import Terminal, terminal_of


@pytest.fixture(scope="module")
def elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("attached")
    artifact = load_artifact(load_model("mnist_mlp"), "tflm")
    project = get_runtime("tflm").generate(artifact, "portable", directory / "project")
    return build(project, get_target("esp32c3"), "qemu_riscv32", build_root=directory / "images").elf


@pytest.fixture
def attached(elf: Path) -> Iterator[Terminal]:
    with QemuBoard("esp32c3", "qemu_riscv32", elf) as port, terminal_of(port) as terminal:
        yield terminal


def test_an_attached_board_runs_what_it_has(attached: Terminal, tmp_path: Path) -> None:
    run = run_pytest(
        tmp_path / "r", "--target", "esp32c3", "--model", "mnist_mlp", "--runtime", "tflm", "--samples", "20",
        "--port", attached.path, "--baud", "921600",
    )  # fmt: skip
    assert run.code == 0, run.output
    (item,) = run.items().values()
    assert item["runtime_gap"]["max_lsb"] == 0
    assert item["fidelity"] == "isa", "the firmware says what it runs on, whatever the port"
    assert item["memory"]["flash_bytes"] is None, "not built here, so not known"
    assert item["memory"]["arena_bytes"] == 848
    assert f"esp32c3: the board on {attached.path}" in run.output


def test_another_models_firmware_is_named_with_the_remedy(attached: Terminal, tmp_path: Path) -> None:
    run = run_harness(tmp_path / "r", "himax_cnn", "--target", "esp32c3", "--port", attached.path)
    assert run.code == 3
    assert "expected model himax_cnn (artifact " in run.output
    assert "the device runs mnist_mlp (artifact " in run.output
    assert "Flash the firmware of himax_cnn for esp32c3 onto this board first" in run.output


def test_another_chips_firmware_is_named(attached: Terminal, tmp_path: Path) -> None:
    run = run_harness(tmp_path / "r", "mnist_mlp", "--target", "esp32s3", "--port", attached.path)
    assert run.code == 3
    assert "expected firmware for esp32s3, the device's was built for esp32c3" in run.output


def test_silicon_is_not_what_an_emulator_is(attached: Terminal, tmp_path: Path) -> None:
    run = run_harness(
        tmp_path / "r", "mnist_mlp", "--target", "esp32c3", "--board", "silicon", "--port", attached.path
    )
    assert run.code == 3
    assert "expected a board of fidelity silicon" in run.output


def test_a_silent_board_ends_in_time_with_its_state(tmp_path: Path) -> None:
    class Mute:
        """A board with nothing on it."""

        def read(self, timeout_s: float) -> bytes:
            threading.Event().wait(timeout_s)
            return b""

        def write(self, data: bytes) -> None: ...

        def set_baud(self, baud: int) -> None: ...

    with terminal_of(Mute()) as terminal:
        run = run_harness(tmp_path / "r", "mnist_mlp", "--target", "esp32c3", "--port", terminal.path)
    assert run.code == 3
    assert "expected the answer to HELLO, nothing valid came for 10.0 s" in run.output
    assert "The device printed nothing" in run.output
