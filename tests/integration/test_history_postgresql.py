"""The history in a real PostgreSQL, as a team would keep it."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.history.store import History
from harness.records import RunRecord
from tests.fabricated_run import item, samples

SERVERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


def run(program: str, *arguments: str | Path) -> None:
    """PostgreSQL refuses to run as root; Debian's package brings the user `postgres`."""
    user = pwd.getpwnam("postgres").pw_uid if os.getuid() == 0 else None
    command = [SERVERS[-1] / program, *map(str, arguments)]
    done = subprocess.run(
        command, user=user, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    if not SERVERS:
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    pytest.importorskip("psycopg", reason="needs the extra [history]")
    # Directly under /tmp: the path of a socket has 107 characters at most, and pytest's own
    # folders are closed to the user `postgres`.
    home = Path(tempfile.mkdtemp(prefix="harness-postgresql-", dir="/tmp"))
    if os.getuid() == 0:
        shutil.chown(home, "postgres")
    data = home / "data"
    run("initdb", "-D", data, "-A", "trust", "-U", "bench", "--no-sync")
    run("pg_ctl", "-D", data, "-w", "-l", home / "log", "-o", f"-k {home} -c listen_addresses= -F", "start")
    try:
        yield f"postgresql+psycopg://bench@/postgres?host={home}"
    finally:
        run("pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(home)


def test_everything_goes_in_and_comes_out(url: str) -> None:
    first = item("esp32c3", "mlp", batch := samples(20, varying=True))
    with History(url) as history:
        history.add(RunRecord("run-1", "2026-10-01T02:00:00+00:00", "", {}, (first,)), {first.key: batch})
        history.add(RunRecord("run-2", "2026-10-02T02:00:00+00:00", "", {}, (first,)))
        history.set_baseline(history.run_entries("run-1"), "first")
    with History(url) as again:
        entries = again.entries("mlp", target="esp32c3", last=5)
        assert [entry.run_id for entry in entries] == ["run-1", "run-2"]
        assert again.record(entries[0]) == first
        assert again.counts(entries[0]).tolist() == [sample.count for sample in batch]
        baseline = again.baseline(first.key)
        assert baseline is not None
        assert baseline.run_id == "run-1"
        assert again.run_entries("latest~1")[0].run_id == "run-1"
        assert [one.items for one in again.runs(5)] == [1, 1]
        again.add(RunRecord("run-1", "2026-10-01T02:00:00+00:00", "", {}, ()))
        assert again.baseline(first.key) is None
        assert [entry.run_id for entry in again.entries("mlp")] == ["run-2"]
