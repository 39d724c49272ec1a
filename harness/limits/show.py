"""Limits as a table with its explanations, and as plain values for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.table import Table

from harness.fit.verdict import SDK_APP_BYTES
from harness.limits.find import Limit
from harness.limits.probe import Probe, Verdict

COLUMNS = ("", "largest that works", "first that does not", "ended by")


def table(limits: Sequence[Limit]) -> Table:
    """One row for each search."""
    shown = Table(*COLUMNS, box=box.SIMPLE_HEAD)
    for limit in limits:
        shown.add_row(
            limit.family.what,
            _short(limit, limit.largest) if limit.largest else "none",
            _short(limit, limit.first) if limit.first else f"none up to {limit.family.largest}",
            _ended(limit.first) if limit.first else "",
        )
    return shown


def explanations(limit: Limit) -> list[str]:
    """What was searched, what ended it, what would mend that, and how each side of the answer is known."""
    family = limit.family
    lines = [f"{family.what}: {family.told}"]
    for label, verdict in (("works", limit.largest), ("does not", limit.first)):
        if verdict is not None:
            lines.append(f"  {label:<8}  {verdict.size} {family.unit}: {_known(verdict)}")
    need = limit.first.ends if limit.first else None
    if need is not None:
        figures = f"{need.needed_bytes:,} bytes needed, {need.available_bytes:,} there"
        lines += [f"  ended by  {need.resource}: {figures}", f"  mend      {need.mend}"]
    return lines


def footnote(probe: Probe, built: bool) -> str:
    """What of all this was counted and what ran."""
    vendor = probe.kernels == "vendor"
    app = f"The app partition is counted: {SDK_APP_BYTES:,} bytes of ESP-IDF, as published for one app, and"
    network = "the network's weights and code"
    if vendor:
        network = "the network's weights" if probe.apart else "the network's file"
    if not built:
        return f"{app} {network}. RAM by the memory map (harness/targets.toml). Nothing was built."
    if vendor:
        taken = "one block there holds our plan of the arena, not TFLM's own"
        if probe.apart:
            taken = "activations are taken there as Espressif's library takes them"
        return (
            f"{app} {network}. RAM is what the emulated firmware found: its heap has the chip's regions, and "
            f"{taken}; the portable kernels computed."
        )
    return f"{app} {network} as built. RAM is what the linker said: it had the chip's static RAM."


def plain(limit: Limit) -> dict[str, Any]:
    """For programs."""
    return {
        "what": limit.family.name,
        "unit": limit.family.unit,
        "networks": limit.family.told,
        "largest": _plain(limit.largest),
        "first": _plain(limit.first),
    }


def _plain(verdict: Verdict | None) -> dict[str, Any] | None:
    if verdict is None:
        return None
    return {**asdict(verdict), "works": verdict.works, "ends": asdict(verdict.ends) if verdict.ends else None}


def _short(limit: Limit, verdict: Verdict) -> str:
    image = "x".join(map(str, verdict.input))
    if limit.family.name == "parameters":
        return f"{verdict.parameters:,}"
    return image if limit.family.name == "input" else f"{verdict.size} ({image})"


def _ended(first: Verdict) -> str:
    if first.ends is not None:
        return first.ends.resource.partition(" (")[0]
    assert first.outcome is not None
    if first.outcome.wrong:
        return "WRONG RESULTS"
    _, _, who = first.outcome.refusal.partition("; ")
    return who.partition(":")[0]


def _known(verdict: Verdict) -> str:
    outcome = verdict.outcome
    if outcome is None:
        return "by the memory map"
    if outcome.refusal:
        return outcome.refusal
    if outcome.wrong:
        return f"built, ran in QEMU and is WRONG: {outcome.wrong}"
    ran = f"built, ran in QEMU, {outcome.layers} layers 0 LSB"
    return ran if verdict.works else f"{ran}; too large by the count alone"
