"""What a start loads: the modules, exactly, and not the seconds, which are the machine's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.bench_runs import CHECKOUT, TIMEOUT_S

HEAVY = {"keras", "onnxruntime", "pandas", "pyarrow", "tensorflow", "tflite_micro", "torch", "tvm"}


def heavy_modules(tmp_path: Path, code: str) -> set[str]:
    """Which of HEAVY a process has loaded after `code`."""
    report = f"\nimport sys\nopen({str(tmp_path / 'loaded')!r}, 'w').write(' '.join(sys.modules))\n"
    done = subprocess.run(
        [sys.executable, "-c", code + report],
        cwd=CHECKOUT,
        env={**os.environ, "HARNESS_HISTORY_URL": f"sqlite:///{tmp_path}/history.sqlite"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout
    loaded = (tmp_path / "loaded").read_text().split()
    assert "harness" in loaded
    return HEAVY & {name.partition(".")[0] for name in loaded}


def test_collecting_loads_no_framework(tmp_path: Path) -> None:
    arguments = ["--collect-only", "-q", "--target", "esp32c3", "-p", "no:cacheprovider", "tests/hil"]
    code = f"import pytest\nassert pytest.main({arguments}) == 0"
    assert heavy_modules(tmp_path, code) == set()


def test_a_run_of_a_committed_artifact_loads_what_compares_and_no_framework(tmp_path: Path) -> None:
    arguments = ["run", "test17_conv1x1", "--target", "esp32c3", "--runtime", "tflm", "--samples", "2"]
    arguments += ["--report-dir", str(tmp_path / "report")]
    code = f"from harness.cli import main\nassert main({arguments}) == 0"
    assert heavy_modules(tmp_path, code) <= {"onnxruntime", "tflite_micro"}
