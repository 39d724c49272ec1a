"""The `harness` command's other faces: what there is, what is missing, sources to read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.boards.qemu import QemuBoard
from harness.cli import main
from harness.items import load_artifact
from harness.link.client import Link
from harness.model.spec import load_model
from harness.runtimes import get_runtime
from harness.targets import TARGETS, get_target


def test_list_names_models_targets_and_runtimes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    for word in ("mnist_mlp", "himax_cnn", "tflm", "fidelity isa", *TARGETS):
        assert word in shown
    assert "himax_we1     ARC EM9D, 1 core; generate only\n" in shown


def test_doctor_is_content_with_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    for program in ("riscv64-unknown-elf-gcc", "xtensa-lx106-elf-gcc", "qemu-system-riscv32"):
        assert f"ok       {program}" in shown
    assert "himax_we1                 generate only: no emulator, and its SDK is not looked for" in shown


def test_doctor_names_the_command_for_each_missing_piece(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert main(["doctor"]) == 1
    shown = capsys.readouterr().out
    assert "missing  qemu-system-xtensa" in shown
    assert "apt-get install qemu-system-misc" in shown


def test_generate_writes_sources_that_compile_by_hand(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["generate", "himax_cnn", "--out", str(tmp_path / "out")]) == 0
    assert "7 layers, arena 6192 bytes" in capsys.readouterr().out
    firmware = Path(__file__).parents[2] / "firmware"
    for source in (tmp_path / "out").glob("*.c"):
        command = ["gcc", "-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-fsyntax-only"]
        subprocess.run([*command, f"-I{firmware}", str(source)], check=True)


@pytest.mark.parametrize("name", ["esp32c3", "esp32s3"])
def test_a_generated_tree_builds_with_make_alone_and_answers(name: str, tmp_path: Path) -> None:
    assert main(["generate", "mnist_mlp", "--target", name, "--out", str(tmp_path / "out")]) == 0
    subprocess.run(["make", "-s", "-C", str(tmp_path / "out")], check=True)
    artifact = load_artifact(load_model("mnist_mlp"), "tflm")
    pixels = np.arange(784, dtype=np.int64).astype(np.int8).reshape(1, 784)
    (expected,) = get_runtime("tflm").oracle(artifact).run([pixels])
    elf = tmp_path / "out" / "firmware.elf"
    with QemuBoard(name, get_target(name).isa_platform, elf) as port:
        link = Link(port)
        link.connect()
        link.expect_identity(artifact=artifact.digest, target=name)
        assert link.infer(pixels.tobytes()).output == expected.tobytes()


def test_generate_into_a_file_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert main(["generate", "mnist_mlp", "--out", str(tmp_path / "file")]) == 2
    assert "Choose another directory" in capsys.readouterr().err


def test_the_console_script_and_its_help() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli", "run", "--help"], capture_output=True, text=True, check=True
    )
    for word in ("--target", "--samples", "--layer-samples", "--report-dir", "esp32c3"):
        assert word in done.stdout
