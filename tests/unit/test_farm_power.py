"""Power: the command line uhubctl is given, and what is said when nothing is switched."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from harness.errors import MissingError, PortError
from harness.farm import power
from harness.farm.power import HttpPlug, HubPort


def uhubctl(directory: Path, monkeypatch: pytest.MonkeyPatch, last: str) -> Path:
    """A program of that name that writes down how it was called."""
    program = directory / "uhubctl"
    program.write_text(f'#!/bin/sh\necho "$@" >> {directory}/calls\n{last}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:/bin:/usr/bin")
    return directory / "calls"


def test_a_hub_is_switched_by_uhubctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = uhubctl(tmp_path, monkeypatch, "exit 0")
    HubPort("1-1.4", 2).cycle()
    assert calls.read_text() == "--location 1-1.4 --ports 2 --action cycle --delay 2\n"


def test_a_hub_that_does_not_switch_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uhubctl(tmp_path, monkeypatch, "echo 'No compatible devices detected at location 1-9!' >&2; exit 1")
    with pytest.raises(PortError, match=r"could not switch hub 1-9 port 1: No compatible devices detected"):
        HubPort("1-9", 1).cycle()


def test_a_uhubctl_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uhubctl(tmp_path, monkeypatch, "exec sleep 60")
    monkeypatch.setattr(power, "_HUB_TIMEOUT_S", 0.2)
    with pytest.raises(PortError, match=r"uhubctl did not end within 0\.2 s"):
        HubPort("1-1", 1).cycle()


def test_without_uhubctl_its_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingError, match="apt install uhubctl"):
        HubPort("1-1", 1).cycle()


def test_a_plug_that_is_not_there_is_named_without_its_password() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        # Kept, and not listened at: nobody else can have it.
        address = f"http://127.0.0.1:{free.getsockname()[1]}/cm?password=geheim"
        with pytest.raises(PortError, match=r"the plug at 127\.0\.0\.1 does not answer") as caught:
            HttpPlug(address, address).cycle()
    assert "geheim" not in str(caught.value)
