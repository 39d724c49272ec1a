"""Leases: the right of one process of this host to use one board. No daemon: a kernel's lock per board.

The lock (flock) is the lease: the kernel frees it when its process dies, however that comes about. The file
beside it only informs: who, since when, until when. What a board is and which one to take is not known here.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import hashlib
import json
import os
import re
import secrets
import signal
import socket
import time
import weakref
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.errors import LeaseError, OutputError

STATE_VARIABLE = "HARNESS_FARM_STATE"
DEFAULT_STATE = Path("/var/tmp/harness-farm")
# Who only looks holds the lock, shared, for microseconds: not to be mistaken for a holder.
_TRIES = 3
_TRY_AGAIN_S = 0.002
_TERMINATE_S = 5.0


def state_directory() -> Path:
    """Where locks and health lie: one place for all users of a host, $HARNESS_FARM_STATE or /var/tmp."""
    return Path(os.environ.get(STATE_VARIABLE) or DEFAULT_STATE)


@dataclass(frozen=True)
class Holder:
    """Who holds a board: times are seconds since 1970, `process_started` the kernel's clock ticks since boot.

    A process is known by pid and start together, as pids come again.
    """

    owner: str
    host: str
    pid: int
    process_started: int
    since: float
    expires: float
    purpose: str

    @property
    def alive(self) -> bool:
        begun = _process_started(self.pid)
        return self.host == socket.gethostname() and begun == self.process_started >= 0

    def __str__(self) -> str:
        process = f", pid {self.pid}" if self.pid else ""
        said = f"{self.owner} on {self.host}{process}, since {clock(self.since)}"
        said += f" ({self.purpose})" if self.purpose else ""
        return said + (f", overdue since {clock(self.expires)}" if time.time() > self.expires else "")


UNKNOWN = Holder("somebody", socket.gethostname(), 0, -1, 0.0, float("inf"), "")
"""A lock is held and nothing says by whom: taken this moment, or by a process not to be seen from here."""


def clock(moment: float) -> str:
    """Local time of day, with the date where it is not today's; "?" for none."""
    if not moment:
        return "?"
    then, today = time.localtime(moment), time.localtime()
    return time.strftime("%H:%M:%S" if then[:3] == today[:3] else "%Y-%m-%d %H:%M", then)


class Lease:
    """A board that is ours until `release`, the end of this process, or `expires`.

    Past its time a lease is not taken away, since its holder may be writing flash: the holder itself
    stops at the next `check`, and others see that it is overdue.
    """

    def __init__(self, key: str, holder: Holder, descriptor: int, information: Path) -> None:
        self.key = key
        self.holder = holder
        self._descriptor = descriptor
        self._information = information
        self._ends_s = time.monotonic() + holder.expires - holder.since
        self._before = contextlib.ExitStack()
        _HELD.add(self)

    @property
    def descriptor(self) -> int:
        """The open lock: a process that inherits it holds the lease too, as long as it lives."""
        return self._descriptor

    def check(self) -> None:
        """Raises LeaseError when its time is over or it was released."""
        if self._descriptor < 0:
            raise LeaseError(f"the lease of {self.key} was released")
        if time.monotonic() > self._ends_s:
            allowed_s = self.holder.expires - self.holder.since
            raise LeaseError(f"the lease of {self.key} is over after {allowed_s:g} s", "Raise --lease")

    def first(self, give_back: Callable[[], object]) -> None:
        """Has `release` call this, which raises nothing, while the lock is still ours."""
        self._before.callback(give_back)

    def release(self) -> None:
        """Safe to call twice."""
        if self._descriptor >= 0:
            self._before.close()
            # Before the lock is free: later it would be the next holder's.
            self._information.unlink(missing_ok=True)
            self.drop()

    def drop(self) -> None:
        """Closes this process' hold on the lock, and says nothing to anyone."""
        descriptor, self._descriptor = self._descriptor, -1
        _HELD.discard(self)
        with contextlib.suppress(OSError):
            os.close(descriptor)


_HELD: weakref.WeakSet[Lease] = weakref.WeakSet()


def _drop_all() -> None:
    for lease in list(_HELD):
        lease.drop()


# A forked child shares its parent's locks: it would keep them when the parent dies.
os.register_at_fork(after_in_child=_drop_all)


