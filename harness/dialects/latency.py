"""The three forms of ESP-DL's `dl::tool::Latency::print`, which several dialects share.

Source: espressif/esp-dl v1.1 and v2.0 include/tool/dl_tool.hpp, v3.3 dl/tool/include/dl_tool.hpp.
"""

from __future__ import annotations

import re

from harness.dialects.log import Line
from harness.dialects.records import Latency

# `latency: %15u us` and `MESSAGE: %15u us`: a 32-bit number has at most ten digits, so the field is
# always 15 wide, which tells it from other lines that end in a time.
_PADDED = re.compile(r"(?P<label>.*?): (?P<value>(?=.{15} (?:us|cycle)$) *[0-9]{1,10}) (?P<unit>us|cycle)")
# `PREFIX::KEY: %u us`.
_SCOPED = re.compile(r"(?P<label>\S.*?::.*?): (?P<value>[0-9]{1,10}) (?P<unit>us|cycle)")


MAX_LENGTH = 512
"""Longer lines are noise; the lazy patterns would take quadratic time on it."""


def printed_latency(line: Line) -> Latency | None:
    """What a `Latency::print` line says, or None if it is none. The label is as printed."""
    if len(line.text) > MAX_LENGTH:
        return None
    match = _PADDED.fullmatch(line.text) or _SCOPED.fullmatch(line.text)
    if match is None:
        return None
    return Latency(match["label"], int(match["value"]), match["unit"], line.number)
