"""A worker of pytest-xdist that is killed takes with it what it forked.

pytest-embedded forks a process for its message queues in every session. It inherits the worker's pipe to
pytest-xdist; were it left when the worker is killed, the pipe would stay open and pytest wait for ever.
Processes that are started afresh (emulators, compilers) do not inherit the pipe and are no concern of this.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

from harness.boards.process import die_with_parent

_in_fork: Callable[[], None] | None = None


@contextlib.contextmanager
def forks_end_with_us() -> Iterator[None]:
    """What this thread forks meanwhile is killed by the kernel when the thread ends, whatever ends it."""
    global _in_fork
    _in_fork = die_with_parent()
    try:
        yield
    finally:
        _in_fork = None


def _after_fork() -> None:
    if _in_fork is not None:
        _in_fork()


# Cannot be taken back, so it is registered once and does nothing most of the time.
os.register_at_fork(after_in_child=_after_fork)
