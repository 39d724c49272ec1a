"""TFLite Micro on ESP-IDF: `MicroProfiler`'s three forms and the person_detection example.

A tick is what the port's clock says (a microsecond in esp-tflite-micro); the log does not say it,
so ticks stay ticks. Source: espressif/esp-tflite-micro 99f49e1, tensorflow/lite/micro/
micro_profiler.cc and examples/person_detection/main/{detection_responder,main_functions}.cc,
esp_cli.c.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from harness.dialects.log import Line
from harness.dialects.records import Findings, Inference, Latency, ParsedLog, Profile, ProfileRow

NAME = "tflm"
SUMMARY = "TFLite Micro: MicroProfiler, person_detection"
RUNTIME = "tflm"

_TOOK = re.compile(r"(\S.*?) took ([0-9]{1,10}) ticks \(-?[0-9]{1,10} ms\)\.")
_EVENTS = '"Event","Tag","Ticks"'
_EVENT = re.compile(r"([0-9]{1,4}),(\S.*),(-?[0-9]{1,10})")
_TAGS = '"Unique Tag","Total ticks across all events with that tag."'
_TAG = re.compile(r"(\S.*), (-?[0-9]{1,10})")
_TAGS_END = re.compile(r'"total number of ticks", (-?[0-9]{1,10})')
_PERSON = re.compile(r"person score:(-?[0-9]{1,10})%, no person score (-?[0-9]{1,10})%")
_REQUIRED = re.compile(r"(Time required for the inference) is ([0-9]{1,10}) ms")
# Milliseconds by the source, but printed without a unit.
_PART = re.compile(r"((?:Total|FC|DC|conv|Pooling|add|mul) time) = (-?[0-9]{1,19})")


def signs(line: Line) -> bool:
    patterns = (_TOOK, _PERSON, _REQUIRED)
    return line.text in (_EVENTS, _TAGS) or any(pattern.fullmatch(line.text) for pattern in patterns)


class _Reader:
    def __init__(self) -> None:
        self.found = Findings()
        self.form = ""
        """Of the profile being read: took, events, tags, or none."""
        self.start = 0
        self.rows: list[ProfileRow] = []
        self.next_event = 0
        self.parts: list[Latency] = []
        self.timed = True
        """Whether the last inference has its time, or there is no inference yet."""

    def read(self, line: Line) -> bool:
        """Whether the line is one of this dialect's."""
        return self._profile(line) or self._person(line)

    def end(self) -> None:
        self._end_profile(total=None)
        self.found.latencies += self.parts

    # MicroProfiler.

    def _profile(self, line: Line) -> bool:
        if match := _TOOK.fullmatch(line.text):
            if self.form != "took":
                self._begin_profile("took", line)
            self.rows.append(ProfileRow(match[1], None, int(match[2])))
        elif line.text == _EVENTS:
            self._begin_profile("events", line)
        elif line.text == _TAGS:
            self._begin_profile("tags", line)
        elif self.form == "events" and (match := _EVENT.fullmatch(line.text)):
            return self._event(line, int(match[1]), match[2], int(match[3]))
        elif self.form == "tags" and (match := _TAGS_END.fullmatch(line.text)):
            self._end_profile(total=int(match[1]))
        elif self.form == "tags" and (match := _TAG.fullmatch(line.text)):
            self.rows.append(ProfileRow(match[1], None, int(match[2])))
        else:
            return False
        return True

    def _event(self, line: Line, index: int, tag: str, ticks: int) -> bool:
        if index < self.next_event:
            return False
        if index > self.next_event:
            self.found.note(line.number, f"profile without its events {self.next_event} to {index - 1}")
        self.next_event = index + 1
        self.rows.append(ProfileRow(tag, None, ticks))
        return True

    def _begin_profile(self, form: str, line: Line) -> None:
        self._end_profile(total=None)
        self.form, self.start, self.next_event = form, line.number, 0

    def _end_profile(self, total: int | None) -> None:
        form, self.form = self.form, ""
        rows, self.rows = tuple(self.rows), []
        if form == "tags":
            added = sum(row.value for row in rows)
            if total is None:
                self.found.note(self.start, "ticks by tag without their total: cut off")
            elif (added - total) % 2**32:
                self.found.note(
                    self.start, f"ticks by tag add up to {added}, the total says {total}: lines are missing"
                )
        if rows or total is not None:
            kind = "tags" if form == "tags" else "events"
            self.found.profiles.append(Profile(kind, "ticks", rows, total, self.start))

    # person_detection.

    def _person(self, line: Line) -> bool:
        if match := _PART.fullmatch(line.text):
            self.parts.append(Latency(match[1], int(match[2]), None, line.number))
        elif match := _PERSON.fullmatch(line.text):
            scores = int(match[1]), int(match[2])
            parts, self.parts = tuple(self.parts), []
            names = ("person", "no person")
            self.found.inferences.append(Inference(scores, "percent", True, line.number, names, parts))
            self.timed = False
            if sum(scores) != 100:
                # The firmware computes the second as 100 minus the first.
                self.found.note(
                    line.number, f"scores of {scores[0]} % and {scores[1]} %: the line is damaged"
                )
        elif match := _REQUIRED.fullmatch(line.text):
            self._time(Latency(match[1], int(match[2]), "ms", line.number))
        else:
            return False
        self._end_profile(total=None)
        return True

    def _time(self, latency: Latency) -> None:
        if self.timed or self.parts:
            # The score line of this run is missing: the times belong to no inference that is known.
            self.found.latencies += [*self.parts, latency]
            self.parts = []
            return
        last = self.found.inferences[-1]
        self.found.inferences[-1] = dataclasses.replace(last, latencies=(*last.latencies, latency))
        self.timed = True


def parse(lines: Sequence[Line]) -> ParsedLog:
    reader = _Reader()
    reader.found.read(lines, reader.read)
    reader.end()
    return reader.found.close(NAME)
