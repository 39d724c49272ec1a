"""The history on the terminal: a model's nights, and two runs side by side. Plain lines, one per fact."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.history.blame import board_or_commit
from harness.history.changes import Change, Difference
from harness.history.store import Entry
from harness.report.figures import DASH, byte_size, grouped, percent
from harness.report.terminal import plain

BARS = "▁▂▃▄▅▆▇█"
WIDTH_OF_NAMES = 28
MOST_LAYERS = 3


def nights(entries: Sequence[Entry]) -> Iterator[str]:
    """One block per item key, oldest first: date, run, commit, verdict, figures, change of the count."""
    for key in dict.fromkeys(entry.key for entry in entries):
        rows = [entry for entry in entries if entry.key == key]
        medians = [row.count_median for row in rows if row.count_median is not None]
        yield f"{plain(key)}  {sparkline(medians)}"
        before: float | None = None
        for row in rows:
            yield f"  {_night(row, before)}"
            before = row.count_median if row.count_median is not None else before
        if verdict := board_or_commit(rows):
            yield f"  {verdict}"


def _night(row: Entry, before: float | None) -> str:
    step = ""
    if before and row.count_median is not None and row.count_median != before:
        step = f" ({row.count_median / before - 1:+.2%})"
    unit = plain(row.count_unit or "")
    lsb = DASH if row.max_lsb is None else str(row.max_lsb)
    return (
        f"{row.started[:16]}  {plain(row.run_id):<20} {plain(row.commit_id or DASH):<14} {row.outcome:<7} "
        f"{lsb} LSB  top-1 {percent(row.top1)}  {grouped(row.count_median)} {unit}{step}  "
        f"{_time(row)}flash {byte_size(row.flash_bytes)}"
    )


def _time(row: Entry) -> str:
    """p50, p90 and p99 where the device's clock is one: on silicon, and on this computer."""
    if row.time_us_median is None:
        return ""
    figures = " ".join(grouped(value) for value in (row.time_us_median, row.time_us_p90, row.time_us_p99))
    return f"p50 p90 p99 {figures} us{' of this computer' if row.fidelity == 'host' else ''}  "


def sparkline(values: Sequence[float]) -> str:
    """One character a value, the lowest of them the lowest bar; "" for fewer than two."""
    if len(values) < 2:
        return ""
    low, span = min(values), max(values) - min(values)
    return "".join(BARS[round((value - low) / span * 7) if span else 0] for value in values)


def differences(found: Sequence[Difference]) -> Iterator[str]:
    """What changed, item by item; items in which nothing did are only counted."""
    same = [one for one in found if one.nothing]
    for one in found:
        if one.nothing:
            continue
        verdict = "" if one.outcome[0] == one.outcome[1] else f": {one.outcome[0]} -> {one.outcome[1]}"
        yield f"{plain(one.key)}{verdict}"
        for change in one.figures:
            yield f"  {_change(change)}"
        for change in one.layers[:MOST_LAYERS]:
            yield f"    {_change(change)}"
        for cause in one.causes:
            yield f"  since: {plain(cause.name)} {_fact(cause.before)} -> {_fact(cause.after)}"
        if not one.causes:
            yield "  since: nothing that the records hold; same artifact, firmware, tools and host"
    if same:
        yield f"unchanged: {', '.join(plain(one.key) for one in same)}"


def _change(change: Change) -> str:
    ratio = f" ({change.ratio:+.2%})" if change.ratio is not None else ""
    return f"{change.name:<{WIDTH_OF_NAMES}}{_number(change.before)} -> {_number(change.after)}{ratio}"


def _number(value: str | float | None) -> str:
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, float) and not value.is_integer():
        return f"{value:.6g}"
    return grouped(value)


def _fact(value: str | float | None) -> str:
    return DASH if value is None else plain(str(value))
