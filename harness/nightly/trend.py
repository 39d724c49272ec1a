"""What got better and what got worse since an item ran last, or against its baseline. Judges nothing.

Only like is compared with like: the same data and fidelity, and a count in the same unit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.history.changes import COMPARED
from harness.measure.gates import EXACT_UNITS, FIGURES, MINIMUM_EFFECT
from harness.nightly.config import Job
from harness.nightly.schedule import Past
from harness.records.schema import ItemRecord
from harness.report.figures import flat_figures, grouped

if TYPE_CHECKING:
    from harness.history.store import History

LOOKED_BACK = 20
"""How many of an item's earlier runs are searched for one on the same data."""


@dataclass(frozen=True)
class Earlier:
    """What the history knows before the night: by item key, when it ran last, and its earlier records, the
    newest first. `trouble` says why nothing is known.
    """

    past: Mapping[str, Past]
    records: Mapping[str, Sequence[tuple[str, ItemRecord]]]
    trouble: str = ""


@dataclass(frozen=True)
class Trend:
    """What changed of an item since run `since`, a phrase each."""

    key: str
    since: str
    better: tuple[str, ...]
    worse: tuple[str, ...]


def recall(jobs: Sequence[Job], reports_root: Path, against: str) -> Earlier:
    """Reads the history; one that is out of order costs no night."""
    from harness.history.store import History, default_url  # a third of a second

    try:
        with History(default_url(reports_root)) as history:
            return _recall(jobs, history, against)
    except HarnessError as error:
        return Earlier({}, {}, f"nothing is known of earlier nights: {error}")


def _recall(jobs: Sequence[Job], history: History, against: str) -> Earlier:
    past: dict[str, Past] = {}
    records: dict[str, list[tuple[str, ItemRecord]]] = {}
    for job in jobs:
        entries = history.entries(job.model, target=job.target, runtime=job.runtime, last=LOOKED_BACK)
        entries = [entry for entry in reversed(entries) if entry.key == job.key]
        if entries:
            newest = history.record(entries[0])
            past[job.key] = Past(entries[0].started, newest.duration_s)
        if against == "baseline":
            baseline = history.baseline(job.key)
            entries = [baseline] if baseline else []
        records[job.key] = [(entry.run_id, history.record(entry)) for entry in entries]
    return Earlier(past, records)


def trend(now: ItemRecord, before: Sequence[tuple[str, ItemRecord]]) -> Trend | None:
    """The outcome beside that of the newest earlier run, the figures beside those of the newest that is like
    this one; None when nothing changed or nothing is known.
    """
    if not before:
        return None
    better: list[str] = []
    worse: list[str] = []
    since, last = before[0]
    if "passed" in (last.outcome, now.outcome) and last.outcome != now.outcome:
        (better if now.outcome == "passed" else worse).append(f"{last.outcome} -> {now.outcome}")
    like = next(((run, old) for run, old in before if _alike(old, now)), None)
    if like is not None:
        since, old = like
        for gained, said in _changes(old, now):
            (better if gained else worse).append(said)
    return Trend(now.key, since, tuple(better), tuple(worse)) if better or worse else None


def _changes(old: ItemRecord, now: ItemRecord) -> Iterator[tuple[bool, str]]:
    """(whether it is for the better, what changed) of each figure that did."""
    figures = flat_figures(old), flat_figures(now)
    for name, label in COMPARED.items():
        then, value = (each[name] for each in figures)
        if not isinstance(then, int | float) or not isinstance(value, int | float) or then == value:
            continue
        if not _within_noise(name, now, then, value):
            share = f" ({value / then - 1:+.2%})" if then else ""
            less_is_better = FIGURES[name].less_is_better
            yield (value < then) == less_is_better, f"{label} {_number(then)} -> {_number(value)}{share}"


def _alike(old: ItemRecord, now: ItemRecord) -> bool:
    if old.runtime_gap is None or now.runtime_gap is None:
        return False
    facts = [
        (
            record.provenance.get("data"),
            record.fidelity,
            record.counts.unit if record.counts else None,
            record.runtime_gap.samples if record.runtime_gap else None,
        )
        for record in (old, now)
    ]
    return facts[0] == facts[1]


def _within_noise(name: str, now: ItemRecord, then: float, value: float) -> bool:
    """A count that is not exact differs a little in every run."""
    exact = not FIGURES[name].counted or (now.counts is not None and now.counts.unit in EXACT_UNITS)
    return not exact and bool(then) and abs(value / then - 1) < MINIMUM_EFFECT


def _number(value: float) -> str:
    return grouped(value) if float(value).is_integer() else f"{value:.4g}"
