"""A run as a short Markdown page, for a CI job's summary or a merge request: verdicts, what went wrong, what
got better or worse. Not the whole report.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness.records.schema import ItemRecord, RunRecord
from harness.report import divergence, trend
from harness.report.figures import (
    DASH,
    ISA_NOTICE,
    VERDICTS,
    byte_size,
    closeness,
    count_unit,
    duration,
    grouped,
    measurement,
    percent,
    runtime_gap,
    runtime_label,
    verdict_sentence,
)

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&])")
_COLUMNS = (
    "verdict",
    "target",
    "model",
    "runtime",
    "runtime gap",
    "agreement or SNR",
    "top-1 (float)",
    "median per inference",
    "flash",
    "arena",
    "since before",
)


def escape(text: str) -> str:
    """Text that Markdown and HTML take literally, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def summary_md(run: RunRecord) -> str:
    """Verdict, one table row per item, what went wrong, what changed since the baseline or the last run."""
    lines = [f"# Run {escape(run.run_id)}: {verdict_sentence(run)}", ""]
    lines += [f"Started {escape(run.started)}, took {duration(run.duration_s)}: {escape(run.command)}", ""]
    if not run.ended:
        lines += ["> Broken off: this run was killed before it was through.", ""]
    lines += [
        _row(_COLUMNS),
        _row(("---",) * len(_COLUMNS)),
        *(_row(_cells(run, item)) for item in run.items),
    ]
    for item in run.items:
        if reasons := list(_reasons(item)):
            lines += ["", f"## {escape(item.key)}", "", *(f"- {escape(reason)}" for reason in reasons)]
    if changed := list(_changed(run)):
        lines += ["", "## What changed", "", *changed]
    if any(item.fidelity == "isa" for item in run.items):
        lines += ["", f"> {ISA_NOTICE}"]
    return "\n".join(lines) + "\n"


def _reasons(item: ItemRecord) -> Iterator[str]:
    yield from item.failures
    if item.error:
        yield item.error
    for one in item.measurements:
        if one.verdict == "UNSET":
            yield f"{one.name}: {measurement(one)}"
    if item.divergence:
        for name, text in divergence.lines(item.divergence):
            yield f"{name}: {text}"


def _changed(run: RunRecord) -> Iterator[str]:
    """A line for each change, what got worse first; items in which nothing did are counted."""
    known = [found for item in run.items if (found := trend.changes(run, item)) is not None]
    every = [(found, change) for found in known for change in found.found]
    for found, change in sorted(every, key=lambda pair: not pair[1].worse):
        word = f"**{change.word}**" if change.worse else change.word
        yield f"- {word} {escape(found.item.key)}: {escape(change.text)} since {escape(found.since)}"
    if same := sum(not found.found for found in known):
        yield f"- no change in {same} of {len(run.items)}"


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(run: RunRecord, item: ItemRecord) -> tuple[str, ...]:
    quantisation, accuracy, memory = item.quantisation_gap, item.accuracy, item.memory
    unit = count_unit(item)
    top1 = f"{percent(accuracy.device)} ({percent(accuracy.reference)})" if accuracy else DASH
    return (
        VERDICTS.get(item.outcome, escape(item.outcome)),
        escape(item.target),
        escape(item.model),
        escape(runtime_label(item).removesuffix("/portable")),
        runtime_gap(item),
        closeness(quantisation),
        top1,
        f"{grouped(item.counts.median)} {escape(unit)}" if item.counts and unit else DASH,
        byte_size(memory.flash_bytes if memory else None),
        byte_size(memory.arena_bytes if memory else None),
        _since(run, item),
    )


def _since(run: RunRecord, item: ItemRecord) -> str:
    changes = trend.changes(run, item)
    if changes is None:
        return DASH if item.trend is None else "first run"
    if changes.worse:
        return "**worse**"
    return "better" if changes.found else "same"
