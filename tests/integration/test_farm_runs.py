"""A farm as its users meet it: `harness boards`, the queue for a board, pytest-xdist over several boards."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cli import main
from harness.farm.file import read_farm
from harness.farm.health import Health, save_health
from harness.farm.leases import STATE_VARIABLE, Holder, Lease, Leases
from harness.replay import replay
from tests.bench_runs import run_pytest

FARM = """\
[[board]]
name = "one"
target = "esp32c3"
emulator = "host"
tags = ["left"]
[[board]]
name = "two"
target = "esp32c3"
emulator = "host"
"""
HOLD = """
import sys, time
from harness.farm.leases import Leases
lease = Leases().take(sys.argv[1], 60)
print(lease, flush=True)
time.sleep(60)
"""
KILLED = """
import os
import signal


def test_on_a_board(deployment, model, request):
    if model.name == "test15_sigmoid":
        os.kill(os.getpid(), signal.SIGKILL)
    assert request.getfixturevalue("result").runtime_gap.max_lsb == 0
"""


@pytest.fixture
def farm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    path = tmp_path / "farm.toml"
    path.write_text(FARM)
    return path


def hold(farm: Path, name: str) -> Lease:
    board = read_farm(farm).board(name)
    assert board is not None
    lease = Leases().take(board.key, 600, "by hand")
    assert lease is not None
    return lease


@contextlib.contextmanager
def held_elsewhere(key: str) -> Iterator[Holder]:
    """Another process has the board."""
    with subprocess.Popen([sys.executable, "-c", HOLD, key], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        holder = Leases().holder(key)
        assert holder is not None
        yield holder
        process.kill()


@pytest.fixture
def held(farm: Path) -> Iterator[Lease]:
    """Board one, held by this process."""
    lease = hold(farm, "one")
    yield lease
    lease.release()


def run(capsys: pytest.CaptureFixture[str], reports: Path, model: str, *words: str) -> tuple[int, str]:
    """`harness run` in this process: its exit code, and all it printed."""
    given = [
        "run",
        model,
        "--target",
        "esp32c3",
        "--runtime",
        "tflm",
        "--samples",
        "3",
        "--reference",
        "none",
    ]
    code = main([*given, "--report-dir", str(reports), *words])
    printed = capsys.readouterr()
    return code, printed.out + printed.err


def boards(farm: Path, *words: str) -> int:
    return main(["boards", *words, "--farm", str(farm)])


def test_the_table_says_who_holds_what(farm: Path, held: Lease, capsys: pytest.CaptureFixture[str]) -> None:
    two = read_farm(farm).boards[1]
    save_health(Leases(), two.key, Health().quarantine("it [hung]"))
    assert boards(farm) == 0
    lines = capsys.readouterr().out.splitlines()
    one, two_line = (next(line for line in lines if line.strip().startswith(name)) for name in ("one", "two"))
    assert f"pid {os.getpid()}, since " in one
    assert "(by hand)" in one
    assert "left" in one
    assert "in quarantine until " in two_line
    assert ": it [hung]" in two_line, "what a device said is no mark-up"
    assert "sick" not in one
    assert held.key in {board.key for board in read_farm(farm).boards}


def test_clear_and_release(farm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two = read_farm(farm).boards[1]
    save_health(Leases(), two.key, Health().quarantine("it hung"))
    assert boards(farm, "clear", "two") == 0
    assert "two: out of quarantine, health forgotten" in capsys.readouterr().out
    with held_elsewhere(two.key) as holder:
        assert boards(farm, "clear", "two") == 2, "not while somebody has it"
        assert f"two is held by {holder}" in capsys.readouterr().err
        assert boards(farm, "release", "two") == 0
        assert "two is free; it was held by " in capsys.readouterr().out
        assert not holder.alive
    assert boards(farm, "release", "three") == 2
    assert "no board is called 'three'. There are: one, two" in capsys.readouterr().err


def test_the_queue_for_a_board_is_bounded_and_says_who_has_it(
    farm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with held_elsewhere(read_farm(farm).boards[0].key) as holder:
        code, printed = run(
            capsys, tmp_path / "r", "test15_sigmoid", "--farm", str(farm), "--board", "one", "--wait", "0.5"
        )
    assert code == 3
    flat = " ".join(printed.split())
    assert f"waiting up to 0.5 s for a free esp32c3: one is held by {holder}" in flat
    assert "expected a free esp32c3 within 0.5 s; one is held by" in flat
    assert "Wait longer with --wait SECONDS, or see: harness boards" in flat


def test_a_port_without_a_farm_is_leased_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    (tmp_path / "tty").write_text("")
    lease = Leases().take(str(tmp_path / "tty"), 60, "nightly")
    assert lease is not None
    code, printed = run(
        capsys, tmp_path / "r", "test15_sigmoid", "--port", str(tmp_path / "tty"), "--wait", "0"
    )
    assert code == 3
    assert f"but this process itself has every one: {tmp_path}/tty is held by" in " ".join(printed.split())
    lease.release()


def test_workers_share_the_boards_and_leave_one_report(farm: Path, tmp_path: Path) -> None:
    run = run_pytest(
        tmp_path / "r", "-n", "2", "--target", "esp32c3", "--model=test15_sigmoid,test16_softmax",
        "--runtime", "tflm", "--samples", "20", "--farm", farm, "--reference", "none", "tests/hil",
    )  # fmt: skip
    assert run.code == 0, run.output
    items = run.items()
    assert len(items) == 2
    assert {item["outcome"] for item in items.values()} == {"passed"}
    assert {item["board"] for item in items.values()} <= {"one", "two"}
    assert not (tmp_path / "r" / "parts").exists()
    assert (tmp_path / "r" / "items" / "esp32c3-test16_softmax-tflm" / "uart.log").exists()
    journal = [json.loads(line) for line in (tmp_path / "r" / "journal.jsonl").read_text().splitlines()]
    assert sum(line["kind"] == "item" for line in journal) == 2
    again = replay(tmp_path / "r", tmp_path / "replayed")
    assert (len(again.items), set(again.files.values())) == (2, {True})
    for board in read_farm(farm).boards:
        assert Leases().holder(board.key) is None


def test_a_worker_that_is_killed_costs_its_own_item_alone(farm: Path, tmp_path: Path) -> None:
    (tmp_path / "test_killed.py").write_text(KILLED)
    run = run_pytest(
        tmp_path / "r", "-n", "2", "--target", "esp32c3", "--runtime", "tflm", "--samples", "3",
        "--farm", farm, "--reference", "none", "--model=test15_sigmoid,test16_softmax",
        tmp_path / "test_killed.py",
    )  # fmt: skip
    assert run.code == 1, run.output
    assert "crashed while running" in run.output
    assert "test15_sigmoid" in run.output.partition("crashed while running")[2].splitlines()[0]
    assert "1 failed, 1 passed" in run.output
    for board in read_farm(farm).boards:
        assert Leases().holder(board.key) is None
