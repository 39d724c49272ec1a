"""A board's process (an emulator, a native firmware): started so that it cannot outlive us.

Knows how to start, watch and end it; what it speaks is not its business.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence

from harness.errors import PortError

_PR_SET_PDEATHSIG = 1
_TAIL_BYTES = 4000
_END_TIMEOUT_S = 3.0


class BoardProcess:
    """A running program whose error output is kept for messages.

    The kernel kills it when the thread that started it ends (PR_SET_PDEATHSIG goes by thread),
    however that comes about: start boards from a thread that outlives them.
    """

    def __init__(
        self, arguments: Sequence[str], pass_fds: Sequence[int] = (), wire: int | None = None
    ) -> None:
        """
        Args:
            wire: a descriptor that becomes its standard input and output; else it has neither.

        Raises PortError when the program cannot be started.
        """
        self.program = os.path.basename(arguments[0])
        # A file and not a pipe: a full pipe would stop the process.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in end()
        try:
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL if wire is None else wire,
                stdout=self._errors if wire is None else wire,
                stderr=self._errors,
                pass_fds=tuple(pass_fds),
                preexec_fn=die_with_parent(),
            )
        except OSError as error:
            self._errors.close()
            raise PortError(f"cannot start {arguments[0]}: {error.strerror or error}") from error

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def error_output(self) -> str:
        """The end of what it wrote to stdout and stderr."""
        if self._errors.closed:
            return ""
        size = os.fstat(self._errors.fileno()).st_size
        start = max(0, size - _TAIL_BYTES)
        return os.pread(self._errors.fileno(), _TAIL_BYTES, start).decode("utf-8", "replace").strip()

    def state(self) -> str:
        """One line: running, or how it ended and what it said."""
        code = self._process.poll()
        if code is None:
            return f"{self.program} is running"
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
        said = self.error_output()
        return f"{self.program} {how}" + (f": {said}" if said else "")

    def death(self) -> PortError:
        """What to raise when its end of the wire is closed."""
        try:
            self._process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return PortError(f"{self.program} closed its end of the wire but is still running")
        return PortError(f"the board is gone: {self.state()}")

    def end(self) -> None:
        """Kills it if it runs, and reaps it; safe to call twice."""
        if self.running:
            self._process.kill()
        self._process.wait()
        self._errors.close()

    def wait(self, timeout_s: float) -> bool:
        """Whether it has ended within `timeout_s`."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True


def die_with_parent(parent: int | None = None) -> Callable[[], None]:
    """For `preexec_fn`: the kernel kills the child when the thread that started it ends.

    A child that calls it for itself names the process that is its `parent`.
    """
    parent = os.getpid() if parent is None else parent
    # Loaded here: after the fork only the call itself is safe.
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def before_exec() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the call
            os._exit(1)

    return before_exec
