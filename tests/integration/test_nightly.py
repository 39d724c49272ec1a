"""A night with real processes: workers, native firmware and QEMU; one of the workers is killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.replay import replay
from tests.bench_runs import CHECKOUT, TIMEOUT_S, run_nightly

MODEL = "test17_conv1x1"
# An item of more than a second, on any machine.
LONG = '[[matrix]]\ntargets = "esp32c3"\nmodels = "himax_cnn"\nruntimes = "tflm"\nsamples = 1000\n'
FAILING = """\
name = "failing"
[input]
shape = [1, 1, 1, 1]
[artifacts]
tflite = "{tflite}"
[measurements.size]
figure = "memory_model_bytes"
max = 1
"""


@pytest.fixture
def failing(tmp_path: Path) -> Path:
    """A model whose firmware is right but cannot meet what it declares."""
    directory = tmp_path / "failing"
    directory.mkdir()
    tflite = CHECKOUT / "models" / MODEL / "model.tflite"
    (directory / "model.toml").write_text(FAILING.format(tflite=tflite), encoding="utf-8")
    return directory


def cache() -> dict[str, int]:
    """What was built and computed, and when."""
    root = Path(os.environ.get("HARNESS_BUILD_ROOT") or CHECKOUT / "build")
    found = [*root.glob("images/*/firmware.elf"), *root.glob("expectations/*.npz")]
    return {str(path): path.stat().st_mtime_ns for path in found}


def test_a_night_reports_once_compares_and_makes_nothing_twice(
    tmp_path: Path, failing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_BUILD_ROOT", str(tmp_path / "build"))  # other tests build beside it
    config = tmp_path / "nightly.toml"
    config.write_text(
        f"""\
