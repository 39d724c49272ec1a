"""A run as a short Markdown page, for a CI job's summary or a merge request. Not the whole report."""

from __future__ import annotations

import re

from harness.records.schema import ItemRecord, RunRecord
from harness.report import divergence
from harness.report.figures import (
    DASH,
    ISA_NOTICE,
    VERDICTS,
    byte_size,
    count_range,
    duration,
    layers_checked,
    measurement,
    percent,
    runtime_gap,
    runtime_label,
    small,
    verdict_sentence,
)

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&])")
_COLUMNS = (
    "verdict",
    "target",
    "model",
    "runtime",
    "fidelity",
    "runtime gap",
    "layers checked",
    "agreement",
    "max abs. difference",
    "top-1 device / oracle / float",
    "per inference: median [min … max]",
    "flash",
    "arena",
    "stack",
)


def escape(text: str) -> str:
    """Text that Markdown and HTML take literally, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def summary_md(run: RunRecord) -> str:
    """Verdict, the notice on emulated counts, one table row per item, then what went wrong."""
    lines = [f"# Run {escape(run.run_id)}: {verdict_sentence(run)}", ""]
    lines += [f"Started {escape(run.started)}, took {duration(run.duration_s)}: {escape(run.command)}", ""]
    if not run.ended:
        lines += ["> Broken off: this run was killed before it was through.", ""]
    if any(item.fidelity == "isa" for item in run.items):
        lines += [f"> {ISA_NOTICE}", ""]
    lines += [_row(_COLUMNS), _row(("---",) * len(_COLUMNS)), *(_row(_cells(item)) for item in run.items)]
    for item in run.items:
        reasons = [*item.failures, *([item.error] if item.error else [])]
        unset = [one for one in item.measurements if one.verdict == "UNSET"]
        reasons += [f"{one.name}: {measurement(one)}" for one in unset]
        if item.divergence:
            reasons += [f"{name}: {text}" for name, text in divergence.lines(item.divergence)]
        if reasons:
            lines += ["", f"## {escape(item.key)}", "", *(f"- {escape(reason)}" for reason in reasons)]
    return "\n".join(lines) + "\n"


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(item: ItemRecord) -> tuple[str, ...]:
    quantisation, accuracy, memory = item.quantisation_gap, item.accuracy, item.memory
    top1 = (accuracy.device, accuracy.oracle, accuracy.reference) if accuracy else (None, None, None)
    stack = memory.stack_used_bytes if memory else None
    return (
        VERDICTS.get(item.outcome, escape(item.outcome)),
        escape(item.target),
        escape(item.model),
        escape(runtime_label(item)),
        escape(item.fidelity or DASH),
        runtime_gap(item),
        layers_checked(item),
        percent(quantisation.agreement if quantisation else None),
        small(quantisation.max_abs if quantisation else None),
        " / ".join(percent(share) for share in top1),
        escape(count_range(item)),
        byte_size(memory.flash_bytes if memory else None),
        byte_size(memory.arena_bytes if memory else None),
        byte_size(stack),
    )
