"""./run before it sets anything up: usage, and what it says where it cannot install."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

RUN = Path(__file__).parents[2] / "run"


@pytest.mark.parametrize("arguments", [[], ["nonsense"]])
def test_anything_else_shows_the_usage(arguments: list[str]) -> None:
    done = subprocess.run([RUN, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: ./run bench")


def test_help_is_no_error() -> None:
    done = subprocess.run([RUN, "--help"], capture_output=True, text=True, check=True)
    assert "./run test" in done.stdout


def test_without_apt_it_names_what_is_missing_and_the_command(tmp_path: Path) -> None:
    """A PATH with neither apt-get nor the programs looked for."""
    shutil.copy(RUN, tmp_path / "run")
    tools = tmp_path / "bin"
    tools.mkdir()
    for program in ("bash", "dirname", "grep", "id", "env"):
        found = shutil.which(program)
        assert found
        (tools / program).symlink_to(found)
    done = subprocess.run(
        [tmp_path / "run", "bench"],
        env={**os.environ, "PATH": str(tools)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "run: installing Debian packages: qemu-system-misc" in done.stdout
    assert "As root on Debian 12: apt-get install qemu-system-misc" in done.stderr
    assert not (tmp_path / ".tox").exists()
