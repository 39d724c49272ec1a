"""The `app_main.cpp` of tutorial 0: ESP-DL v1 with scores, one `score` line per output element.

Its text differs a little from test to test; each form that was published is read. A board that
resets between two images prints the block again, and each block is an inference.

Source: EhsanGhasemii/Sharif_Esp32, app_main.cpp of test15, test16, test21, test23 and test25.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.dialects.latency import printed_latency
from harness.dialects.log import Line
from harness.dialects.records import Findings, Inference, Latency, Number, ParsedLog

NAME = "tutorial0"
SUMMARY = "tutorial 0 on ESP-DL v1: score[0] : 0.1234567"
RUNTIME = "espdl-v1"

_FLOAT = r"(-?(?:[0-9]{1,39}\.[0-9]{6,7}|inf|nan))"
_INPUT = re.compile(r"input : (-?[0-9]{1,6})")
_SCORE = re.compile(rf"score\[([0-9]{{1,4}})\] : {_FLOAT}")
_ONLY_SCORE = re.compile(rf"score : {_FLOAT}")
_END = re.compile(r"={21}")
_ELAPSED = re.compile(r"Elapsed time : ([0-9]{1,20}\.[0-9]{3}) miliseconds")
# test23 divides clock() by 1000 and prints no unit, so none is recorded.
_BARE_TIME = re.compile(r"time : ([0-9]{16,20})")


def signs(line: Line) -> bool:
    return bool(_SCORE.fullmatch(line.text) or _ONLY_SCORE.fullmatch(line.text))


@dataclass
class _Block:
    """The lines of one inference so far."""

    line: int = 0
    input: int | None = None
    scores: list[Number | None] = field(default_factory=list)
    latencies: list[Latency] = field(default_factory=list)
    decimals: int | None = None


class _Reader:
    def __init__(self) -> None:
        self.found = Findings()
        self.block = _Block()
        self.timed = True
        """Whether the last inference has its time after the end mark, or there is no inference."""

    def close(self, ended: bool) -> None:
        """Ends the block: an inference where scores came, else its latencies stand alone."""
        block, self.block = self.block, _Block()
        if not block.scores:
            self.found.latencies += block.latencies
            if block.input is not None:
                self.found.note(block.line, "an input line without scores")
            return
        complete = ended and None not in block.scores
        if not complete:
            self.found.note(
                block.line, f"inference {len(self.found.inferences)} is not whole: lines are missing"
            )
        self.found.inferences.append(
            Inference(
                tuple(block.scores),
                "real",
                complete,
                block.line,
                latencies=tuple(block.latencies),
                input=block.input,
                decimals=block.decimals,
            )
        )
        self.timed = False

    def score(self, line: Line, index: int, text: str) -> None:
        if index < len(self.block.scores):
            self.close(ended=False)
        self.block.scores += [None] * (index - len(self.block.scores))
        self.block.scores.append(float(text))
        self.block.decimals = len(text.partition(".")[2]) or None
        self.block.line = self.block.line or line.number

    def time_after(self, latency: Latency) -> None:
        if self.block.scores:
            self.close(ended=False)
        if self.timed:
            self.found.latencies.append(latency)
            return
        last = self.found.inferences[-1]
        self.found.inferences[-1] = dataclasses.replace(last, latencies=(*last.latencies, latency))
        self.timed = True

    def read(self, line: Line) -> bool:
        """Whether the line is one of this dialect's."""
        if latency := printed_latency(line):
            if self.block.scores or self.block.input is not None:
                self.close(ended=False)
            self.block.latencies.append(latency)
        elif match := _INPUT.fullmatch(line.text):
            if self.block.scores or self.block.input is not None:
                self.close(ended=False)
            self.block.input = int(match[1])
            self.block.line = line.number
        elif match := _SCORE.fullmatch(line.text):
            self.score(line, int(match[1]), match[2])
        elif match := _ONLY_SCORE.fullmatch(line.text):
            # test15 prints no end mark; its only score is the whole output.
            self.score(line, 0, match[1])
            self.close(ended=True)
        elif _END.fullmatch(line.text):
            if self.block.scores:
                self.close(ended=True)
        elif match := _ELAPSED.fullmatch(line.text):
            self.time_after(Latency("Elapsed time", float(match[1]), "ms", line.number))
        elif match := _BARE_TIME.fullmatch(line.text):
            self.time_after(Latency("time", int(match[1]), None, line.number))
        else:
            return False
        return True


def parse(lines: Sequence[Line]) -> ParsedLog:
    reader = _Reader()
    reader.found.read(lines, reader.read)
    reader.close(ended=False)
    return reader.found.close(NAME)
