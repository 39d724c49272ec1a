"""What pyserial lists of a USB serial port, for tests that attach some."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(order=True)
class UsbInfo:
    device: str
    vid: int | None = 0x10C4
    location: str | None = "1-1"
    serial_number: str | None = "0001"
    pid: int | None = 0xEA60
