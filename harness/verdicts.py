"""The measurements of one item judged: those its model declares, and the target's memory.

Brings the record, the model's declarations and the history's baseline together; the arithmetic is in
`harness.measure.gates`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import HarnessError
from harness.items import Item
from harness.measure.gates import BASELINE_NIGHTS, UNSET, Declared, Measured, judge, pooled
from harness.records.schema import ItemRecord, Measurement, Sample
from harness.report.figures import flat_figures
from harness.targets import Target

if TYPE_CHECKING:
    from harness.history.store import Entry, History


def memory_budget(target: Target, stack_bytes: int | None) -> tuple[Declared, ...]:
    """What every item must fit into; a model's own max of the same figure stands in its place."""
    budget = (
        (
            "RAM budget",
            "memory_ram_bytes",
            target.sram_bytes - (stack_bytes or 0),
            "on-chip RAM less the stack",
        ),
        ("flash budget", "memory_flash_bytes", target.flash_bytes, "the flash of a small module"),
        ("stack budget", "memory_stack_used_bytes", stack_bytes, "the stack that the image reserves"),
    )
    return tuple(
        Declared(name, figure, "bytes", doc, maximum=float(limit))
        for name, figure, limit, doc in budget
        if limit
    )


def measured(record: ItemRecord, samples: Sequence[Sample]) -> Measured:
    """What a finished item knows, for the gates."""
    counts = [sample.count for sample in samples if sample.count is not None]
    return Measured(
        flat_figures(record), record.fidelity, record.provenance.get("data"), np.array(counts, np.int64)
    )


def judged(
    item: Item, record: ItemRecord, samples: Sequence[Sample], reports: Path
) -> tuple[Measurement, ...]:
    """Every measurement of an item, in the order they are declared, the memory's last.

    The history is opened only where something is to be compared with a baseline. One that cannot be read
    leaves those measurements UNSET, with its reason. `reports` is where the history lies by default.
    """
    scoped = [each.declared for each in item.model.measurements if each.holds(item.target.id, item.runtime)]
    now = measured(record, samples)
    baseline, trouble = None, ""
    if any(declared.regression is not None for declared in scoped):
        try:
            baseline = _baseline(item, reports)
        except HarnessError as error:
            trouble = str(error)
    stack_bytes = record.memory.stack_bytes if record.memory else None
    found = [judge(declared, now, baseline) for declared in scoped]
    if trouble:
        found = [dataclasses.replace(one, reason=trouble) if one.verdict == UNSET else one for one in found]
    own = {declared.figure for declared in scoped if declared.maximum is not None}
    budget = [one for one in memory_budget(item.target, stack_bytes) if one.figure not in own]
    memory = [judge(declared, now, None) for declared in budget]
    # An attached board whose image was not built here has no sizes: nothing to say, not UNSET.
    return (*found, *(one for one in memory if one.verdict != UNSET))


def _baseline(item: Item, reports: Path) -> Measured | None:
    """The item's baseline; on silicon with the passed runs on the same board and data that followed it."""
    from harness.history.store import History, default_url  # a third of a second, only where it is needed

    with History(default_url(reports)) as history:
        first = history.baseline(item.key)
        if first is None:
            return None
        nights = [_night(history, first)]
        if first.fidelity != "silicon" or not nights[0].counts.size:
            return nights[0]
        later = history.entries(item.model.name, target=item.target.id, board=first.board)
        for entry in later:
            fit = (entry.key, entry.outcome, entry.count_unit) == (first.key, "passed", first.count_unit)
            if fit and entry.id != first.id and entry.started >= first.started:
                nights.append(_night(history, entry))
            if len(nights) == BASELINE_NIGHTS:
                break
        return pooled([night for night in nights if night.data == nights[0].data])


def _night(history: History, entry: Entry) -> Measured:
    record = history.record(entry)
    return dataclasses.replace(measured(record, ()), counts=history.counts(entry), run_id=entry.run_id)
