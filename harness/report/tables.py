"""Items and samples as CSV and JSON lines, for pandas and for other programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.records.schema import ItemRecord, RunRecord, Sample
from harness.records.serialise import SCHEMA, dump, to_json, to_plain
from harness.report.figures import count_unit, flat_figures

MAX_SCORE_COLUMNS = 64
"""A model with more outputs has its scores in samples.jsonl only."""


def items_csv(run: RunRecord) -> str:
    """One row per item: every figure, then `failures`, `error` and `provenance_*`; unknown is empty."""
    rows = [
        {
            **flat_figures(item),
            "failures": "; ".join(item.failures),
            "error": item.error,
            **{f"provenance_{name}": value for name, value in item.provenance.items()},
        }
        for item in run.items
    ]
    return _csv(rows)


def samples_csv(run: RunRecord, samples: Mapping[str, Sequence[Sample]]) -> str:
    """One row per inference, led by the item's key and fidelity; unknown is empty.

    `count` and `time_us` are empty where they mean nothing (see `figures.count_unit`);
    scores stand in `device_score_0` and so on.
    """
    items = {item.key: item for item in run.items}
    rows = [_sample_row(key, items.get(key), sample) for key, batch in samples.items() for sample in batch]
    return _csv(rows)


def items_jsonl(run: RunRecord) -> str:
    return "".join(to_json(item) + "\n" for item in run.items)


def samples_jsonl(samples: Mapping[str, Sequence[Sample]]) -> str:
    """One flat object per inference: the fields of `Sample` and `item`, the item's key."""
    return "".join(
        dump({"schema": SCHEMA, "kind": "sample", "item": key, **to_plain(sample)}) + "\n"
        for key, batch in samples.items()
        for sample in batch
    )


def _sample_row(key: str, item: ItemRecord | None, sample: Sample) -> dict[str, Any]:
    unit = count_unit(item) if item else None
    emulated = item is not None and item.fidelity == "isa"
    row: dict[str, Any] = {
        "item": key,
        "fidelity": item.fidelity if item else None,
        "index": sample.index,
        "label": sample.label,
        "device_class": sample.device_class,
        "oracle_class": sample.oracle_class,
        "reference_class": sample.reference_class,
        "max_lsb": sample.max_lsb,
        "mismatching_elements": sample.mismatching_elements,
        "count": sample.count if unit else None,
        "count_unit": unit,
        "time_us": None if emulated else sample.time_us,
        "retries": sample.retries,
    }
    if len(sample.device_scores) <= MAX_SCORE_COLUMNS:
        for source in ("device", "oracle", "reference"):
            scores = getattr(sample, f"{source}_scores") or ()
            row |= {f"{source}_score_{number}": score for number, score in enumerate(scores)}
    return row


def _csv(rows: list[dict[str, Any]]) -> str:
    """Whole numbers stay whole beside gaps, which plain pandas would turn into floats."""
    import pandas as pd  # half of the time `harness --help` would take

    frame = pd.DataFrame(rows)
    for name in frame.columns:
        values = [row.get(name) for row in rows]
        if any(isinstance(value, int) for value in values) and all(
            isinstance(value, int) or value is None for value in values
        ):
            frame[name] = pd.array(values, dtype="Int64")
    return str(frame.to_csv(index=False))
