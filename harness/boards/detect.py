"""Finds the attached board a user means: by USB place, by MAC, or the first with the right chip.

USB ids say which ports may be ESP boards; only the chip's ROM loader, asked through esptool, says
which chip it is. Asking restarts the chip.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from serial.tools import list_ports

from harness.boards.esptool import Chip, Esptool
from harness.errors import FlashError, HarnessError, IdentityError, PortError, UsageError

# Espressif's own USB, and the bridges on development boards. Other serial devices are never asked.
USB_VENDORS = {0x303A: "Espressif", 0x10C4: "Silicon Labs", 0x1A86: "WCH", 0x0403: "FTDI"}


# Of the newer chips' own USB-Serial-JTAG; a bridge has the vendor's ids.
_NATIVE_USB = (0x303A, 0x1001)


@dataclass(frozen=True)
class Attachment:
    """How the user names a board. All None: any board with the target's chip.

    `port` is a device path or URL, `mac` the chip's address, `location` the USB place as
    `python -m serial.tools.list_ports -v` shows it (1-2.3). `reset` is a key of `esptool.RESETS`.
    """

    port: str | None = None
    mac: str | None = None
    location: str | None = None
    baud: int | None = None
    reset: str = "dtr-rts"

    @property
    def named(self) -> bool:
        return any((self.port, self.mac, self.location))


@dataclass(frozen=True)
class UsbPort:
    """One serial port whose USB ids an ESP board may have."""

    device: str
    vendor: str
    location: str
    serial_number: str


def usb_ports() -> list[UsbPort]:
    """Ports that may be ESP boards, by device name."""
    return [
        UsbPort(port.device, USB_VENDORS[port.vid], port.location or "", port.serial_number or "")
        for port in sorted(list_ports.comports())
        if port.vid in USB_VENDORS
    ]


def is_native_usb(port: str) -> bool:
    """Whether a device path is the chip's own USB-Serial-JTAG, so that its UART leads elsewhere."""
    if urlsplit(port).scheme:
        return False
    device = os.path.realpath(port)
    return any(
        (found.vid, found.pid) == _NATIVE_USB
        for found in list_ports.comports()
        if os.path.realpath(found.device) == device
    )


def find_port(attachment: Attachment, target: str) -> str:
    """The port of the board that is meant; no chip that is asked is written to.

    Raises:
        PortError: no such board; names what was found instead.
        IdentityError: the board on `port` has another MAC.
    """
    if attachment.port:
        if attachment.mac:
            _check_mac(attachment.port, attachment.mac, attachment.reset)
        return attachment.port
    ports = usb_ports()
    if attachment.location:
        ports = [port for port in ports if port.location.partition(":")[0] == attachment.location]
        if not ports:
            raise PortError(
                f"no board at USB location {attachment.location} (boards here: {_shown(usb_ports())})",
                "Attach it or change --port-location",
            )
    if attachment.mac:
        return _by_mac(ports, attachment)
    return ports[0].device if attachment.location else _by_chip(ports, target, attachment.reset)


def normal_mac(text: str) -> str:
    """12 lower-case hex digits. Raises UsageError for what is no MAC."""
    digits = re.sub(r"[:-]", "", text.strip()).lower()
    if not re.fullmatch(r"[0-9a-f]{12}", digits):
        raise UsageError(f"expected a MAC such as 7c:df:a1:00:11:22, got {text!r}", "Correct --port-mac")
    return digits


def _check_mac(port: str, mac: str, reset: str) -> None:
    wanted = normal_mac(mac)
    found = Esptool(port, reset=reset).identify().mac
    if normal_mac(found) != wanted:
        raise IdentityError(f"expected MAC {mac} on {port}, found {found}", "Change --port or --port-mac")


def _by_mac(ports: list[UsbPort], attachment: Attachment) -> str:
    assert attachment.mac
    wanted = normal_mac(attachment.mac)
    # A chip's own USB shows its MAC as serial number: no need to restart the others.
    for port in ports:
        if re.sub(r"[:-]", "", port.serial_number).lower() == wanted:
            return port.device
    asked = []
    for port, answer in _ask(ports, attachment.reset):
        if isinstance(answer, Chip) and normal_mac(answer.mac) == wanted:
            return port.device
        asked.append((port, answer))
    raise PortError(
        f"no attached board has MAC {attachment.mac} (boards here: {_answers(asked)})",
        "Attach it or change --port-mac",
    )


def _by_chip(ports: list[UsbPort], target: str, reset: str) -> str:
    asked = []
    for port, answer in _ask(ports, reset):
        if isinstance(answer, Chip) and answer.target == target:
            return port.device
        asked.append((port, answer))
    raise PortError(f"no {target} is attached (boards here: {_answers(asked)})", "Attach one, or give --port")


def _ask(ports: list[UsbPort], reset: str) -> Iterable[tuple[UsbPort, Chip | HarnessError]]:
    """Lazily: who has found the board asks no further."""
    for port in ports:
        try:
            yield port, Esptool(port.device, reset=reset).identify()
        except (PortError, FlashError) as error:
            yield port, error


def _answers(asked: Iterable[tuple[UsbPort, Chip | HarnessError]]) -> str:
    shown = [
        f"{port.device} {answer.target} {answer.mac}" if isinstance(answer, Chip) else f"{answer.message}"
        for port, answer in asked
    ]
    return ", ".join(shown) or "none"


def _shown(ports: list[UsbPort]) -> str:
    return ", ".join(f"{port.device} at {port.location or '?'}" for port in ports) or "none"
