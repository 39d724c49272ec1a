"""What changed between two items: figures, and whatever of their provenance could explain it.

Compares two records; it judges nothing. Whether a change is a regression is for the gates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.records.schema import ItemRecord
from harness.report.figures import flat_figures

COMPARED = {
    "runtime_gap_max_lsb": "runtime gap, LSB",
    "top1_device": "top-1 on the device",
    "quantisation_gap_agreement": "agreement with float",
    "quantisation_gap_snr_db": "SNR to float, dB",
    "reconstruction_auc_device": "AUC on the device",
    "reconstruction_mse_device": "reconstruction error on the device",
    "quantisation_gap_max_abs": "max |difference| to float",
    "count_median": "median per inference",
    "count_p90": "p90 per inference",
    "count_p99": "p99 per inference",
    "latency_us_median": "median time, us",
    "latency_us_p90": "p90 of the time, us",
    "latency_us_p99": "p99 of the time, us",
    "memory_flash_bytes": "flash, bytes",
    "memory_ram_bytes": "static RAM, bytes",
    "memory_arena_bytes": "arena, bytes",
    "memory_stack_used_bytes": "stack used, bytes",
}
"""Figures of `report.figures.flat_figures` that are compared, and what they are called."""

NOISE = 0.01
"""What a time or a cycle count on silicon may change by without being called a change."""

ALWAYS_NEW = ("device_uptime_us", "board_pid", "board_port")
"""Provenance that differs between any two runs and explains nothing."""


@dataclass(frozen=True)
class Change:
    """One figure or fact before and after; None: not known."""

    name: str
    before: str | float | None
    after: str | float | None

    @property
    def ratio(self) -> float | None:
        """after / before - 1, where both are numbers and before is not 0."""
        before, after = self.before, self.after
        if isinstance(before, str) or isinstance(after, str) or not before or after is None:
            return None
        return after / before - 1


@dataclass(frozen=True)
class Difference:
    """`figures` that differ, `causes`: provenance that differs, the same for unchanged figures too."""

    key: str
    outcome: tuple[str, str]
    figures: tuple[Change, ...]
    layers: tuple[Change, ...]
    causes: tuple[Change, ...]

    @property
    def nothing(self) -> bool:
        return not self.figures and self.outcome[0] == self.outcome[1]


def difference(
    before: ItemRecord,
    after: ItemRecord,
    host_before: Mapping[str, str] | None = None,
    host_after: Mapping[str, str] | None = None,
) -> Difference:
    """Everything that is not equal; the hosts' facts count as provenance of their items."""
    old, new = flat_figures(before), flat_figures(after)
    figures = [
        change
        for name in COMPARED
        if _changed(name, change := Change(COMPARED[name], old[name], new[name]), before, after)
    ]
    facts = [{**(host_before or {}), **before.provenance}, {**(host_after or {}), **after.provenance}]
    if before.board != after.board:
        facts[0]["board"], facts[1]["board"] = before.board or "", after.board or ""
    names = sorted(set(facts[0]) | set(facts[1]))
    causes = [
        Change(name, facts[0].get(name), facts[1].get(name))
        for name in names
        if name not in ALWAYS_NEW and facts[0].get(name) != facts[1].get(name)
    ]
    return Difference(
        after.key,
        (before.outcome, after.outcome),
        tuple(figures),
        tuple(_layers(before, after)),
        tuple(causes),
    )


def _changed(name: str, change: Change, before: ItemRecord, after: ItemRecord) -> bool:
    """Times mean something on silicon only, where neither they nor cycles are ever quite the same."""
    timed, counted = name.startswith("latency_us"), name.startswith("count_")
    silicon = before.fidelity == after.fidelity == "silicon"
    if timed and not silicon:
        return False
    if silicon and (timed or counted) and change.ratio is not None:
        return abs(change.ratio) > NOISE
    return change.before != change.after


def _layers(before: ItemRecord, after: ItemRecord) -> list[Change]:
    """Layers whose count changed, the largest change first; none if the networks differ in layers."""
    if [layer.op for layer in before.layers] != [layer.op for layer in after.layers]:
        return []
    changes = [
        Change(f"layer {new.index} {new.op}", old.count, new.count)
        for old, new in zip(before.layers, after.layers, strict=True)
        if old.count != new.count
    ]
    return sorted(changes, key=lambda change: -abs(float(change.after or 0) - float(change.before or 0)))
