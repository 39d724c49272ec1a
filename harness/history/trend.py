"""An item's earlier runs as its record keeps them. What they mean is the report's business."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.history.store import Entry, History
from harness.records.schema import ItemRecord, Night, Trend

NIGHTS = 30
"""As many as a plot can show and a reader can compare."""


def trend(history: History, item: ItemRecord, run_id: str) -> Trend:
    """The last `NIGHTS` runs of an item before run `run_id`, on any board, and its baseline.

    Raises:
        OutputError: the history cannot be used.
    """
    # Other kernels of the same runtime, and this run itself, may lie among them.
    entries = history.entries(item.model, target=item.target, runtime=item.runtime, last=3 * NIGHTS)
    earlier = [entry for entry in entries if entry.key == item.key and entry.run_id != run_id][-NIGHTS:]
    kept = history.baseline(item.key)
    records = history.plain_records([*earlier, *([kept] if kept else [])])
    nights = tuple(_night(entry, records[entry.id]) for entry in earlier)
    return Trend(nights, _night(kept, records[kept.id]) if kept else None)


def _night(entry: Entry, record: Mapping[str, Any]) -> Night:
    gap = record["runtime_gap"]
    return Night(
        run_id=entry.run_id,
        started=entry.started,
        outcome=entry.outcome,
        commit=entry.commit_id,
        board=entry.board,
        fidelity=entry.fidelity,
        data=record["provenance"].get("data"),
        samples=gap["samples"] if gap else None,
        max_lsb=entry.max_lsb,
        top1=entry.top1,
        agreement=entry.agreement,
        snr_db=(record["quantisation_gap"] or {}).get("snr_db"),
        count_unit=entry.count_unit,
        count_median=entry.count_median,
        flash_bytes=entry.flash_bytes,
        arena_bytes=entry.arena_bytes,
    )
