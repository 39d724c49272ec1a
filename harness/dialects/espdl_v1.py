"""ESP-DL v1 and v2: what `dl::tool::Latency` prints, and nothing else, for these print no scores.

The hand-written main of tutorial 0 prints scores too and is a dialect of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.dialects.latency import printed_latency
from harness.dialects.log import Line
from harness.dialects.records import Findings, ParsedLog

NAME = "espdl-v1"
SUMMARY = "ESP-DL v1, v2: Latency::print"


def signs(line: Line) -> bool:
    return printed_latency(line) is not None


def parse(lines: Sequence[Line]) -> ParsedLog:
    found = Findings()
    for line in lines:
        if latency := printed_latency(line):
            found.latencies.append(latency)
            found.lines_used.add(line.number)
    return found.close(NAME)
