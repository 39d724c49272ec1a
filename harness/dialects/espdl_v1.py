"""ESP-DL v1 and v2: the latencies of `dl::tool::Latency`, the scores of the two shipped tutorials.

The tutorials (tutorial 2 of this project is one) print the output tensor's integers on one line and
the class after it. Source: espressif/esp-dl v2.0, include/tool/dl_tool.hpp and tutorial/
{quantization_tool,convert_tool}_example/main/app_main.cpp.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.dialects.latency import printed_latency
from harness.dialects.log import Line
from harness.dialects.records import Findings, Inference, Latency, ParsedLog

NAME = "espdl-v1"
SUMMARY = "ESP-DL v1, v2: Latency::print, Prediction Result: N"
RUNTIME = "espdl-v1"

# `%d, ` for each element; the stripped line ends in a comma.
_SCORES = re.compile(r"-?[0-9]{1,5},(?: -?[0-9]{1,5},)+")
_RESULT = re.compile(r"Prediction Result: ([0-9]{1,4})")


def signs(line: Line) -> bool:
    return printed_latency(line) is not None or _RESULT.fullmatch(line.text) is not None


class _Reader:
    def __init__(self) -> None:
        self.found = Findings()
        self.latencies: list[Latency] = []
        self.scores: Line | None = None

    def read(self, line: Line) -> None:
        if latency := printed_latency(line):
            self.end_scores()
            self.latencies.append(latency)
            self.found.lines_used.add(line.number)
        elif _SCORES.fullmatch(line.text):
            self.end_scores()
            self.scores = line
        elif match := _RESULT.fullmatch(line.text):
            self._result(line, match[1])
            self.found.lines_used.add(line.number)

    def end_scores(self) -> None:
        """Any list of numbers could be scores; the prediction after them makes them so."""
        if self.scores:
            self.found.note(self.scores.number, "a list of numbers without its Prediction Result: not read")
            self.scores = None

    def _result(self, line: Line, result: str) -> None:
        if self.scores is None:
            self.found.note(line.number, f"Prediction Result {result} without scores")
            return
        start = self.scores.number
        scores = tuple(int(score) for score in self.scores.text.rstrip(",").split(", "))
        self.found.lines_used.add(start)
        if str(scores.index(max(scores))) != result:
            self.found.note(
                line.number,
                f"the scores predict {scores.index(max(scores))}, not {result}: a line is damaged",
            )
        latencies = tuple(self.latencies)
        inference = Inference(scores, "integer", True, start, latencies=latencies, result=result)
        self.found.inferences.append(inference)
        self.scores, self.latencies = None, []


def parse(lines: Sequence[Line]) -> ParsedLog:
    reader = _Reader()
    for line in lines:
        reader.read(line)
    reader.end_scores()
    reader.found.latencies += reader.latencies
    return reader.found.close(NAME)
