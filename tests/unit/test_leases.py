"""Leases between processes: one holder at a time, and what others are told of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import LeaseError, OutputError
from harness.farm.leases import Leases

HOLD = """
import sys, time
from pathlib import Path
from harness.farm.leases import Leases
lease = Leases(Path(sys.argv[1])).take("usb:1-2", float(sys.argv[2]), "nightly")
print("held" if lease else "refused", flush=True)
time.sleep(60)
"""


class Process:
    """Another process that holds, or tries to hold, board usb:1-2."""

    def __init__(self, directory: Path, seconds: float = 60) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(directory), str(seconds)], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.pid = self._process.pid
        self.said = self._process.stdout.readline().strip()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture
def other(tmp_path: Path) -> Callable[..., Process]:
    started: list[Process] = []

    def start(seconds: float = 60) -> Process:
        started.append(Process(tmp_path, seconds))
        return started[-1]

    yield start  # type: ignore[misc]
    for process in started:
        process.end()


def test_a_board_has_one_holder_and_others_are_told_who(
    tmp_path: Path, other: Callable[..., Process]
) -> None:
    process = other()
    assert process.said == "held"
    leases = Leases(tmp_path)
    assert leases.take("usb:1-2", 60) is None
    assert leases.take("usb:1-3", 60) is not None, "another board is free"
    holder = leases.holder("usb:1-2")
    assert holder is not None
    assert (holder.pid, holder.purpose, holder.alive) == (process.pid, "nightly", True)
    assert f"pid {process.pid}, since " in str(holder)
    assert str(holder).endswith("(nightly)")


def test_the_death_of_a_holder_frees_its_board(tmp_path: Path, other: Callable[..., Process]) -> None:
    process = other()
    os.kill(process.pid, signal.SIGKILL)
    process.end()
    leases = Leases(tmp_path)
    assert (tmp_path / leases.file("usb:1-2", "holder.json")).exists(), "what it left behind informs no one"
    assert leases.holder("usb:1-2") is None
    assert leases.take("usb:1-2", 60) is not None


def test_a_pid_that_came_again_is_not_the_holder(tmp_path: Path, other: Callable[..., Process]) -> None:
    other()
    leases = Leases(tmp_path)
    path = leases.file("usb:1-2", "holder.json")
    left = json.loads(path.read_text())
    path.write_text(json.dumps({**left, "pid": os.getpid()}))
    holder = leases.holder("usb:1-2")
    assert holder is not None
    assert holder.pid == 0, "held, but not by us"
    with pytest.raises(LeaseError, match="cannot be seen from here"):
        leases.end_holder("usb:1-2")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"owner": 3, "bad": 1}', "\0"])
def test_a_damaged_note_beside_the_lock_costs_nothing(text: str, tmp_path: Path) -> None:
    leases = Leases(tmp_path)
    lease = leases.take("k", 60)
    assert lease is not None
    leases.file("k", "holder.json").write_text(text)
    found = leases.holder("k")
    assert found is not None
    assert "somebody" in str(found)
    lease.release()
    assert leases.holder("k") is None


def test_release_is_for_good_and_twice_is_once(tmp_path: Path) -> None:
    leases = Leases(tmp_path)
    lease = leases.take("k", 60)
    assert lease is not None
    lease.check()
    lease.release()
    second = leases.take("k", 60)
    assert second is not None
    lease.release()
    assert leases.holder("k") is not None, "the second lease is not the first one's to release"
    with pytest.raises(LeaseError, match="the lease of k was released"):
        lease.check()


def test_past_its_time_a_lease_stops_its_holder_and_shows_as_overdue(tmp_path: Path) -> None:
    leases = Leases(tmp_path)
    lease = leases.take("k", 0.05)
    assert lease is not None
    time.sleep(0.06)
    with pytest.raises(LeaseError, match=r"the lease of k is over after 0\.05 s\. Raise --lease"):
        lease.check()
    assert "overdue since" in str(leases.holder("k"))
    assert leases.take("k", 60) is None, "it may still be writing flash"


def test_a_forked_child_keeps_no_board_of_its_parent(tmp_path: Path) -> None:
    leases = Leases(tmp_path)
    lease = leases.take("k", 60)
    assert lease is not None
    child = os.fork()
    if not child:
        time.sleep(60)
        os._exit(0)
    try:
        lease.release()
        assert leases.take("k", 60) is not None
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_holder_can_be_ended(tmp_path: Path, other: Callable[..., Process]) -> None:
    process = other()
    leases = Leases(tmp_path)
    ended = leases.end_holder("usb:1-2")
    assert ended is not None
    assert ended.pid == process.pid
    assert leases.holder("usb:1-2") is None
    assert leases.end_holder("usb:1-2") is None


def test_names_of_boards_never_share_a_file(tmp_path: Path) -> None:
    leases = Leases(tmp_path)
    keys = [
        "/dev/ttyUSB0",
        "_dev_ttyUSB0",
        "dev/ttyUSB0",
        "socket://a:1",
        "socket:/a:1",
        "../x",
        "usb:1-2",
        "ä",
    ]
    files = {leases.file(key, "lock") for key in keys}
    assert len(files) == len(keys)
    assert {file.parent for file in files} == {tmp_path}


def test_a_directory_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="HARNESS_FARM_STATE=DIR"):
        Leases(tmp_path / "file" / "state")
    (tmp_path / "state").mkdir()
    leases = Leases(tmp_path / "state")
    leases.file("k", "lock").symlink_to(tmp_path / "file")
    with pytest.raises(OutputError, match="expected to lock"):
        leases.take("k", 1)
