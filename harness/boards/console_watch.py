"""Reads what an ESP chip prints beside the frames: a panic, a reset by a watchdog, a boot loop.

A fault it recognises gets a name; the panic's addresses become source lines where the ELF is there.
It never changes what is printed: the log has every line as it came.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

# ESP-IDF's panic handler, its asserts and watchdogs, our own bare-metal firmware (PANIC), and below
# the ROM's words after a reset.
_PANICS = (
    (r"Guru Meditation Error: Core +(\d+) panic'ed \(([^)]*)\)", "the firmware crashed on core {0}: {1}"),
    (r"abort\(\) was called at PC (0x[0-9a-f]+)", "the firmware called abort() at {0}"),
    (r"assert failed: (.*)", "an assertion in the firmware failed: {0}"),
    (r"stack overflow in task (\S+)", "the stack of task {0} overflowed"),
    (r"Stack smashing protect failure", "the firmware wrote past a buffer on its stack"),
    (r"CORRUPT HEAP: (.*)", "the firmware's heap is damaged: {0}"),
    (r"^PANIC (.+)", "the firmware crashed: {0}"),
    (r"Brownout detector was triggered", "brown-out: the supply voltage fell too low"),
)
_RESET = re.compile(r"rst:0x[0-9a-f]+ \((\w+)\)")
_PANIC_ENDS = re.compile(r"Rebooting\.\.\.|CPU halted|Entering gdb stub")
# To the console, between two markers, or to a flash partition.
_CORE_DUMPED = re.compile("CORE DUMP START")
_CORE_DUMP = re.compile(r"core dump has started|Save core dump to flash", re.IGNORECASE)
_ADDRESSES = re.compile(r"Backtrace:|at PC 0x|^PANIC |\bM?EPC\d? *:|\bRA +: ")
_BOOT_LOOP_RESETS = 3
# A panic prints without pausing; after such a gap it has ended, whatever its last line was.
_PANIC_GAP_S = 0.5
# From a reset's line to the first frame: ESP-IDF's start takes well under a second, PSRAM tests a few.
_COMES_BACK_S = 10.0

Decode = Callable[[list[str]], list[str]]
"""From the lines of a panic that hold addresses to lines `0x42001234: function at file:line`."""

_REMEDIES = (
    ("brown-out", "Use a shorter cable, a powered hub or another supply"),
    ("watchdog", "Something kept the CPU too long: see the log"),
    ("no firmware", "Flash one"),
)


class ConsoleWatch:
    """Fed with the device's text as it comes; `fault` gives each fault once.

    `alive` is told of every valid frame: the firmware ran, so resets are counted anew.
    """

    def __init__(self, decode: Decode | None = None) -> None:
        self._decode = decode
        self._partial = b""
        self._last_text_s = 0.0
        self._panic: list[str] = []
        self._panic_name = ""
        self._panic_over = False
        self._resets: list[str] = []
        self._reset_fault = ""
        # When it restarted in mid-run, and why; None once a frame came.
        self._restarted: tuple[float, str] | None = None
        self._running = self._blank = self._download = False

    def text(self, data: bytes) -> None:
        """Takes text in any pieces."""
        self._last_text_s = time.monotonic()
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._line(line.decode("utf-8", "replace").strip())

    def alive(self) -> None:
        """A valid frame came."""
        self._resets.clear()
        self._running, self._blank, self._download = True, False, False
        self._panic_over = bool(self._panic)
        self._restarted = None

    def fault(self) -> tuple[str, str] | None:
        """A fault that is complete, once: what happened, and what to do with the decoded addresses."""
        if self._panic and (self._panic_over or time.monotonic() - self._last_text_s > _PANIC_GAP_S):
            return self._take_panic()
        if named := self._reset_fault:
            self._reset_fault = ""
            return named, _remedy(named)
        if len(self._resets) >= _BOOT_LOOP_RESETS:
            return self._take_boot_loop()
        if self._restarted and time.monotonic() - self._restarted[0] > _COMES_BACK_S:
            (_, cause), self._restarted = self._restarted, None
            name = (
                f"the board restarted in mid-run (cause {cause}) and sent nothing for {_COMES_BACK_S:.0f} s"
            )
            return name, "See its log for what keeps the firmware from starting"
        return None

    def look_again_s(self) -> float:
        """When a panic or a start that has begun will be over."""
        now_s = time.monotonic()
        due_s = [self._last_text_s + _PANIC_GAP_S] if self._panic else []
        due_s += [self._restarted[0] + _COMES_BACK_S] if self._restarted else []
        # A little later: by then it is over.
        return max(0.0, min(due_s) - now_s) + 0.01 if due_s else float("inf")

    def hint(self) -> str:
        """What the text says about a device that does not answer; empty when nothing."""
        if self._download:
            return "The chip waits in its ROM loader: let go of BOOT and press RESET"
        return ""

    def _line(self, line: str) -> None:
        if reset := _RESET.search(line):
            self._panic_over = bool(self._panic)
            self._resets.append(reset[1])
            if self._running:
                self._restarted = time.monotonic(), reset[1]
            # Before the firmware spoke a cause may be that of long ago, and a loop shows by itself.
            if self._running and not self._panic:
                self._reset_fault = _abnormal(reset[1])
            self._download = False
        self._download |= "waiting for download" in line
        self._blank |= "invalid header: 0x" in line
        named = _panic_in(line)
        if named and not self._panic:
            self._panic_name, self._panic_over = named, False
        if named or self._panic:
            self._panic.append(line)
            self._panic_over |= bool(_PANIC_ENDS.search(line))

    def _take_panic(self) -> tuple[str, str]:
        lines, self._panic, self._panic_over = self._panic, [], False
        self._resets.clear()
        self._restarted = None
        name = self._panic_name
        remedy = [_remedy(name)] if _remedy(name) else []
        if any(_CORE_DUMPED.search(line) for line in lines):
            remedy.append(
                "The log holds a core dump: save what is between its markers, then "
                "esp-coredump info_corefile -t b64 -c FILE firmware.elf"
            )
        elif any(_CORE_DUMP.search(line) for line in lines):
            remedy.append("A core dump was made: idf.py coredump-info reads it")
        addresses = [line for line in lines if _ADDRESSES.search(line)]
        decoded = self._decode(addresses) if self._decode and addresses else []
        if decoded:
            remedy.append("\n  ".join(["Backtrace:", *decoded]))
        return name, ". ".join(remedy)

    def _take_boot_loop(self) -> tuple[str, str]:
        causes, blank = ", ".join(dict.fromkeys(self._resets)), self._blank
        count = len(self._resets)
        self._resets.clear()
        self._blank = False
        name = f"the board restarts over and over ({count} times, cause {causes})"
        if blank:
            name = f"{name}: there is no firmware in its flash"
        elif named := _abnormal(causes):
            name = f"{name}: {named}"
        return name, _remedy(name)


def _panic_in(line: str) -> str:
    for pattern, name in _PANICS:
        if found := re.search(pattern, line):
            return name.format(*found.groups())
    return ""


def _abnormal(cause: str) -> str:
    """A reset's cause in words, when no firmware asks for it and no one pressed a button."""
    if "BROWN" in cause or "BOD" in cause:
        return f"brown-out: the supply voltage fell too low ({cause})"
    if "WDT" in cause or "WATCHDOG" in cause:
        return f"a watchdog reset the chip ({cause})"
    if "GLITCH" in cause:
        return f"the chip reset itself on a supply glitch ({cause})"
    return ""


def _remedy(name: str) -> str:
    return next((remedy for word, remedy in _REMEDIES if word in name), "")
