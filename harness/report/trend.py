"""An item beside its earlier runs: which figures are better or worse than they were, and by how much.

Reads the trend in the item's record and nothing else. What fails a run is the gates' affair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median

from harness.measure.gates import MINIMUM_EFFECT
from harness.records.schema import ItemRecord, Night, RunRecord
from harness.report.figures import VERDICTS, byte_size, count_unit, decibels, grouped, percent

LEAST_NIGHTS = 5
WINDOW = 10


@dataclass(frozen=True)
class Figure:
    """One figure that is followed over runs; `value` gives None where it is not known or means nothing.

    `of_data`: other inputs give another value. `counted`: is in the unit of the device's counter.
    """

    name: str
    value: Callable[[Night], float | None]
    show: Callable[[float | None], str]
    more_is_better: bool = False
    of_data: bool = True
    counted: bool = False


def _lsb(value: float | None) -> str:
    return f"{grouped(value)}\u00a0LSB"


def _bytes(value: float | None) -> str:
    return byte_size(None if value is None else int(value))


def _exact(night: Night) -> bool:
    return (night.count_unit or "").startswith("instructions")


def _count(night: Night) -> float | None:
    """On an emulator only instructions mean something, and no two runs compare on this computer."""
    return night.count_median if _exact(night) or night.fidelity == "silicon" else None


def _snr(night: Night) -> float | None:
    """Of what is no classes: those are compared by their agreement."""
    return night.snr_db if night.agreement is None else None


FIGURES = (
    Figure("runtime gap", lambda night: night.max_lsb, _lsb),
    Figure("per inference", _count, grouped, counted=True),
    Figure("top-1", lambda night: night.top1, percent, more_is_better=True),
    Figure("agreement", lambda night: night.agreement, percent, more_is_better=True),
    Figure("SNR to float", _snr, decibels, more_is_better=True),
    Figure("flash", lambda night: night.flash_bytes, _bytes, of_data=False),
    Figure("arena", lambda night: night.arena_bytes, _bytes, of_data=False),
)


@dataclass(frozen=True)
class Change:
    """Something that is not as it was, in words: "per inference 867 179 → 893 194 (+3.00 %)"."""

    text: str
    worse: bool

    @property
    def word(self) -> str:
        return "worse" if self.worse else "better"


@dataclass(frozen=True)
class Changes:
    """What is `found` to differ in an item since run `before`: its baseline, or the last comparable one."""

    item: ItemRecord
    before: Night
    baseline: bool
    found: tuple[Change, ...]

    @property
    def since(self) -> str:
        return f"{'baseline' if self.baseline else 'run'} {self.before.run_id}"

    @property
    def worse(self) -> bool:
        return any(change.worse for change in self.found)


def present(run: RunRecord, item: ItemRecord) -> Night:
    """The item itself as the last night of its trend."""
    unit, memory, gap = count_unit(item), item.memory, item.quantisation_gap
    return Night(
        run_id=run.run_id,
        started=run.started,
        outcome=item.outcome,
        commit=run.host.get("commit"),
        board=item.board,
        fidelity=item.fidelity,
        data=item.provenance.get("data"),
        samples=item.runtime_gap.samples if item.runtime_gap else None,
        max_lsb=item.runtime_gap.max_lsb if item.runtime_gap else None,
        top1=item.accuracy.device if item.accuracy else None,
        agreement=gap.agreement if gap else None,
        snr_db=gap.snr_db if gap else None,
        count_unit=item.counts.unit if item.counts and unit else None,
        count_median=item.counts.median if item.counts and unit else None,
        flash_bytes=memory.flash_bytes if memory else None,
        arena_bytes=memory.arena_bytes if memory else None,
    )


def comparable(figure: Figure, one: Night, other: Night) -> bool:
    """Whether a difference in `figure` between two runs says something: they ran at the same fidelity, on the
    same inputs, and counted the same; what is no exact count also on the same board.
    """
    if one.fidelity != other.fidelity:
        return False
    if figure.of_data and (one.data, one.samples) != (other.data, other.samples):
        return False
    return not figure.counted or (
        one.count_unit == other.count_unit and (_exact(one) or one.board == other.board)
    )


def got_worse(figure: Figure, before: Night, after: Night) -> bool | None:
    """True or False where `figure` differs for the worse or the better; None where it does not, or by no more
    than a count that is not exact differs by itself.
    """
    old, new = figure.value(before), figure.value(after)
    if old is None or new is None or old == new or not comparable(figure, before, after):
        return None
    if figure.counted and not _exact(after) and abs(new - old) <= MINIMUM_EFFECT * old:
        return None
    return (new < old) == figure.more_is_better


def stands_out(figure: Figure, before: Sequence[Night], night: Night) -> bool:
    """Whether a run is worse than the comparable ones `before` it.

    What is exact, than the last of them. What is not, than their median by more than `MINIMUM_EFFECT` and by
    more than three standard deviations, as the median absolute deviation of at least `LEAST_NIGHTS` gives it.
    """
    if not before:
        return False
    if not figure.counted or _exact(night):
        return got_worse(figure, before[-1], night) is True
    values = [value for each in before[-WINDOW:] if (value := figure.value(each)) is not None]
    now = figure.value(night)
    if len(values) < LEAST_NIGHTS or now is None:
        return False
    middle = median(values)
    deviation = 1.4826 * median(abs(value - middle) for value in values)
    return now - middle > max(MINIMUM_EFFECT * middle, 3 * deviation)


def followed(figure: Figure, earlier: Sequence[Night], now: Night) -> Iterator[tuple[Night, str]]:
    """The runs that a plot of `figure` shows, oldest first and `now` the last, each with what it is: passed,
    failed, worse, or elsewhere, which is on another board than this one's.
    """
    own: list[Night] = []
    for night in (*earlier, now):
        if figure.value(night) is None:
            continue
        if comparable(figure, night, now):
            yield night, "worse" if stands_out(figure, own, night) else night.outcome
            own.append(night)
        elif comparable(figure, replace(night, board=now.board), now):
            yield night, "elsewhere"


def compared_with(item: ItemRecord, now: Night, baseline: bool) -> Night | None:
    """The baseline, where one is wanted and there, or else the last run before this one that ran to its
    end: at the same fidelity and, if any did, on the same inputs.
    """
    if item.trend is None:
        return None
    if baseline and item.trend.baseline is not None:
        return item.trend.baseline
    ended = [night for night in reversed(item.trend.nights) if night.outcome != "error"]
    like = [night for night in ended if now.fidelity in (None, night.fidelity)]
    alike = [night for night in like if (night.data, night.samples) == (now.data, now.samples)]
    return next(iter([*alike, *like]), None)


def changes(run: RunRecord, item: ItemRecord, *, baseline: bool = True) -> Changes | None:
    """What is not as it was in an item; None where no earlier run of it is known.

    Figures are compared with the item's baseline, if there is one and `baseline`, else with the last run
    that compares; so is the verdict, but there with the very last run, also one that broke.
    """
    now = present(run, item)
    if item.trend is None:
        return None
    before = compared_with(item, now, baseline)
    against_baseline = before is not None and before is item.trend.baseline
    last = before if against_baseline else next(reversed(item.trend.nights), None)
    if last is None:
        return None
    found = [*_verdict(last, now), *(_figures(before, now) if before else ())]
    return Changes(item, before or last, against_baseline, tuple(found))


def _verdict(before: Night, now: Night) -> Iterator[Change]:
    if before.outcome != now.outcome:
        severity = dict(zip(VERDICTS, range(len(VERDICTS)), strict=True))
        worse = severity.get(now.outcome, len(severity)) > severity.get(before.outcome, len(severity))
        yield Change(f"verdict {before.outcome} → {now.outcome}", worse)


def _figures(before: Night, now: Night) -> Iterator[Change]:
    for figure in FIGURES:
        if (worse_now := got_worse(figure, before, now)) is not None:
            old, new = figure.value(before) or 0.0, figure.value(now) or 0.0
            if figure.show is decibels:
                difference = f"{new - old:+.2f} dB"
            elif figure.more_is_better:
                difference = f"{(new - old) * 100:+.2f} points"
            else:
                difference = f"{new / old - 1:+.2%}" if old else f"{new - old:+g}"
            text = f"{figure.name} {figure.show(old)} → {figure.show(new)} ({difference})"
            yield Change(text, worse_now)
