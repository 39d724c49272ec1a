"""What a firmware's printed log says, as plain frozen data: scores, latencies, profiles, verdicts.

Values stand as they were printed: a tick stays a tick, whole milliseconds stay whole milliseconds,
and what was not printed is None. Equality ignores in which line of the log a thing stood.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from harness.dialects.log import Line

Number = int | float


@dataclass(frozen=True)
class Latency:
    """`unit` is us, ms, cycle or ticks; None where the firmware prints a bare number."""

    label: str
    value: Number
    unit: str | None
    line: int = field(compare=False)


@dataclass(frozen=True)
class Inference:
    """One run of the network as far as its lines arrived.

    `scores` are in the order of the output; None stands for one whose line is missing. `score_unit`
    is real, percent, int8, or integer: of the output tensor, its type and scale not printed.
    `complete` means that the firmware's own end mark came and no score is missing. `line` is the
    first one's of its scores or, where that is printed, of its input. `input` is the first input
    element where the firmware prints it; `result` the class it announces, or `unknown`; `decimals` are
    those of real scores, where the firmware always prints as many.
    """

    scores: tuple[Number | None, ...]
    score_unit: str
    complete: bool
    line: int = field(compare=False)
    score_names: tuple[str, ...] = ()
    latencies: tuple[Latency, ...] = ()
    input: int | None = None
    result: str | None = None
    decimals: int | None = None


@dataclass(frozen=True)
class ProfileRow:
    """One layer, or one operator type where `kind` of the profile is tags."""

    name: str
    type: str | None
    value: int


@dataclass(frozen=True)
class Profile:
    """Where the time goes. `kind` is modules (ESP-DL), events or tags (TFLite Micro).

    `unit` is us, cycle or ticks. `total` is the firmware's own sum, None where it prints none or
    the table was cut off.
    """

    kind: str
    unit: str
    rows: tuple[ProfileRow, ...]
    total: int | None
    line: int = field(compare=False)
    model: str | None = None


@dataclass(frozen=True)
class MemoryRow:
    """Units of 1024 bytes, two decimals. None is an empty cell: less than 0.005 KB."""

    name: str
    internal_kb: float | None
    psram_kb: float | None
    flash_kb: float | None


@dataclass(frozen=True)
class MemoryTable:
    rows: tuple[MemoryRow, ...]
    line: int = field(compare=False)
    model: str | None = None
    location: str | None = None


@dataclass(frozen=True)
class Verdict:
    """One `Model::test()` of ESP-DL: the outputs it named before its end.

    `passed` is None where the log ends, or another test begins, before the verdict.
    """

    passed: bool | None
    outputs: tuple[str, ...]
    line: int = field(compare=False)
    reason: str | None = None


@dataclass(frozen=True)
class Note:
    """What a reader must know to trust the figures, in a sentence."""

    text: str
    line: int = field(compare=False)


@dataclass(frozen=True)
class ParsedLog:
    """All that one dialect finds in a log. `lines_used` are the lines it takes something from."""

    dialect: str
    inferences: tuple[Inference, ...] = ()
    latencies: tuple[Latency, ...] = ()
    profiles: tuple[Profile, ...] = ()
    memory: tuple[MemoryTable, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    notes: tuple[Note, ...] = ()
    lines_used: frozenset[int] = field(default=frozenset(), compare=False)

    @property
    def empty(self) -> bool:
        return not (self.inferences or self.latencies or self.profiles or self.memory or self.verdicts)


@dataclass
class Findings:
    """A `ParsedLog` while a dialect fills it, line by line."""

    inferences: list[Inference] = field(default_factory=list)
    latencies: list[Latency] = field(default_factory=list)
    profiles: list[Profile] = field(default_factory=list)
    memory: list[MemoryTable] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    lines_used: set[int] = field(default_factory=set)

    def note(self, line: int, text: str) -> None:
        self.notes.append(Note(text, line))

    def read(self, lines: Iterable[Line], take: Callable[[Line], bool]) -> None:
        """Shows each line to `take`, which says whether it had a use for it."""
        self.lines_used |= {line.number for line in lines if take(line)}

    def close(self, dialect: str) -> ParsedLog:
        return ParsedLog(
            dialect,
            tuple(self.inferences),
            tuple(self.latencies),
            tuple(self.profiles),
            tuple(self.memory),
            tuple(self.verdicts),
            tuple(self.notes),
            frozenset(self.lines_used),
        )
