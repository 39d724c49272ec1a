"""Switches a board's supply: a USB hub by uhubctl, or a plug by two HTTP addresses."""

from __future__ import annotations

import shutil
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from typing import Protocol
from urllib.parse import urlsplit

from harness.errors import MissingError, PortError

OFF_S = 2.0
"""How long the supply stays off: a board's capacitors keep a chip alive for some tenths of a second."""

_HUB_TIMEOUT_S = 15.0
_HTTP_TIMEOUT_S = 5.0


class Power(Protocol):
    """What a board is fed through."""

    def cycle(self) -> None:
        """Off, a pause, on. Raises PortError or MissingError when that could not be done."""


@dataclass(frozen=True)
class HubPort:
    """One port of a USB hub that can switch it: `hub` as `uhubctl` lists it (1-1.4), `port` from 1."""

    hub: str
    port: int

    def cycle(self) -> None:
        program = shutil.which("uhubctl")
        if program is None:
            raise MissingError(
                "uhubctl is not installed, so the hub cannot be switched", "apt install uhubctl"
            )
        options = ["--location", self.hub, "--ports", str(self.port), "--action", "cycle"]
        try:
            done = subprocess.run(
                [program, *options, "--delay", f"{OFF_S:g}"],
                capture_output=True,
                text=True,
                timeout=_HUB_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise PortError(f"uhubctl did not end within {_HUB_TIMEOUT_S:g} s", "See: uhubctl") from None
        if done.returncode:
            said = " ".join((done.stderr.strip() or done.stdout.strip() or "nothing").split())
            raise PortError(
                f"uhubctl could not switch hub {self.hub} port {self.port}: {said[:200]}",
                "See what it can switch: sudo uhubctl; its README has the udev rule for use without sudo",
            )

    def __str__(self) -> str:
        return f"hub {self.hub} port {self.port}"


@dataclass(frozen=True)
class HttpPlug:
    """A plug or relay that switches when an address is read (GET): Shelly, Tasmota and their like."""

    on: str
    off: str

    def cycle(self) -> None:
        _get(self.off)
        time.sleep(OFF_S)
        _get(self.on)

    def __str__(self) -> str:
        # Not the address: it may carry a password.
        return f"plug at {urlsplit(self.on).hostname}"


def _get(url: str) -> None:
    plug, remedy = f"the plug at {urlsplit(url).hostname}", "Check its addresses on and off"
    try:
        with urllib.request.urlopen(url, timeout=_HTTP_TIMEOUT_S):
            pass
    except urllib.error.HTTPError as error:
        error.close()
        raise PortError(f"{plug} answered {error.code} {error.reason}", remedy) from None
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise PortError(f"{plug} does not answer: {reason}", remedy) from None
