"""One process at a time for each entry of a cache on disk, so that nothing is made twice.

The kernel lets go when a holder dies, however it dies; nothing is left to clean up. It is no lease: nobody
is told who holds it.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import OutputError


@contextmanager
def exclusive(entry: Path) -> Iterator[None]:
    """Waits until no other process is inside for `entry`, a file or directory that need not be there.

    Raises:
        OutputError: the lock file beside the entry cannot be written.
    """
    lock = entry.with_name(f".{entry.name}.lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        held = lock.open("a")
    except OSError as error:
        raise OutputError(
            f"cannot write the build directory {entry.parent}: {error.strerror}",
            "Name another: HARNESS_BUILD_ROOT=DIR",
        ) from error
    with held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
