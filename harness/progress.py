"""Progress of long work: one line that rewrites itself on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TextIO

Progress = Callable[[int, int], None]
"""Called with how many are done and how many there are in all."""

Say = Callable[[str], None]
"""Called with a line of text for each step of work that takes seconds."""


def silent(line: str) -> None:
    """The `Say` of whoever has no one to tell."""


PLAIN_INTERVAL_S = 10.0
TERMINAL_INTERVAL_S = 0.1


class Writer(Protocol):
    """Where progress goes: pytest's terminal reporter, or `ConsoleWriter`."""

    def rewrite(self, line: str) -> None: ...

    def line(self, line: str) -> None: ...

    @property
    def terminal(self) -> bool: ...


class ProgressLine:
    """Turns (done, total) into "esp32c3-mnist_mlp-tflm  430/1000 inferences  212/s"."""

    def __init__(self, label: str, writer: Writer, unit: str = "inferences") -> None:
        self._label = label
        self._unit = unit
        self._writer = writer
        self._start = time.monotonic()
        self._next = self._start + (TERMINAL_INTERVAL_S if writer.terminal else PLAIN_INTERVAL_S)

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if done >= total:
            if self._writer.terminal:
                self._writer.rewrite("")
            return
        if now < self._next:
            return
        rate = done / (now - self._start)
        text = f"{self._label}  {done}/{total} {self._unit}  {rate:.0f}/s"
        if self._writer.terminal:
            self._next = now + TERMINAL_INTERVAL_S
            width = 24
            filled = width * done // max(total, 1)
            self._writer.rewrite(f"{text}  [{'#' * filled}{'.' * (width - filled)}]")
        else:
            self._next = now + PLAIN_INTERVAL_S
            self._writer.line(text)


class ConsoleWriter:
    """Progress on a text stream, usually standard error."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._width = 0

    @property
    def terminal(self) -> bool:
        return self._stream.isatty()

    def rewrite(self, line: str) -> None:
        self._stream.write(f"\r{line:<{self._width}}" + ("" if line else "\r"))
        self._stream.flush()
        self._width = len(line)

    def line(self, line: str) -> None:
        if self._width:
            self.rewrite("")
        self._stream.write(f"{line}\n")
        self._stream.flush()
