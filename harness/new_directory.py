"""Writes a directory of generated files that appears whole or not at all.

For output the user names and that did not exist; a directory with something in it is refused.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from harness.errors import OutputError


def check_new(directory: Path) -> None:
    """Raises OutputError unless `directory` is absent or empty: to be asked before the work."""
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise OutputError(f"{directory}: expected a new or empty directory", "Give another DIR")


def write_new(directory: Path, files: Mapping[str, str], copies: Mapping[str, Path] | None = None) -> None:
    """All files, by path relative to `directory`, in a new one beside, which then takes its place; `copies`
    are of files and folders that there are.

    Raises:
        OutputError: there is something in it, or it cannot be written.
    """
    check_new(directory)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory.parent, prefix=f".{directory.name}.") as scratch:
            staged = Path(scratch) / "project"
            for name, text in files.items():
                (staged / name).parent.mkdir(parents=True, exist_ok=True)
                (staged / name).write_text(text, encoding="utf-8", newline="\n")
            for name, source in (copies or {}).items():
                if source.is_dir():
                    shutil.copytree(source, staged / name)
                else:
                    shutil.copyfile(source, staged / name)
            staged.replace(directory)
    except OSError as error:
        raise OutputError(f"expected to write {directory}; {error.strerror}", "Give another DIR") from error
