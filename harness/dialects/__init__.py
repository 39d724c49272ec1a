"""What firmware that does not speak this project's protocol prints, read from a captured log.

A dialect is one kind of such firmware: one module here and one line in `DIALECTS`. Nothing is
computed from the values; comparing is harness/measure's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.dialects import espdl, espdl_v1, himax, tflm, tutorial0, tvm
from harness.dialects.log import Line, Log, read_log
from harness.dialects.records import Note, ParsedLog
from harness.errors import DataError, UsageError


@dataclass(frozen=True)
class Dialect:
    """`signs` tells whether a line is of a form only this firmware has; one is enough.

    `runtime` is what such firmware runs its network in.
    """

    name: str
    summary: str
    runtime: str
    signs: Callable[[Line], bool]
    parse: Callable[[Sequence[Line]], ParsedLog]


DIALECTS: dict[str, Dialect] = {
    module.NAME: Dialect(module.NAME, module.SUMMARY, module.RUNTIME, module.signs, module.parse)
    for module in (tutorial0, espdl_v1, espdl, tflm, tvm, himax)
}


def get_dialect(name: str) -> Dialect:
    """The dialect called `name`. Raises UsageError that lists the known ones."""
    if name not in DIALECTS:
        known = f"{', '.join(DIALECTS)}; harness run and pytest also speak mlperf"
        raise UsageError(f"unknown dialect '{name}'", f"Known: {known}")
    return DIALECTS[name]


def parse_log(data: bytes, dialect: str | None = None) -> ParsedLog:
    """Reads a log as `dialect`, or as the one that fits.

    Raises:
        UsageError: there is no such dialect.
        DataError: nothing known is in the log, or lines of several dialects.
    """
    known = get_dialect(dialect) if dialect is not None else None
    log = read_log(data)
    parsed = known.parse(log.lines) if known else _recognise(log)
    if parsed.empty:
        raise DataError(f"expected lines of dialect {parsed.dialect}, came none", _known())
    return _with_cut_line(parsed, log)


def whole_inferences(parsed: ParsedLog, count: int | None = None) -> ParsedLog:
    """Without an inference cut off at the beginning or the end, as a console read for a time has them,
    and only the first `count`. One that is broken between whole ones stays.
    """
    kept = list(parsed.inferences)
    cut = [kept.pop(at) for at in (0, -1) if kept and not kept[at].complete]
    notes = tuple(Note("an inference that is cut off is left out", found.line) for found in cut)
    return dataclasses.replace(parsed, inferences=tuple(kept[:count]), notes=(*parsed.notes, *notes))


def _recognise(log: Log) -> ParsedLog:
    """The dialect that accounts for every line which any recognised one accounts for.

    tutorial0 and espdl print espdl-v1's latency lines too, so that several fit is no doubt yet.
    """
    signed = [dialect for dialect in DIALECTS.values() if any(map(dialect.signs, log.lines))]
    parsed = [found for found in (dialect.parse(log.lines) for dialect in signed) if not found.empty]
    if not parsed:
        raise DataError("expected scores, latencies or profiles of a known firmware, came none", _known())
    used = frozenset[int]().union(*(found.lines_used for found in parsed))
    whole = [found for found in parsed if found.lines_used == used]
    if len(whole) != 1:
        names = ", ".join(f"{found.dialect} ({len(found.lines_used)} lines)" for found in parsed)
        raise DataError(f"expected a log of one firmware, came lines of {names}", f"Choose one. {_known()}")
    return whole[0]


def _with_cut_line(parsed: ParsedLog, log: Log) -> ParsedLog:
    """With a note where the last line would have counted, had it been whole."""
    if log.cut is None:
        return parsed
    with_it = DIALECTS[parsed.dialect].parse([*log.lines, log.cut])
    if log.cut.number not in with_it.lines_used:
        return parsed
    note = Note("the last line has no line end and may be cut short: it is not read", log.cut.number)
    return dataclasses.replace(parsed, notes=(*parsed.notes, note))


def _known() -> str:
    return f"Known: --dialect {', '.join(DIALECTS)} (docs/dialects.md)"
