"""Faults named from what ESP chips print. The logs have the wording of ESP-IDF 5 and the chips' ROMs."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.boards.console_watch import ConsoleWatch

XTENSA_PANIC = b"""\
Guru Meditation Error: Core  1 panic'ed (LoadProhibited). Exception was unhandled.

Core  1 register dump:
PC      : 0x42008f3e  PS      : 0x00060033  A0      : 0x82008f51  A1      : 0x3fc99b30

Backtrace: 0x42008f3b:0x3fc99b30 0x42008f4e:0x3fc99b50
ELF file SHA256: 0a1b2c3d4
Rebooting...
"""
RISCV_PANIC = b"""\
Guru Meditation Error: Core  0 panic'ed (Illegal instruction). Exception was unhandled.
Core  0 register dump:
MEPC    : 0x4200a1b2  RA      : 0x4200a1a0  SP      : 0x3fc8f000  GP      : 0x3fc8b600
I (311) esp_core_dump_flash: Save core dump to flash...
CPU halted.
"""
BOOT = b"ESP-ROM:esp32s3-20210327\r\nrst:%b,boot:0x8 (SPI_FAST_FLASH_BOOT)\r\n"


def fault_of(text: bytes, running: bool = True) -> tuple[str, str] | None:
    watch = ConsoleWatch()
    if running:
        watch.alive()
    watch.text(text)
    return watch.fault()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (XTENSA_PANIC, "the firmware crashed on core 1: LoadProhibited"),
        (RISCV_PANIC, "the firmware crashed on core 0: Illegal instruction"),
        (
            b"Guru Meditation Error: Core  0 panic'ed (Interrupt wdt timeout on CPU0). \r\nRebooting...\r\n",
            "the firmware crashed on core 0: Interrupt wdt timeout on CPU0",
        ),
        (
            b"\nabort() was called at PC 0x42003f21 on core 0\r\nBacktrace: 0x1:0x2\r\nRebooting...\r\n",
            "the firmware called abort() at 0x42003f21",
        ),
        (
            b"assert failed: infer engine.c:41 (arena != NULL)\r\nRebooting...\r\n",
            "an assertion in the firmware failed: infer engine.c:41 (arena != NULL)",
        ),
        (
            b"***ERROR*** A stack overflow in task main has been detected.\r\nRebooting...\r\n",
            "the stack of task main overflowed",
        ),
        (
            b"Brownout detector was triggered\r\n\r\n" + BOOT % b"0xf (BROWNOUT_RST)",
            "brown-out: the supply voltage fell too low",
        ),
        (BOOT % b"0x7 (TG0WDT_SYS_RST)", "a watchdog reset the chip (TG0WDT_SYS_RST)"),
        (BOOT % b"0xf (RTCWDT_BROWN_OUT_RESET)", "brown-out: the supply voltage fell too low "
         "(RTCWDT_BROWN_OUT_RESET)"),
    ],
)  # fmt: skip
def test_a_fault_in_mid_run_has_a_name(text: bytes, name: str) -> None:
    found = fault_of(text)
    assert found
    assert found[0] == name


@pytest.mark.parametrize(
    "cause", [b"0x1 (POWERON)", b"0x3 (RTC_SW_SYS_RST)", b"0xc (SW_CPU_RESET)", b"0x15 (USB_UART_CHIP_RESET)"]
)
def test_a_restart_that_somebody_asked_for_is_no_fault(cause: bytes) -> None:
    assert fault_of(BOOT % cause) is None


def test_a_watchdog_before_the_first_frame_may_be_long_ago_but_a_loop_is_a_fault() -> None:
    once = BOOT % b"0x8 (TG1WDT_SYS_RST)"
    assert fault_of(2 * once, running=False) is None
    found = fault_of(3 * once, running=False)
    assert found
    assert found[0] == (
        "the board restarts over and over (3 times, cause TG1WDT_SYS_RST): "
        "a watchdog reset the chip (TG1WDT_SYS_RST)"
    )


def test_a_blank_flash_is_named() -> None:
    found = fault_of(3 * (BOOT % b"0x7 (TG0WDT_SYS_RST)" + b"invalid header: 0xffffffff\r\n"), running=False)
    assert found
    assert found[0].endswith("(3 times, cause TG0WDT_SYS_RST): there is no firmware in its flash")


def test_each_panic_of_a_loop_is_told_once_and_resets_do_not_add_up_over_frames() -> None:
    watch = ConsoleWatch()
    watch.text(XTENSA_PANIC + BOOT % b"0xc (SW_CPU_RESET)")
    assert watch.fault()
    assert watch.fault() is None
    for _ in range(5):
        watch.text(BOOT % b"0xc (SW_CPU_RESET)")
        watch.alive()
        assert watch.fault() is None


def test_a_panic_is_complete_at_its_last_line_or_after_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = ConsoleWatch()
    for line in XTENSA_PANIC.splitlines(keepends=True)[:-1]:
        watch.text(line)
        assert watch.fault() is None, "its backtrace may still come"
    now_s = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now_s + 1)
    assert watch.fault()


def test_a_core_dump_on_the_console_is_in_the_log() -> None:
    watch = ConsoleWatch()
    said, dumped = RISCV_PANIC.split(b"I (311)"), b"=== CORE DUMP %b ===\r\n"
    watch.text(said[0] + dumped % b"START" + b"aGVsbG8=\r\n" + dumped % b"END" + b"Rebooting...\r\n")
    found = watch.fault()
    assert found
    assert found[1] == (
        "The log holds a core dump: save what is between its markers, then "
        "esp-coredump info_corefile -t b64 -c FILE firmware.elf"
    )


def test_addresses_are_decoded_and_a_core_dump_is_mentioned() -> None:
    asked: list[list[str]] = []

    def decode(lines: list[str]) -> list[str]:
        asked.append(lines)
        return ["0x4200a1b2: infer at engine.c:41"]

    watch = ConsoleWatch(decode)
    watch.text(RISCV_PANIC)
    found = watch.fault()
    assert found
    assert found[1] == (
        "A core dump was made: idf.py coredump-info reads it. Backtrace:\n  0x4200a1b2: infer at engine.c:41"
    )
    assert asked == [
        ["MEPC    : 0x4200a1b2  RA      : 0x4200a1a0  SP      : 0x3fc8f000  GP      : 0x3fc8b600"]
    ]


def test_a_chip_in_its_loader_gets_a_hint() -> None:
    watch = ConsoleWatch()
    watch.text(b"rst:0x1 (POWERON),boot:0x0 (DOWNLOAD(USB/UART0))\r\nwaiting for download\r\n")
    assert watch.hint() == "The chip waits in its ROM loader: let go of BOOT and press RESET"
    watch.text(BOOT % b"0x1 (POWERON)")
    assert watch.hint() == ""


PIECES = st.sampled_from([XTENSA_PANIC, BOOT % b"0x1 (POWERON)", b"I (5) app: ok\n"])


@given(st.lists(PIECES, max_size=4), st.sets(st.integers(0, 2000), max_size=9))
def test_how_the_text_is_cut_does_not_matter(pieces: list[bytes], cuts: set[int]) -> None:
    text = b"".join(pieces)
    whole, cut = ConsoleWatch(), ConsoleWatch()
    whole.text(text)
    places = [0, *sorted(cuts), len(text)]
    for start, end in itertools.pairwise(places):
        cut.text(text[start:end])
    assert (whole.fault(), whole.hint()) == (cut.fault(), cut.hint())


@given(st.binary())
def test_any_bytes_are_survived(noise: bytes) -> None:
    watch = ConsoleWatch()
    watch.text(noise)
    watch.fault()
    watch.hint()


def test_a_restart_that_nothing_follows_is_a_fault_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = ConsoleWatch()
    watch.alive()
    watch.text(BOOT % b"0x1 (POWERON)")
    assert watch.fault() is None
    assert 9.0 < watch.look_again_s() < 11.0
    now_s = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now_s + 11)
    fault = watch.fault()
    assert fault is not None
    assert fault[0] == "the board restarted in mid-run (cause POWERON) and sent nothing for 10 s"
    assert watch.fault() is None


def test_a_board_that_comes_back_from_a_restart_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = ConsoleWatch()
    watch.alive()
    watch.text(BOOT % b"0x1 (POWERON)")
    watch.alive()
    now_s = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now_s + 11)
    assert watch.fault() is None
    assert watch.look_again_s() == float("inf")


def test_a_panic_that_stops_printing_is_looked_at_soon() -> None:
    watch = ConsoleWatch()
    watch.alive()
    watch.text(b"Guru Meditation Error: Core  0 panic'ed (LoadProhibited)\n")
    assert watch.fault() is None
    assert watch.look_again_s() < 0.6
