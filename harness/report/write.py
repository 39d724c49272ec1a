"""All files of one run's report in one call: what is written where, and nothing of how it looks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from harness.records.directory import write_whole
from harness.records.schema import RunRecord, Sample
from harness.report import pictures
from harness.report.junit import junit_xml
from harness.report.markdown import summary_md
from harness.report.tables import items_csv, items_jsonl, samples_csv, samples_jsonl


def write_reports(
    run: RunRecord,
    samples: Mapping[str, Sequence[Sample]],
    directory: Path,
    images: Mapping[str, pictures.Images] | None = None,
) -> dict[str, Path]:
    """Writes every report into `directory`, which exists; returns file name to path.

    Args:
        samples: by `ItemRecord.key`; items that broke may be missing.
        images: by `ItemRecord.key`, uint8 (H, W) or (H, W, 3) by sample index; where given,
            the page shows the wrongly classified ones, and they are kept for `harness report`.

    Raises:
        OutputError: a file cannot be written; the ones before it are whole.
        DataError: an image is of another type or shape.
    """
    from harness.report.html import render_html  # jinja2: no start-up needs it

    contents: dict[str, str | bytes | Iterable[str]] = {
        "items.jsonl": items_jsonl(run),
        "samples.jsonl": samples_jsonl(samples),
        "items.csv": items_csv(run),
        "samples.csv": samples_csv(run, samples),
        "junit.xml": junit_xml(run),
        "summary.md": summary_md(run),
        "report.html": render_html(run, samples, images or {}),
    }
    if (kept := pictures.pack(run, samples, images or {})) is not None:
        contents[pictures.FILE] = kept
    return {name: write_whole(directory / name, content) for name, content in contents.items()}
