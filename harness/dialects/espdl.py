"""ESP-DL v3: the verdict of `Model::test()` and the two tables of `Model::profile()`.

Also its latency lines (`Latency::print`, which logs by ESP_LOGI since v3) and the `run:N ms` of its
test apps. Source: espressif/esp-dl v3.2.0 to v3.3.9, esp-dl/dl/model/src/dl_model_base.cpp and
esp-dl/dl/tool/include/dl_tool.hpp, test_apps/autoquant_latency.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.dialects.latency import printed_latency
from harness.dialects.log import Line
from harness.dialects.records import (
    Findings,
    Latency,
    MemoryRow,
    MemoryTable,
    ParsedLog,
    Profile,
    ProfileRow,
    Verdict,
)

NAME = "espdl"
SUMMARY = "ESP-DL v3: Model::test(), Model::profile()"
RUNTIME = "espdl"

_TESTING = re.compile(r"Testing output (.+)\.")
_MISMATCH = re.compile(r"Test output (.+) does not match")
_PASS = "Test Pass!"
_UNTESTABLE = re.compile(
    r"Model input .+ doesn't have a corresponding test input\..*"
    r"|There's no intermediate result or output named .+ in model\."
)
_MODEL = re.compile(r"model:(.*?), version:-?[0-9]{1,19}(?:, description:.*)?")
_LOCATION = re.compile(r"MODEL LOCATION (?:IN FLASH RODATA|IN FLASH PARTITION|IN SDCARD|UNK)")
_TITLE = re.compile(r"\| *(memory|module) summary *\|")
_ROW = re.compile(r"\| .* \|")
_MEMORY_ROWS = ("fbs_model", "parameter", "parameter_copy", "variable", "others", "total")
_KILOBYTES = re.compile(r"(?:-- )?([0-9]{1,17}\.[0-9]{2})KB")
_LATENCY_CELL = re.compile(r"(-?[0-9]{1,10})(us|cycle)")
_LOGGED = re.compile(r"(.+): ([0-9]{1,10}) (us|cycle)")
_RUN = re.compile(r"run:([0-9]{1,10}) ms")


def signs(line: Line) -> bool:
    patterns = (_TESTING, _MISMATCH, _TITLE, _RUN)
    return line.text == _PASS or any(pattern.fullmatch(line.text) for pattern in patterns)


class _Reader:
    def __init__(self) -> None:
        self.found = Findings()
        self.outputs: list[Line] = []
        self.model: str | None = None
        self.location: str | None = None
        self.title: Line | None = None
        self.table = ""
        self.memory: list[MemoryRow] = []
        self.modules: list[ProfileRow] = []
        self.unit = ""

    def read(self, line: Line) -> bool:
        """Whether the line is one of this dialect's."""
        return self._test(line) or self._head(line) or self._row(line) or self._latency(line)

    def end(self) -> None:
        self._end_table(total=None)
        if self.outputs:
            self._verdict(None, self.outputs[-1], "the log ends before the verdict")

    # Model::test().

    def _test(self, line: Line) -> bool:
        if match := _TESTING.fullmatch(line.text):
            if match[1] in self._output_names():
                self._verdict(None, line, "another test began before the verdict")
            self.outputs.append(Line(line.number, match[1]))
        elif line.text == _PASS:
            self._verdict(True, line)
        elif match := _MISMATCH.fullmatch(line.text):
            self._verdict(False, line, f"output {match[1]} does not match")
        elif _UNTESTABLE.fullmatch(line.text):
            self._verdict(False, line, line.text)
        else:
            return False
        return True

    def _output_names(self) -> tuple[str, ...]:
        return tuple(output.text for output in self.outputs)

    def _verdict(self, passed: bool | None, line: Line, reason: str | None = None) -> None:
        start = self.outputs[0] if self.outputs else line
        self.found.verdicts.append(Verdict(passed, self._output_names(), start.number, reason))
        self.outputs.clear()

    # Model::profile().

    def _head(self, line: Line) -> bool:
        if match := _MODEL.fullmatch(line.text):
            self._end_table(total=None)
            self.model, self.location = match[1], None
        elif _LOCATION.fullmatch(line.text):
            self.location = line.text.removeprefix("MODEL LOCATION ")
        elif match := _TITLE.fullmatch(line.text):
            self._end_table(total=None)
            self.title, self.table = line, match[1]
        else:
            return False
        return True

    def _row(self, line: Line) -> bool:
        if self.title is None or not _ROW.fullmatch(line.text):
            return False
        cells = [cell.strip() for cell in line.text[1:-1].split("|")]
        return self._memory_row(cells) if self.table == "memory" else self._module_row(cells)

    def _memory_row(self, cells: list[str]) -> bool:
        if cells == ["", "internal RAM", "PSRAM", "FLASH"]:
            return True
        name = cells[0].removeprefix("-- ")
        sizes = [_KILOBYTES.fullmatch(cell) for cell in cells[1:]]
        damaged = any(cell and not size for cell, size in zip(cells[1:], sizes, strict=True))
        if len(sizes) != 3 or name not in _MEMORY_ROWS or damaged:
            return False
        internal, psram, flash = (float(size[1]) if size else None for size in sizes)
        self.memory.append(MemoryRow(name, internal, psram, flash))
        if name == "total":
            self._end_table(total=None)
        return True

    def _module_row(self, cells: list[str]) -> bool:
        if cells == ["name", "type", "latency"]:
            return True
        latency = _LATENCY_CELL.fullmatch(cells[-1])
        if len(cells) < 3 or not latency or self.unit not in ("", latency[2]):
            return False
        self.unit = latency[2]
        # A bar inside a module's name makes more cells; its type and latency have none.
        name, kind = " | ".join(cells[:-2]), cells[-2]
        if name == "total" and not kind:
            self._end_table(total=int(latency[1]))
        else:
            self.modules.append(ProfileRow(name, kind, int(latency[1])))
        return True

    def _end_table(self, total: int | None) -> None:
        """Keeps the open table, if one is open, and says what is missing from it."""
        title, self.title = self.title, None
        if title is None:
            return
        if self.table == "memory":
            names = [row.name for row in self.memory]
            missing = [name for name in _MEMORY_ROWS if name not in names]
            if missing:
                self.found.note(title.number, f"memory summary without its rows {', '.join(missing)}")
            if self.memory:
                rows = tuple(self.memory)
                self.found.memory.append(MemoryTable(rows, title.number, self.model, self.location))
        else:
            added = sum(row.value for row in self.modules)
            if total is None:
                self.found.note(title.number, "module summary without its total: cut off")
            elif (added - total) % 2**32:
                # The firmware sums in 32 bits without a sign and prints with one.
                self.found.note(
                    title.number, f"module rows add up to {added}, the total says {total}: rows are missing"
                )
            if self.modules or total is not None:
                rows_found = tuple(self.modules)
                profile = Profile("modules", self.unit, rows_found, total, title.number, self.model)
                self.found.profiles.append(profile)
        self.memory, self.modules, self.unit = [], [], ""

    # Latencies.

    def _latency(self, line: Line) -> bool:
        latency = printed_latency(line)
        if latency is None and line.tag is not None and (match := _LOGGED.fullmatch(line.text)):
            latency = Latency(f"{line.tag}::{match[1]}", int(match[2]), match[3], line.number)
        if latency is None and (match := _RUN.fullmatch(line.text)):
            latency = Latency("run", int(match[1]), "ms", line.number)
        if latency is not None:
            self.found.latencies.append(latency)
        return latency is not None


def parse(lines: Sequence[Line]) -> ParsedLog:
    reader = _Reader()
    reader.found.read(lines, reader.read)
    reader.end()
    return reader.found.close(NAME)
