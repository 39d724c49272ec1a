"""A compiler on PATH that notes every start and then is the real one: to count what a build does."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class CompilerLog:
    """`folder` goes first on PATH."""

    folder: Path

    @property
    def _log(self) -> Path:
        return self.folder / "starts"

    def compiled(self) -> list[str]:
        """Names of the sources compiled since the log was last cleared, sorted."""
        words = [line.split("\t") for line in self._log.read_text(encoding="utf-8").splitlines()]
        return sorted(Path(line[line.index("-c") + 1]).name for line in words if "-c" in line)

    def links(self) -> int:
        return self._log.read_text(encoding="utf-8").count("-Wl,-Map=")

    def clear(self) -> None:
        self._log.write_text("", encoding="utf-8")


def log_compiler(name: str, folder: Path) -> CompilerLog:
    """Puts a logging `name` into `folder`, in front of the one that is on PATH now."""
    real = shutil.which(name)
    assert real is not None
    folder.mkdir()
    wrapper = folder / name
    wrapper.write_text(
        f"#!/bin/sh\n{{ printf '%s\\t' \"$@\"; echo; }} >> '{folder / 'starts'}'\nexec '{real}' \"$@\"\n",
        encoding="utf-8",
    )
    wrapper.chmod(0o755)
    log = CompilerLog(folder)
    log.clear()
    return log
