"""Progress lines: rewritten on a terminal, rare and plain elsewhere."""

from __future__ import annotations

import io

import pytest

from harness import progress
from harness.progress import ConsoleWriter, ProgressLine


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that progress sees; a test sets its only element."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_terminal_gets_one_line_that_is_wiped_at_the_end(clock: list[float]) -> None:
    stream = Terminal()
    line = ProgressLine("item", ConsoleWriter(stream))
    line(1, 100)
    clock[0] += 2
    line(50, 100)
    clock[0] += 0.01
    line(51, 100)
    line(100, 100)
    shown = [part.rstrip() for part in stream.getvalue().split("\r") if part.strip()]
    assert shown == ["item  50/100 inferences  25/s  [############............]"]
    assert "\n" not in stream.getvalue()
    assert stream.getvalue().endswith("\r")


def test_elsewhere_there_is_a_plain_line_every_ten_seconds(clock: list[float]) -> None:
    stream = io.StringIO()
    line = ProgressLine("item", ConsoleWriter(stream))
    for done in range(1, 26):
        clock[0] += 1
        line(done, 25)
    assert stream.getvalue() == "item  10/25 inferences  1/s\nitem  20/25 inferences  1/s\n"
