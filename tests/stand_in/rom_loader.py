"""Stands in for a chip's ROM serial loader, so that stock esptool can flash where no chip is.

It answers as esptool's serial protocol says (SLIP frames: sync, registers, security info, flash
and RAM writes, MD5), as the ROM and, once RAM code was started, as the flasher stub. Flash behaves
as NOR flash: erasing sets bits, writing only clears them. It is not silicon: no timing, no eFuse
logic, no code runs; register addresses are esptool's own.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from esptool.targets import CHIP_DEFS

SECTOR_BYTES = 4096
_ROM_SYNC_VALUE = 0x20120707
_INVALID = b"\x01\x05"
_BAD_CHECKSUM = b"\x01\x07"
_WATCHDOG_ON = 1 << 31


@dataclass
class Flash:
    """NOR flash. `stuck` lists bytes that read as zero whatever was written: worn-out cells."""

    size_bytes: int
    stuck: tuple[int, ...] = ()
    written_bytes: int = 0
    content: bytearray = field(init=False)

    def __post_init__(self) -> None:
        self.content = bytearray(b"\xff" * self.size_bytes)

    def erase(self, start: int, length: int) -> None:
        first = start // SECTOR_BYTES * SECTOR_BYTES
        end = -(-(start + length) // SECTOR_BYTES) * SECTOR_BYTES
        self.content[first:end] = b"\xff" * (end - first)

    def write(self, start: int, data: bytes) -> None:
        kept = self.content[start : start + len(data)]
        self.content[start : start + len(data)] = bytes(
            old & new for old, new in zip(kept, data, strict=True)
        )
        for cell in self.stuck:
            self.content[cell] = 0
        self.written_bytes += len(data)


@dataclass
class _Write:
    position: int
    inflate: zlib._Decompress | None


class RomLoader:
    """One chip in download mode. `feed` takes what the host sends and gives what the chip answers."""

    def __init__(self, chip: str, mac: str, flash: Flash, on_watchdog: Callable[[], None]) -> None:
        self._chip = CHIP_DEFS[chip]
        self._flash = flash
        self._on_watchdog = on_watchdog
        self.commands: list[int] = []
        self._registers = self._fixed_registers(mac)
        self.restart()

    def restart(self) -> None:
        """As the chip comes out of reset: the ROM runs, RAM code is gone."""
        self._stub = False
        self._received = b""
        self._write: _Write | None = None

    def feed(self, data: bytes) -> bytes:
        self._received += data
        answers = b""
        while self._received.count(b"\xc0") >= 2:
            frame, _, rest = self._received.partition(b"\xc0")[2].partition(b"\xc0")
            # An empty frame: the zero byte seen was the end of one and not the start.
            self._received = rest if frame else b"\xc0" + rest
            if len(frame) >= 8:
                answers += self._request(frame.replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb"))
        return answers

    def _fixed_registers(self, mac: str) -> dict[int, int]:
        chip = self._chip
        high, low = struct.unpack(">II", b"\0\0" + bytes.fromhex(mac.replace(":", "")))
        mac_at = chip.EFUSE_RD_REG_BASE + 4 if chip.CHIP_NAME == "ESP32" else chip.MAC_EFUSE_REG
        registers = {mac_at: low, mac_at + 4: high}
        registers[chip.SPI_REG_BASE + chip.SPI_W0_OFFS] = (
            self._flash.size_bytes.bit_length() - 1
        ) << 16 | 0x4020
        if getattr(chip, "MAGIC_VALUE", None):
            registers[chip.CHIP_DETECT_MAGIC_REG_ADDR] = chip.MAGIC_VALUE
        if hasattr(chip, "UART_CLKDIV_REG"):
            registers[chip.UART_CLKDIV_REG] = 40_000_000 * getattr(chip, "XTAL_CLK_DIVIDER", 1) // 115200
        return registers

    def _request(self, frame: bytes) -> bytes:
        _, command, length, checksum = struct.unpack_from("<BBHI", frame)
        data = frame[8 : 8 + length]
        self.commands.append(command)
        handler = _HANDLERS.get(command)
        if handler is None:
            return self._answer(command, status=_INVALID)
        return handler(self, command, data, checksum)

    def _answer(self, command: int, value: int = 0, data: bytes = b"", status: bytes = b"\0\0") -> bytes:
        # The ROM sends two more bytes after the status, the stub does not.
        body = data + status + (b"" if self._stub else b"\0\0")
        return _slip(struct.pack("<BBHI", 1, command, len(body), value) + body)

    def _accept(self, command: int, data: bytes, checksum: int) -> bytes:  # noqa: ARG002
        return self._answer(command)

    def _sync(self, command: int, data: bytes, checksum: int) -> bytes:  # noqa: ARG002
        return self._answer(command, 0 if self._stub else _ROM_SYNC_VALUE) * 8

    def _read_register(self, command: int, data: bytes, checksum: int) -> bytes:  # noqa: ARG002
        (address,) = struct.unpack_from("<I", data)
        return self._answer(command, self._registers.get(address, 0))

    def _write_register(self, command: int, data: bytes, checksum: int) -> bytes:  # noqa: ARG002
        address, value = struct.unpack_from("<II", data)
        if address == getattr(self._chip, "RTC_CNTL_WDTCONFIG0_REG", None) and value & _WATCHDOG_ON:
            self._on_watchdog()
        return self._answer(command)

    def _security_info(self, command: int, data: bytes, checksum: int) -> bytes:  # noqa: ARG002
        if self._chip.USES_MAGIC_VALUE:
            return self._answer(command, status=_INVALID)
        return self._answer(command, data=struct.pack("<IB7sII", 0, 0, bytes(7), self._chip.IMAGE_CHIP_ID, 0))

    def _flash_begin(self, command: int, data: bytes, checksum: int) -> bytes:  # noqa: ARG002
        erased, _, _, offset = struct.unpack_from("<IIII", data)
        self._flash.erase(offset, erased)
        self._write = _Write(offset, zlib.decompressobj() if command == 0x10 else None)
        return self._answer(command)

    def _flash_data(self, command: int, data: bytes, checksum: int) -> bytes:
        (length,) = struct.unpack_from("<I", data)
        block = data[16 : 16 + length]
        if self._write is None or _checksum(block) != checksum:
            return self._answer(command, status=_BAD_CHECKSUM)
        if self._write.inflate is not None:
            block = self._write.inflate.decompress(block)
        block = block[: max(0, self._flash.size_bytes - self._write.position)]
        self._flash.write(self._write.position, block)
        self._write.position += len(block)
        return self._answer(command)

    def _md5(self, command: int, data: bytes, checksum: int) -> bytes:  # noqa: ARG002
        start, length = struct.unpack_from("<II", data)
        digest = hashlib.md5(self._flash.content[start : start + length])
        return self._answer(command, data=digest.digest() if self._stub else digest.hexdigest().encode())

    def _run_ram(self, command: int, data: bytes, checksum: int) -> bytes:  # noqa: ARG002
        answer = self._answer(command)
        self._stub = True
        return answer + _slip(b"OHAI")


def _slip(data: bytes) -> bytes:
    return b"\xc0" + data.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc") + b"\xc0"


def _checksum(data: bytes) -> int:
    state = 0xEF
    for byte in data:
        state ^= byte
    return state


# By the numbers of esptool's serial protocol.
_HANDLERS = {
    0x02: RomLoader._flash_begin,
    0x03: RomLoader._flash_data,
    0x04: RomLoader._accept,
    0x05: RomLoader._accept,
    0x06: RomLoader._run_ram,
    0x07: RomLoader._accept,
    0x08: RomLoader._sync,
    0x09: RomLoader._write_register,
    0x0A: RomLoader._read_register,
    0x0B: RomLoader._accept,
    0x0D: RomLoader._accept,
    0x0F: RomLoader._accept,
    0x10: RomLoader._flash_begin,
    0x11: RomLoader._flash_data,
    0x12: RomLoader._accept,
    0x13: RomLoader._md5,
    0x14: RomLoader._security_info,
}
