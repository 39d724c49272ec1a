"""The project template of ESP-DL's TVM flow (tag v2.0): a latency, and scores where the template's
print loop is switched on. The template ships with that loop commented out. `harness generate
--runtime tvm` writes a program that prints both, its workspace and whether the answer is right.

Sources: espressif/esp-dl v2.0 tools/tvm/template_project_for_model/main/app_main.c;
firmware/runtimes/tvm/esp_idf/main/app_main.c.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.dialects.log import Line
from harness.dialects.records import (
    Findings,
    Inference,
    Latency,
    MemoryRow,
    MemoryTable,
    ParsedLog,
    Verdict,
)

NAME = "tvm"
SUMMARY = "ESP-DL's TVM template: time: N us"
RUNTIME = "tvm"

_TIME = re.compile(r"time: (-?[0-9]{1,19}) us")
# `%f, ` for each output element, all on one line.
_NUMBER = r"-?(?:[0-9]{1,39}\.[0-9]{6}|inf|nan)"
_SCORES = re.compile(rf"{_NUMBER},(?: {_NUMBER},)*")

_WORKSPACE = re.compile(r"workspace: ([0-9]{1,10}) bytes")
_OUTPUT = re.compile(r"output (.{1,200}): (as expected|[0-9]{1,10} of [0-9]{1,10} elements differ)")


def signs(line: Line) -> bool:
    return _TIME.fullmatch(line.text) is not None


def parse(lines: Sequence[Line]) -> ParsedLog:
    found = Findings()
    pending: Latency | None = None
    for line in lines:
        if match := _TIME.fullmatch(line.text):
            if pending:
                found.latencies.append(pending)
            pending = Latency("time", int(match[1]), "us", line.number)
        elif pending and _SCORES.fullmatch(line.text):
            scores = tuple(float(number) for number in line.text.rstrip(",").split(", "))
            found.inferences.append(Inference(scores, "real", True, line.number, latencies=(pending,)))
            pending = None
        elif match := _WORKSPACE.fullmatch(line.text):
            row = MemoryRow("workspace", int(match[1]) / 1024, None, None)
            found.memory.append(MemoryTable((row,), line.number))
        elif match := _OUTPUT.fullmatch(line.text):
            right = match[2] == "as expected"
            found.verdicts.append(Verdict(right, (match[1],), line.number, None if right else match[2]))
        else:
            continue
        found.lines_used.add(line.number)
    if pending:
        found.latencies.append(pending)
    return found.close(NAME)
