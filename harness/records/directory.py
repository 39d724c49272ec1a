"""Where one run's files go: made and tried out before any work starts.

Whole files appear complete or not at all. What stands in them is the business of
`harness.report` and of the journal.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from harness.errors import OutputError

_REMEDY = "Give a directory that can be written with --report-dir DIR."


@dataclass(frozen=True)
class RunDirectory:
    """A directory that exists and can be written, and the run's id."""

    path: Path
    run_id: str

    @classmethod
    def create(cls, root: Path = Path("reports"), explicit: Path | None = None) -> RunDirectory:
        """`root`/<YYYYmmdd-HHMMSS>-<4 hex>, with `root`/latest pointing at it; or `explicit` as it is.

        Raises:
            OutputError: it is a file, or cannot be made or written.
        """
        run_id = f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        path = explicit if explicit is not None else root / run_id
        try:
            path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path):
                pass
        except (FileExistsError, NotADirectoryError) as error:
            raise OutputError(
                f"expected a directory for the report; {error.filename or path} is a file", _REMEDY
            ) from error
        except OSError as error:
            raise OutputError(f"expected to write the report to {path}; {error.strerror}", _REMEDY) from error
        if explicit is None:
            _point_latest(root, run_id)
        return cls(path, run_id)

    def write(self, name: str, content: str | bytes | Iterable[str]) -> Path:
        """Writes the whole file, or none of it; an older one is replaced. Raises OutputError."""
        return write_whole(self.path / name, content)


def write_whole(path: Path, content: str | bytes | Iterable[str]) -> Path:
    """Writes `path` by way of a temporary file beside it, so that no reader sees half of it.

    Text is UTF-8; what UTF-8 cannot hold becomes a question mark. Text in pieces is written as they come,
    and never held as a whole.

    Raises:
        OutputError: it cannot be written; an older file of that name is left as it was.
    """
    pieces = [content] if isinstance(content, str | bytes) else content
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        try:
            with open(temporary, "wb") as file:
                for piece in pieces:
                    file.write(piece.encode(errors="replace") if isinstance(piece, str) else piece)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"expected to write {path}; {error.strerror}", _REMEDY) from error
    return path


def _point_latest(root: Path, run_id: str) -> None:
    """A convenience: never worth failing for, and never in place of something that is no link."""
    latest = root / "latest"
    if latest.exists() and not latest.is_symlink():
        return
    temporary = root / f".latest-{run_id}"
    with contextlib.suppress(OSError):
        os.symlink(run_id, temporary, target_is_directory=True)
        temporary.replace(latest)
