"""Items and samples as CSV and JSON lines, for pandas and for other programs."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from harness.records.schema import ItemRecord, RunRecord, Sample
from harness.records.serialise import SCHEMA, dump, to_json, to_plain
from harness.report.figures import count_unit, flat_figures

MAX_SCORE_COLUMNS = 64
"""A model with more outputs has its scores in samples.jsonl only."""
SOURCES = ("device", "oracle", "reference")
SAMPLE_COLUMNS = (
    "item",
    "fidelity",
    "index",
    "label",
    "device_class",
    "oracle_class",
    "reference_class",
    "max_lsb",
    "mismatching_elements",
    "count",
    "count_unit",
    "time_us",
    "retries",
)

Samples = Mapping[str, Sequence[Sample]]


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
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return "".join(_csv(columns, ([row.get(name) for name in columns] for row in rows)))


def samples_csv(run: RunRecord, samples: Samples) -> Iterator[str]:
    """One row per inference, led by the item's key and fidelity; unknown is empty. Comes row by row.

    `count` and `time_us` are empty where they mean nothing (see `figures.count_unit`);
    scores stand in `device_score_0` and so on.
    """
    items = {item.key: item for item in run.items}
    widths = {source: _width(samples, source) for source in SOURCES}
    columns = [f"{source}_score_{number}" for source in SOURCES for number in range(widths[source])]
    return _csv([*SAMPLE_COLUMNS, *columns], _sample_rows(items, samples, widths))


def items_jsonl(run: RunRecord) -> str:
    return "".join(to_json(item) + "\n" for item in run.items)


def samples_jsonl(samples: Samples) -> Iterator[str]:
    """One flat object per inference: the fields of `Sample` and `item`, the item's key; line by line."""
    return (
        dump({"schema": SCHEMA, "kind": "sample", "item": key, **to_plain(sample)}) + "\n"
        for key, batch in samples.items()
        for sample in batch
    )


def _scores(sample: Sample, source: str) -> tuple[float, ...]:
    """The scores of one source; none of a model that has too many for a table."""
    if len(sample.device_scores) > MAX_SCORE_COLUMNS:
        return ()
    return getattr(sample, f"{source}_scores") or ()


def _width(samples: Samples, source: str) -> int:
    return max((len(_scores(sample, source)) for batch in samples.values() for sample in batch), default=0)


def _sample_rows(
    items: Mapping[str, ItemRecord], samples: Samples, widths: Mapping[str, int]
) -> Iterator[list[Any]]:
    for key, batch in samples.items():
        item = items.get(key)
        unit = count_unit(item) if item else None
        emulated = item is not None and item.fidelity == "isa"
        fidelity = item.fidelity if item else None
        for sample in batch:
            row: list[Any] = [
                key,
                fidelity,
                sample.index,
                sample.label,
                sample.device_class,
                sample.oracle_class,
                sample.reference_class,
                sample.max_lsb,
                sample.mismatching_elements,
                sample.count if unit else None,
                unit,
                None if emulated else sample.time_us,
                sample.retries,
            ]
            for source, width in widths.items():
                scores = _scores(sample, source)
                row += scores
                row += [None] * (width - len(scores))
            yield row


def _csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """Header and rows, each as a piece of text; None is empty."""
    line = io.StringIO()
    writer = csv.writer(line, lineterminator="\n")
    for row in itertools.chain([columns], rows):
        writer.writerow(row)
        yield line.getvalue()
        line.seek(0)
        line.truncate()
