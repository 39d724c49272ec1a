"""A board that panics or restarts over and over: what the user is told, over a real port and link."""

from __future__ import annotations

from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from harness.boards.backtrace import decoder
from harness.boards.console_watch import ConsoleWatch
from harness.boards.qemu import QemuBoard
from harness.boards.serial_port import SerialBoard
from harness.errors import DeviceError
from harness.link.client import Link
from harness.link.wirelog import WireLog
from harness.targets import get_target
from tests.firmware_demo import build_demo
from tests.stand_in.attached_board import BLANK, AttachedBoard, Boot

PANIC = """\
I (24) boot: ESP-IDF v5.4 2nd stage bootloader\r
Guru Meditation Error: Core  0 panic'ed (Load access fault). Exception was unhandled.\r
MEPC    : {address:#010x}  RA      : 0x00000000\r
Rebooting...\r
"""


def error_of(boot: Boot, log: Path, watch: ConsoleWatch) -> str:
    with AttachedBoard("esp32c3", boot) as standin, SerialBoard("esp32c3", standin.path) as port:
        link = Link(port, log=WireLog(text=log), watch=watch)
        with pytest.raises(DeviceError) as caught:
            link.connect()
        link.close()
    return str(caught.value)


@pytest.mark.parametrize("platform", ["qemu_riscv32", "qemu_xtensa"])
def test_a_panic_has_a_name_a_source_line_and_the_log(platform: str, tmp_path: Path) -> None:
    image = build_demo(platform, tmp_path / "images")
    with image.elf.open("rb") as file:
        symbols = ELFFile(file).get_section_by_name(".symtab")
        (function,) = symbols.get_symbol_by_name("engine_invoke")  # type: ignore[attr-defined]
    panic = PANIC.format(address=function["st_value"]).encode()
    log = tmp_path / "uart.log"
    message = error_of(lambda _: panic, log, ConsoleWatch(decoder(image.elf, get_target(image.target))))
    first, *rest = message.splitlines()
    assert first.startswith("the firmware crashed on core 0: Load access fault")
    assert any("engine_invoke at " in line and "demo_engine.c:" in line for line in rest), message
    assert f"(whole log: {log})" in message
    assert "  | Guru Meditation Error" in message
    assert "2nd stage bootloader" in log.read_text()


def test_without_addr2line_the_addresses_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    decode = decoder(Path("/nonexistent.elf"), get_target("esp32s3"))
    assert decode(["Backtrace: 0x42000000:0x0"]) == [
        "(not decoded: none of xtensa-esp32s3-elf-addr2line, xtensa-esp-elf-addr2line, "
        "xtensa-lx106-elf-addr2line on PATH)"
    ]


def test_a_board_in_a_reset_loop_is_named_long_before_the_time_is_up(tmp_path: Path) -> None:
    message = error_of(lambda _: BLANK, tmp_path / "uart.log", ConsoleWatch())
    assert message.startswith("the board restarts over and over (3 times, cause ")
    assert "there is no firmware in its flash. Flash one\n" in message
    assert "  | invalid header: 0xffffffff" in message


def test_a_panic_of_our_own_firmware_ends_the_wait_for_its_answer(tmp_path: Path) -> None:
    image = build_demo("qemu_riscv32", tmp_path / "images")
    watch = ConsoleWatch(decoder(image.elf, get_target("esp32c3")))
    with QemuBoard("esp32c3", "qemu_riscv32", image.elf) as port:
        link = Link(port, timeout_s=60.0, watch=watch)
        link.connect()
        with pytest.raises(
            DeviceError,
            match=r"(?s)the firmware crashed: mcause=.*mtval=0xf0000000.*trap at .*demo_engine\.c:",
        ):
            link.infer(b"\x7d" + bytes(7))