class Leases:
    """The leases of one host; every process that names the same directory sees the same ones."""

    def __init__(self, directory: Path | None = None) -> None:
        """Raises OutputError when the directory cannot be made or used."""
        self.directory = directory or state_directory()
        try:
            if not self.directory.is_dir():
                self.directory.mkdir(parents=True, exist_ok=True)
                # For every user, and not sticky: whoever holds the lock replaces another's file.
                self.directory.chmod(0o777)
            if not os.access(self.directory, os.W_OK | os.X_OK):
                raise PermissionError(0, "not permitted")
        except OSError as error:
            raise OutputError(
                f"expected to keep the boards' locks in {self.directory}; {error.strerror}",
                f"Make it writable for all who share the boards, or name another: {STATE_VARIABLE}=DIR",
            ) from error

    def take(self, key: str, seconds: float, purpose: str = "") -> Lease | None:
        """The lease of `key` for at most `seconds`; None when somebody has it."""
        descriptor = self._open(key)
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_TRY_AGAIN_S)
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
        else:
            os.close(descriptor)
            return None
        now, pid = time.time(), os.getpid()
        holder = Holder(
            _user(), socket.gethostname(), pid, _process_started(pid), now, now + seconds, purpose
        )
        lease = Lease(key, holder, descriptor, self.file(key, "holder.json"))
        try:
            replace_json(self.file(key, "holder.json"), asdict(holder))
        except OutputError:
            lease.drop()
            raise
        return lease

    def holder(self, key: str) -> Holder | None:
        """Who has it; None when it is free. The lock decides, whatever the file says."""
        descriptor = self._open(key)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
        except BlockingIOError:
            return self._informed(key)
        finally:
            os.close(descriptor)

    def end_holder(self, key: str) -> Holder | None:
        """Ends the process that holds `key`, by SIGTERM and then SIGKILL. Who it was; None when it is free.

        Raises:
            LeaseError: it is another user's, on another machine, or unknown.
        """
        holder = self.holder(key)
        if holder is None:
            return None
        try:
            process = os.pidfd_open(holder.pid)
        except OSError:
            process = -1
        try:
            # Asked once it is open: from here on the pid cannot become another process'.
            if process < 0 or not holder.alive:
                raise LeaseError(f"{key} is held by {holder}, which cannot be seen from here", "End it there")
            for number in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(process, number)
                give_up_s = time.monotonic() + _TERMINATE_S
                while time.monotonic() < give_up_s:
                    if self.holder(key) is None:
                        return holder
                    time.sleep(_TRY_AGAIN_S)
            raise LeaseError(f"{key} is still held by {holder}, which does not end")
        except PermissionError:
            raise LeaseError(f"{key} is held by {holder}", f"Ask {holder.owner}, or use sudo") from None
        finally:
            if process >= 0:
                os.close(process)

    def file(self, key: str, ending: str) -> Path:
        """The file of a board in the state directory; different keys never share one."""
        name = re.sub(r"[^A-Za-z0-9.-]+", "_", key).strip("_.")
        if name != key:
            name += "-" + hashlib.sha256(key.encode()).hexdigest()[:8]
        return self.directory / f"{name}.{ending}"

    def _open(self, key: str) -> int:
        path = self.file(key, "lock")
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
            if os.fstat(descriptor).st_uid == os.geteuid():
                os.fchmod(descriptor, 0o666)
            return descriptor
        except OSError as error:
            raise OutputError(
                f"expected to lock {path}; {error.strerror}",
                f"Remove that file, or keep the locks elsewhere: {STATE_VARIABLE}=DIR",
            ) from error

    def _informed(self, key: str) -> Holder:
        try:
            holder = Holder(**json.loads(self.file(key, "holder.json").read_bytes()))
        except (OSError, ValueError, TypeError):
            return UNKNOWN
        # Left by a process that was killed, or written in another container.
        return holder if holder.alive else UNKNOWN


def replace_json(path: Path, value: object) -> None:
    """Writes the whole file or none of it, readable and replaceable by every user. Raises OutputError."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        try:
            temporary.write_text(json.dumps(value, indent=1), encoding="utf-8")
            temporary.chmod(0o666)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"expected to write {path}; {error.strerror}", "Free some space") from error


def _process_started(pid: int) -> int:
    """When a process began, in clock ticks since boot; -1 when there is none, or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        return -1 if fields[0] in "ZX" else int(fields[19])
    except (OSError, ValueError, IndexError):
        return -1


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"uid {os.getuid()}"
