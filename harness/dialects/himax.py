"""Himax WE-I Plus: the handwriting example, one element a line or all on one, and person_detection.

The scores are the output tensor's int8 values. Source: HimaxWiseEyePlus/himax_tflm aa447ba,
examples/{handwriting,person_detection}/himax_we1_evb/detection_responder.cc. Firmware that
`harness generate --target himax_we1` made also prints what Invoke() took.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.dialects.log import Line
from harness.dialects.records import Findings, Inference, Latency, Number, ParsedLog

NAME = "himax"
SUMMARY = "Himax WE1: number, [0]:-128, ..., result:1"
RUNTIME = "tflm"

# Any run of the three pieces: a terminal that drops line ends joins them.
_PIECES = re.compile(
    r"(?P<start>number ?)?(?P<scores>(?:\[[0-9]{1,4}\]:-?[0-9]{1,3}, ?)*)"
    r"(?:invoke:(?P<ticks>[0-9]{1,10}) ticks, ?)?"
    r"(?:result:(?P<result>[0-9]{1,4}|unknown))?"
)
_SCORE = re.compile(r"\[([0-9]+)\]:(-?[0-9]+),")
_PERSON = re.compile(r"person score:(-?[0-9]{1,3}) no person score (-?[0-9]{1,3})")


def signs(line: Line) -> bool:
    match = _PIECES.fullmatch(line.text)
    return bool(match and (match["scores"] or match["ticks"] or match["result"])) or bool(
        _PERSON.fullmatch(line.text)
    )


class _Reader:
    def __init__(self) -> None:
        self.found = Findings()
        self.scores: list[Number | None] = []
        self.start = 0
        self.latency: Latency | None = None

    def read(self, line: Line) -> bool:
        """Whether the line is one of this dialect's."""
        if match := _PERSON.fullmatch(line.text):
            self.close(None)
            scores, names = (int(match[1]), int(match[2])), ("person", "no person")
            self.found.inferences.append(Inference(scores, "int8", True, line.number, names))
            self._check_range(scores, line.number)
            return True
        match = _PIECES.fullmatch(line.text)
        if match is None or not match[0]:
            return False
        if match["start"]:
            self.close(None)
        for index, value in _SCORE.findall(match["scores"]):
            self._score(line, int(index), int(value))
        if match["ticks"]:
            self.latency = Latency("invoke", int(match["ticks"]), "ticks", line.number)
        if match["result"]:
            self.start = self.start or line.number
            self.close(match["result"])
        return True

    def _score(self, line: Line, index: int, value: int) -> None:
        if index < len(self.scores):
            self.close(None)
        self.start = self.start or line.number
        self.scores += [None] * (index - len(self.scores))
        self.scores.append(value)

    def close(self, result: str | None) -> None:
        """Ends the inference that is being read, if there is one; None: its end mark is missing."""
        scores, self.scores = tuple(self.scores), []
        start, self.start = self.start, 0
        latencies = (self.latency,) if self.latency else ()
        self.latency = None
        if not scores:
            if result is not None:
                self.found.note(start, f"result:{result} without scores")
            return
        complete = result is not None and None not in scores
        number = len(self.found.inferences)
        self.found.inferences.append(
            Inference(scores, "int8", complete, start, latencies=latencies, result=result)
        )
        known = [score for score in scores if score is not None]
        self._check_range(known, start)
        if not complete:
            self.found.note(start, f"inference {number} is not whole: lines are missing")
        elif result != _announced(known):
            self.found.note(
                start,
                f"inference {number} announces {result}, its scores {_announced(known)}: a line is damaged",
            )

    def _check_range(self, scores: Sequence[Number], line: int) -> None:
        if any(not -128 <= score <= 127 for score in scores):
            self.found.note(line, "a score is outside int8: a line is damaged")


def _announced(scores: Sequence[Number]) -> str:
    """What the firmware makes of whole scores: the first of the largest, if it is above 0."""
    best = max(scores)
    return str(list(scores).index(best)) if best > 0 else "unknown"


def parse(lines: Sequence[Line]) -> ParsedLog:
    reader = _Reader()
    reader.found.read(lines, reader.read)
    reader.close(None)
    return reader.found.close(NAME)
