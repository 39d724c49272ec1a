"""A second run of the bench starts no compiler: counted at the compiler, in real runs."""

from __future__ import annotations

import os
from pathlib import Path

from tests.bench_runs import run_pytest
from tests.logging_compiler import log_compiler


def test_a_second_pytest_builds_nothing(tmp_path: Path) -> None:
    compiler = log_compiler("riscv64-unknown-elf-gcc", tmp_path / "bin")
    path = f"{compiler.folder}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": path, "HARNESS_BUILD_ROOT": str(tmp_path / "build")}
    arguments = ("--target", "esp32c3", "--model", "mnist_mlp", "--runtime", "tflm", "--samples", "2")

    first = run_pytest(tmp_path / "first", *arguments, environment=environment)
    assert first.code == 0, first.output
    assert "model.c" in compiler.compiled()
    assert compiler.links() == 1

    compiler.clear()
    second = run_pytest(tmp_path / "second", *arguments, environment=environment)
    assert second.code == 0, second.output
    assert (compiler.compiled(), compiler.links()) == ([], 0)
