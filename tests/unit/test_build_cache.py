"""What goes from build/ and what stays, also while other processes are at it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from harness.bench import Bench
from harness.build_cache import KEPT_S, described, prune
from harness.exclusive import exclusive
from harness.settings import settings_from
from tests.unit.test_exclusive import HOLD

DAY_S = 86400.0


def make(root: Path, name: str, *, used_days_ago: float, size_bytes: int = 1000) -> Path:
    """An entry as a run leaves it: a folder for an image or a project, else a file."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix:
        path.write_bytes(bytes(size_bytes))
    else:
        path.mkdir()
        (path / "firmware.elf").write_bytes(bytes(size_bytes))
    made_s = time.time() - 100 * DAY_S
    os.utime(path, (made_s, made_s))
    with exclusive(path):
        pass
    used_s = time.time() - used_days_ago * DAY_S
    os.utime(path.with_name(f".{path.name}.lock"), (used_s, used_s))
    return path


def test_what_was_used_least_recently_goes_until_the_rest_fits(tmp_path: Path) -> None:
    oldest = make(tmp_path, "images/esp32c3-old", used_days_ago=30)
    older = make(tmp_path, "images/.objects/a.o", used_days_ago=20)
    newer = make(tmp_path, "expectations/b.npz", used_days_ago=10)
    quantised = make(tmp_path, "artifacts/c.espdl", used_days_ago=90)
    assert described(tmp_path).startswith(f"{tmp_path}: 0.0 MB (")
    assert prune(tmp_path, 3000) == (0, 0)
    assert prune(tmp_path, 1500) == (2, 2000)
    assert [path.exists() for path in (oldest, older, newer, quantised)] == [False, False, True, True]
    assert sorted(path.name for path in tmp_path.rglob("*.lock")) == [".b.npz.lock", ".c.espdl.lock"]


def test_a_use_counts_and_what_was_used_within_a_day_stays(tmp_path: Path) -> None:
    long_ago = make(tmp_path, "projects/one", used_days_ago=30)
    just_so = make(tmp_path, "projects/two", used_days_ago=KEPT_S / DAY_S - 0.01)
    with exclusive(long_ago):
        pass
    assert prune(tmp_path, 1) == (0, 0)
    assert long_ago.is_dir()
    assert just_so.is_dir()


def test_what_a_killed_build_left_goes_too(tmp_path: Path) -> None:
    left = tmp_path / "images" / ".building-x1"
    left.mkdir(parents=True)
    (left / "main.o").write_bytes(bytes(10))
    os.utime(left, (0, 0))
    assert prune(tmp_path, 1) == (1, 10)
    assert not left.exists()


def test_an_entry_that_another_process_is_inside_for_stays(tmp_path: Path) -> None:
    entry = make(tmp_path, "expectations/b.npz", used_days_ago=30)
    lock = entry.with_name(f".{entry.name}.lock")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(entry)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        os.utime(lock, (0, 0))  # so that only its holder keeps it
        assert prune(tmp_path, 1) == (0, 0)
        holder.kill()
    assert prune(tmp_path, 1) == (1, 1000)


def test_who_waited_for_a_lock_that_is_removed_is_not_alone_with_it(tmp_path: Path) -> None:
    entry, lock = tmp_path / "entry", tmp_path / ".entry.lock"
    entered, leave = threading.Event(), threading.Event()

    def enter() -> None:
        with exclusive(entry):
            entered.set()
            leave.wait(10)

    with lock.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = threading.Thread(target=enter)
        waiting.start()
        assert not entered.wait(0.2)
        lock.unlink()
    assert entered.wait(10)
    with lock.open("a") as mine, pytest.raises(BlockingIOError):
        fcntl.flock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
    leave.set()
    waiting.join()


def test_a_run_prunes_at_its_end_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_BUILD_ROOT", str(tmp_path / "build"))
    old = make(tmp_path / "build", "expectations/b.npz", used_days_ago=30, size_bytes=3 << 20)
    texts = {"model": "test17_conv1x1", "runtime": "tflm", "build_limit": "1MB"}
    settings = settings_from(
        lambda option: texts.get(option.field, option.default),
        target="esp32c3",
        port=None,
        baud=None,
        root=tmp_path,
    )
    said: list[str] = []
    Bench(settings, reports_root=tmp_path / "reports", command="test", say=said.append).finish()
    assert not old.exists()
    removed = "1 entry used least recently removed, 3.0 MB: it was above --build-limit 1.0 MB"
    assert said == [f"{tmp_path / 'build'}: {removed}"]
