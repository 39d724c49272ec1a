"""One process at a time for an entry of a cache, also after the one before was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from harness.errors import OutputError
from harness.exclusive import exclusive

HOLD = """
import sys, time
from pathlib import Path
from harness.exclusive import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_next_waits_until_the_holder_is_dead(tmp_path: Path) -> None:
    entry = tmp_path / "cache" / "entry.npz"
    command = [sys.executable, "-c", HOLD, str(entry)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        entered = threading.Event()

        def enter() -> None:
            with exclusive(entry):
                entered.set()

        second = threading.Thread(target=enter)
        second.start()
        assert not entered.wait(0.2)
        os.kill(holder.pid, signal.SIGKILL)
        assert entered.wait(10)
        second.join()


def test_different_entries_do_not_wait_for_each_other(tmp_path: Path) -> None:
    with exclusive(tmp_path / "a"), exclusive(tmp_path / "b"):
        pass


def test_a_directory_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with (
        pytest.raises(OutputError, match=r"cannot write the build directory .*cache: "),
        exclusive(tmp_path / "cache" / "entry"),
    ):
        pass