retries = 3
[[matrix]]
targets = ["esp32c3"]
boards = ["auto", "host"]
models = ["{MODEL}", "{failing}"]
runtimes = ["tflm"]
samples = 5
[[known_failure]]
items = "*-failing-tflm"
owner = "anna"
reason = "too large"
until = 2999-01-01
[[known_failure]]
items = "*-failing-*-host"
owner = "anna"
reason = "too large"
until = 2001-01-01
""",
        encoding="utf-8",
    )
    first = run_nightly(tmp_path / "one", "--jobs", "2", config)
    assert first.code == 1, first.output
    keys = [f"esp32c3-{model}-tflm{unit}" for model in (MODEL, "failing") for unit in ("", "-host")]
    records = [json.loads(line) for line in (first.reports / "items.jsonl").read_text().splitlines()]
    outcomes = {(record["model"], record["unit"]): record["outcome"] for record in records}
    assert outcomes == {
        (model, unit): "failed" if model == "failing" else "passed"
        for model in (MODEL, "failing")
        for unit in ("", "host")
    }
    assert [line for line in first.output.splitlines() if "tried again" in line] == []
    assert (
        f"  known failure that has expired\n    {keys[3]}: too large (anna, until 2001-01-01, "
        in first.output
    )
    assert f"  known failure\n    {keys[2]}: too large (anna, until 2999-01-01, " in first.output
    assert "ms per image, of 20\u00a0images" in first.output
    assert "# nightly.toml: something is newly wrong" in (first.reports / "night.md").read_text()
    journal = [
        json.loads(line)["kind"] for line in (first.reports / "journal.jsonl").read_text().splitlines()
    ]
    assert [journal[0], journal[-1], journal.count("item")] == ["run", "end", 4]
    assert list(first.reports.glob("*-journal-*")) == []
    assert all((first.reports / "items" / key / "wire.bin").stat().st_size for key in keys)
    again_offline = replay(first.reports, tmp_path / "replayed")
    assert sorted(again_offline.items) == sorted(keys)
    assert set(again_offline.files.values()) == {True}

    before = cache()
    history = f"sqlite:///{first.reports}-history.sqlite"
    config.write_text(config.read_text().replace("2001-01-01", "2998-01-01"), encoding="utf-8")
    (failing / "model.toml").write_text(
        (failing / "model.toml").read_text().replace("max = 1", "max = 100000000")
    )
    again = run_nightly(tmp_path / "two", "--jobs", "2", config, environment={"HARNESS_HISTORY_URL": history})
    assert again.code == 0, again.output
    assert cache() == before
    assert "2 passed though known to fail, 2 passed" in again.output
    assert "  better than the last run of the item\n" in again.output
    assert f"{keys[2]}: verdict failed → passed; since " in again.output
    assert "Exit code 0: all as expected" in again.output


@contextlib.contextmanager
def started_night(reports: Path, config: Path) -> Iterator[subprocess.Popen[str]]:
    """With one worker."""
    command = [sys.executable, "-m", "harness.cli", "nightly", str(config), "--jobs", "1"]
    with subprocess.Popen(
        [*command, "--report-dir", str(reports)],
        cwd=CHECKOUT,
        env={**os.environ, "HARNESS_HISTORY_URL": f"sqlite:///{reports.parent}/h.sqlite"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as night:
        try:
            yield night
        finally:
            night.kill()


def test_a_worker_that_is_killed_costs_one_try_of_one_item(tmp_path: Path) -> None:
    config = tmp_path / "nightly.toml"
    config.write_text(
        '[[matrix]]\ntargets = "esp32c3"\nruntimes = "tflm"\nsamples = 400\n'
        f'models = ["mnist_mlp", "{MODEL}"]\n',
        encoding="utf-8",
    )
    reports = tmp_path / "reports"
    with started_night(reports, config) as night:
        worker, emulator = _worker_stopped_in_mid_item(night.pid, reports)
        os.kill(worker, signal.SIGKILL)
        output, _ = night.communicate(timeout=TIMEOUT_S)
    assert night.returncode == 0, output
    assert not _alive(emulator)
    (line,) = [line for line in output.splitlines() if "tried again" in line]
    key = line.partition(":")[0]
    assert (
        line
        == f"{key}: the process that ran it was killed by SIGKILL. See what it printed above; tried again"
    )
    records = {
        item["model"]: item for item in map(json.loads, (reports / "items.jsonl").read_text().splitlines())
    }
    assert {name: item["outcome"] for name, item in records.items()} == {
        "mnist_mlp": "passed",
        MODEL: "passed",
    }
    notes = [item["notes"][-1] for name, item in records.items() if name in key]
    assert notes == [
        "try 1 ended with: the process that ran it was killed by SIGKILL. See what it printed above"
    ]
    assert (reports / "items" / f"{key}.try-1").is_dir()


def test_what_a_killed_worker_had_ended_is_in_the_report_and_not_run_again(tmp_path: Path) -> None:
    """The night is stopped meanwhile: what its worker hands over is more than a socket holds."""
    config = tmp_path / "nightly.toml"
    config.write_text(
        '[[matrix]]\ntargets = "esp32c3"\nruntimes = "tflm"\nsamples = 400\nmodels = "mnist_mlp"\n',
        encoding="utf-8",
    )
    reports = tmp_path / "reports"
    with started_night(reports, config) as night:
        worker, _ = _worker_stopped_in_mid_item(night.pid, reports)
        os.kill(night.pid, signal.SIGSTOP)
        os.kill(worker, signal.SIGCONT)
        deadline = time.monotonic() + TIMEOUT_S
        while not _ended_items(reports):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(worker, signal.SIGKILL)
        os.kill(night.pid, signal.SIGCONT)
        output, _ = night.communicate(timeout=TIMEOUT_S)
    assert night.returncode == 0, output
    assert "tried again" not in output
    assert "1 item in" in output.replace("\u00a0", " ")
    (item,) = map(json.loads, (reports / "items.jsonl").read_text().splitlines())
    assert (item["model"], item["outcome"], item["runtime_gap"]["samples"]) == ("mnist_mlp", "passed", 400)
    assert len((reports / "samples.jsonl").read_text().splitlines()) == 400
    assert set(replay(reports, tmp_path / "replayed").files.values()) == {True}


def test_what_does_not_fit_is_said_and_has_an_exit_code_of_its_own(tmp_path: Path) -> None:
    config = tmp_path / "nightly.toml"
    config.write_text(
        f"budget_minutes = 0.01\n{LONG}",
        encoding="utf-8",
    )
    night = run_nightly(tmp_path / "reports", config)
    assert night.code == 4, night.output
    assert "  not run: out of time\n    esp32c3-himax_cnn-tflm\n" in night.output
    assert "report.html" not in night.output
    assert (night.reports / "night.md").is_file()


def test_an_item_that_takes_too_long_is_ended_and_no_number_is_wrong(tmp_path: Path) -> None:
    config = tmp_path / "nightly.toml"
    config.write_text(
        f"item_minutes = 0.01\nretries = 0\n{LONG}",
        encoding="utf-8",
    )
    night = run_nightly(tmp_path / "reports", config)
    assert night.code == 3, night.output
    said = "it took longer than the 0.01 minutes that an item may"
    assert (
        f"  infrastructure fault\n    esp32c3-himax_cnn-tflm: {said}. Raise item_minutes, or " in night.output
    )


def test_a_wrong_file_is_one_line_and_leaves_nothing_behind(tmp_path: Path) -> None:
    config = tmp_path / "nightly.toml"
    config.write_text('[[matrix]]\ntargets = ["esp32c3"]\nmodel = "mnist_mlp"\n', encoding="utf-8")
    night = run_nightly(tmp_path / "reports", config)
    assert night.code == 2
    assert night.output == f"harness: {config}:3: unknown key model in [matrix]. Did you mean models?\n"
    assert not night.reports.exists()


def _stat(process: int) -> list[str]:
    """Of /proc/PID/stat what follows the name: the state, the parent; nothing when it is no more."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _alive(process: int) -> bool:
    return _stat(process)[:1] not in ([], ["Z"])


def _children(parent: int) -> list[int]:
    found = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    return [process for process in found if _stat(process)[1:2] == [str(parent)]]


def _is_emulator(process: int) -> bool:
    try:
        return "qemu" in Path(f"/proc/{process}/cmdline").read_text()
    except OSError:
        return False


def _ended_items(reports: Path) -> int:
    """Of the one worker's journal."""
    *lines, _ = (reports / "0-journal-0.jsonl").read_text().split("\n")
    return sum(json.loads(line)["kind"] == "item" for line in lines)


def _worker_stopped_in_mid_item(night: int, reports: Path) -> tuple[int, int]:
    """The night's only worker and its emulator. It is stopped: what was so when it was looked at stays so."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        begun = [path for path in reports.glob("items/*/wire.bin") if path.stat().st_size]
        for worker in _children(night) if begun else ():
            for emulator in filter(_is_emulator, _children(worker)):
                os.kill(worker, signal.SIGSTOP)
                while _stat(worker)[:1] not in (["T"], []):
                    os.sched_yield()
                if _alive(emulator) and _ended_items(reports) < len(begun):
                    return worker, emulator
                os.kill(worker, signal.SIGCONT)
    raise AssertionError("no worker was met in the midst of an item")
