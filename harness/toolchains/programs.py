"""Which Debian package brings a program, and the one place that looks programs up.

Nothing here installs anything: the remedy is a line for the user to run.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from harness.errors import MissingError

APT_PACKAGES = {
    "chromium": "chromium",
    "clang": "clang",
    "clang-format": "clang-format",
    "gcc": "gcc",
    "qemu-system-riscv32": "qemu-system-misc",
    "qemu-system-xtensa": "qemu-system-misc",
    "riscv64-unknown-elf-gcc": "gcc-riscv64-unknown-elf",
    "xtensa-lx106-elf-gcc": "gcc-xtensa-lx106",
}


def install_line(programs: Iterable[str]) -> str:
    """The command that installs the packages of `programs`, which must be in the table."""
    return "apt-get install " + " ".join(sorted({APT_PACKAGES[program] for program in programs}))


def require_program(name: str) -> Path:
    """Where `name` is on PATH. Raises MissingError with the line that installs it."""
    found = shutil.which(name)
    if found is None:
        raise MissingError(f"{name} is not installed", f"Run: {install_line([name])}")
    return Path(found)
