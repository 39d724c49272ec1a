"""A user's own tests with pytest-embedded's `dut` in the same session as ours, on the same port.

Stock pytest-embedded: its `serial` service on an emulated board behind a pseudo-terminal, its `esp` and `idf`
services, which flash, on the stand-in for an attached board.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.toolchains.esp_idf.build import build
from tests.bench_runs import CHECKOUT, run_pytest
from tests.idf_projects import idf_project
from tests.stand_in.attached_board import AttachedBoard
from tests.stand_in.idf_builds import active_idf, idf_builds

THEIRS = """
def test_theirs(dut):
    dut.write(b"name%")
    dut.expect(r"m-name-dut-\\[esp32c3-isa\\]", timeout=20)
"""
OURS = """
def test_ours(result):
    assert result.runtime_gap.max_lsb == 0
"""
BOTH = """
def test_both(dut, deploy):
    deploy("mnist_mlp")
"""
FLASHED = """
def test_theirs(dut):
    dut.expect_exact("SPI_FAST_FLASH_BOOT", timeout=20)
"""
ITEM = ("--model=mnist_mlp", "--runtime=tflm", "--samples=10", "--reference=none")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The port of `harness serve`."""
    command = [sys.executable, "-u", "-m", "harness.cli", "serve", "mnist_mlp", "--target", "esp32c3"]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        yield process.stdout.readline().partition(" is at ")[2].partition(";")[0]
        process.terminate()


def test_each_in_its_turn_on_one_port(served: str, tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(THEIRS + OURS + BOTH)
    run = run_pytest(
        *(tmp_path / "r", "--target=esp32c3", f"--port={served}", "--embedded-services=serial", *ITEM),
        cwd=tmp_path,
        environment={"PYTHONPATH": str(CHECKOUT)},
    )
    assert "1 failed, 2 passed" in run.output, run.output
    busy = f"{served} is busy, held by this test's own pytest-embedded fixture (dut, serial)"
    assert busy in run.output
    assert "FAILED test_mine.py::test_both" in run.output


def test_what_pytest_embedded_flashed_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chip = "esp32s3"
    environment = {**active_idf(tmp_path), "HARNESS_BUILD_ROOT": str(tmp_path / "build")}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    artifact, project = idf_project(tmp_path / "project", kernels="portable", chip=chip)
    image = build(project, artifact, build_root=tmp_path / "build/images")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_mine.py").write_text(FLASHED + OURS)
    with AttachedBoard(chip, idf_builds(tmp_path / "boots", chip, [("mnist_mlp", "tflm")])) as board:
        run = run_pytest(
            *(tmp_path / "r", f"--target={chip}", f"--port={board.path}", "--embedded-services=esp,idf"),
            *(f"--app-path={image.elf.parent}", "--build-dir=flash", *ITEM),
            cwd=tmp_path / "tests",
            environment={**environment, **board.environment, "PYTHONPATH": str(CHECKOUT)},
        )
    assert "2 passed" in run.output, run.output
    (item,) = run.items().values()
    assert f"nothing flashed: {board.path} already runs this firmware and model" in item["notes"]
