"""labgrid's pytest plugin beside pytest-embedded: refused aloud, or every item would be skipped.

Runs in an environment of its own (`tox -e farm`): labgrid's pyserial fork overwrites pyserial's files.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.extras import require
from tests.bench_runs import run_pytest


def test_labgrid_is_installed() -> None:
    assert require("labgrid", "farm").__name__ == "labgrid"


def test_both_plugins_active_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text("def test_one(result):\n    assert result.failures == ()\n")
    run = run_pytest(tmp_path / "r", "--target", "esp32c3", "--model", "mnist_mlp", cwd=tmp_path)
    assert run.code == pytest.ExitCode.USAGE_ERROR, run.output
    assert "Run pytest with -p no:labgrid" in run.output
    assert not (tmp_path / "r").exists()


def test_without_labgrids_plugin_items_run(tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text("def test_one(result):\n    assert result.failures == ()\n")
    run = run_pytest(
        tmp_path / "r", "-p", "no:labgrid", "--target", "esp32c3", "--model", "mnist_mlp",
        "--runtime", "tflm",
        "--samples", "3", cwd=tmp_path,
    )  # fmt: skip
    assert run.code == 0, run.output
    assert "1 passed" in run.output
