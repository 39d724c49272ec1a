"""Why a serial port cannot be opened: absent, not permitted, or held by another process."""

from __future__ import annotations

import contextlib
import grp
import os
import stat
import sys
from pathlib import Path
from urllib.parse import urlsplit

from serial.tools import list_ports

from harness.errors import PortError

UDEV_REMEDY = (
    'echo \'SUBSYSTEM=="tty", ATTRS{idVendor}=="303a|10c4|1a86|0403", MODE="0666"\' '
    "| sudo tee /etc/udev/rules.d/60-esp32.rules && sudo udevadm control --reload && sudo udevadm trigger"
)


def why_not_opened(name: str, error: object) -> PortError:
    """The error to raise for a device path that could not be opened."""
    if not os.path.exists(name):
        present = ", ".join(sorted(port.device for port in list_ports.comports())) or "none"
        return PortError(f"no such port: {name} (ports here: {present})", "Attach the board or change --port")
    if not may_open(name):
        return PortError(f"no permission for {name}", f"Run: {permission_remedy(name)}")
    if not stat.S_ISCHR(os.stat(name).st_mode) or os.path.realpath(name) == os.devnull:
        return PortError(f"{name} is no serial port: {error}", "Give its device to --port")
    if holders := port_holders(name):
        return PortError(
            f"{name} is busy, held by {', '.join(holders)}", "End that program or choose another --port"
        )
    return PortError(f"cannot open {name}: {error}", "Check that it is a serial port")


def check_port(name: str) -> None:
    """Raises PortError for a device path that is absent or may not be opened. Opens nothing."""
    if not urlsplit(name).scheme and not may_open(name):
        raise why_not_opened(name, "not readable and writable")


def check_not_shared(name: str) -> None:
    """Raises PortError for a port that pytest-embedded's `dut` reads in this process: each would get some of
    the bytes. It locks nothing, so opening would succeed.
    """
    theirs = sys.modules.get("pytest_embedded_serial.serial")
    taken = theirs.Serial.occupied_ports if theirs is not None else ()
    if os.path.realpath(name) in map(os.path.realpath, taken):
        raise PortError(
            f"{name} is busy, held by this test's own pytest-embedded fixture (dut, serial)",
            "Make it two tests, each with one of them: a port is closed when its test ends",
        )


def may_open(name: str) -> bool:
    return os.access(name, os.R_OK | os.W_OK)


def permission_remedy(name: str) -> str:
    """The shell line that lets this user open the port: its group, where that is enough, or a udev rule."""
    status = os.stat(name)
    if status.st_gid != 0 and status.st_mode & stat.S_IRGRP and status.st_mode & stat.S_IWGRP:
        with contextlib.suppress(KeyError):
            return f"sudo usermod -aG {grp.getgrgid(status.st_gid).gr_name} $USER, and log in again"
    return UDEV_REMEDY


def port_holders(name: str) -> list[str]:
    """Other processes that have this device open, as `pid 123 (name)`; of those one may look at."""
    device = os.path.realpath(name)
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal() or int(process.name) == os.getpid():
            continue
        # Processes end while they are looked at, and others' descriptors are not ours to read.
        with contextlib.suppress(OSError):
            if any(os.path.realpath(link) == device for link in (process / "fd").iterdir()):
                program = (process / "comm").read_text().strip()
                found.append(f"pid {process.name} ({program})")
    return found
