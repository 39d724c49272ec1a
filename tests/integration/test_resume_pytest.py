"""pytest --resume: what had ended is shown, what was begun goes on, and nothing else will do."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.resume import load_killed_run
from tests.bench_runs import CHECKOUT, Run, run_pytest

# In the midst of the second item the session kills itself, as `kill -9` from outside would.
TESTS = """
import os
import signal
import pytest
from harness.collected import Collected
from harness.result import Result

@pytest.fixture
def doomed(target, monkeypatch):
    take = Collected.take
    def dying(self, *answer):
        take(self, *answer)
        if self.number == 80:
            os.kill(os.getpid(), signal.SIGKILL)
    if target == "esp32s3" and "DOOMED" in os.environ:
        monkeypatch.setattr(Collected, "take", dying)

def test_model(result: Result) -> None:
    assert result.failures == ()
    assert result.accuracy.samples == 90

def test_wrong(doomed, result: Result) -> None:
    assert result.accuracy.samples == 0, "not as many"
"""
OPTIONS = (
    "--target", "esp32c3,esp32s3", "--model", "mnist_mlp", "--runtime", "tflm", "--reference", "none",
    "--board", "host", "--samples", "90", "-p", "no:cacheprovider", "-v",
)  # fmt: skip
ENVIRONMENT = {"PYTHONPATH": str(CHECKOUT)}


def run_killed(directory: Path, report: Path) -> None:
    """pytest-embedded's own helper process outlives a killed session: no pipe to wait for, and ended here."""
    with (directory / "killed.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "--report-dir", str(report), *OPTIONS],
            cwd=directory, env={**os.environ, **ENVIRONMENT, "DOOMED": "1"},
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        code = process.wait(120)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    assert code == -signal.SIGKILL, (directory / "killed.log").read_text()


def resume(directory: Path, report: Path, *more: str) -> Run:
    return run_pytest(report, *OPTIONS, "--resume", *more, cwd=directory, environment=ENVIRONMENT)


def test_a_killed_session_goes_on(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    report = tmp_path / "run"
    run_killed(tmp_path, report)
    lines = [json.loads(line) for line in (report / "journal.jsonl").read_text().splitlines()]
    ended = [line["name"] for line in lines if line["kind"] == "test"]
    assert ended == [
        f"test_it.py::test_{name}-mnist_mlp-tflm]"
        for name in ("model[esp32c3", "model[esp32s3", "wrong[esp32c3")
    ]

    other = resume(tmp_path, report, "--seed", "5")
    assert other.code != 0
    assert "cannot resume run" in other.output
    assert "--seed was 0, is 5" in other.output

    resumed = resume(tmp_path, report)
    assert resumed.code == 1, resumed.output
    assert "3 tests ended before this run was killed: shown, not run again" in resumed.output
    assert resumed.output.count("PASSED (before the kill)") == 2
    assert "2 failed, 2 passed" in resumed.output
    assert resumed.output.count("not as many") >= 2
    items = resumed.items()
    assert list(items) == ["esp32c3-mnist_mlp", "esp32s3-mnist_mlp"]
    assert any(note.startswith("resumed: ") for note in items["esp32s3-mnist_mlp"]["notes"])
    with pytest.raises(UsageError, match=r"nothing to resume: run \S+ came to its end"):
        load_killed_run(tmp_path, str(report))
