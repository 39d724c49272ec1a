"""One process at a time for each entry of a cache on disk, so that nothing is made twice; and when each was
used last, so that what nobody needs can go.

The kernel lets go when a holder dies, however it dies; nothing is left to clean up. It is no lease: nobody
is told who holds it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from harness.errors import OutputError


@contextmanager
def exclusive(entry: Path) -> Iterator[None]:
    """Waits until no other process is inside for `entry`, a file or directory that need not be there. Counts
    as a use of it.

    Raises:
        OutputError: the lock file beside the entry cannot be written.
    """
    try:
        held = _locked(_lock_of(entry), fcntl.LOCK_EX)
    except OSError as error:
        raise OutputError(
            f"cannot write the build directory {entry.parent}: {error.strerror}",
            "Name another: HARNESS_BUILD_ROOT=DIR",
        ) from error
    with held:
        os.utime(held.fileno())
        yield


def last_used_s(entry: Path) -> float:
    """When `entry` was made or used last, whichever is later; seconds since 1970. Raises OSError."""
    made_s = entry.stat().st_mtime
    try:
        return max(made_s, _lock_of(entry).stat().st_mtime)
    except FileNotFoundError:
        return made_s


def discard(entry: Path, unused_since_s: float) -> bool:
    """Removes an entry for which nobody is inside, unless it was used after `unused_since_s`.

    Raises:
        OSError: it cannot be removed.
    """
    lock = _lock_of(entry)
    if not lock.exists():  # a log, or what a process that was killed had begun: nobody's entry
        _remove(entry)
        return True
    try:
        held = _locked(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    with held:
        if last_used_s(entry) > unused_since_s:
            return False
        _remove(entry)
        lock.unlink()  # whoever waits for it sees that, and makes a new one
    return True


def _remove(entry: Path) -> None:
    if entry.is_dir():
        shutil.rmtree(entry)
    else:
        entry.unlink()


def _lock_of(entry: Path) -> Path:
    return entry.with_name(f".{entry.name}.lock")


def _locked(lock: Path, how: int) -> IO[str]:
    lock.parent.mkdir(parents=True, exist_ok=True)
    while True:
        held = lock.open("a")
        try:
            fcntl.flock(held, how)
            if os.path.samestat(os.fstat(held.fileno()), lock.stat()):
                return held
        except FileNotFoundError:
            pass  # `discard` had it meanwhile
        except BaseException:
            held.close()
            raise
        held.close()
