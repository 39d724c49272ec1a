"""A run whose items are spread over processes, as pytest-xdist's workers: each keeps its part in a directory
of its own below the run's, and one process gathers the parts into one run with one report.

A worker that died leaves what it had finished. Who runs what is not decided here.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.bench import Bench
from harness.errors import DataError
from harness.records.journal import ItemProgress, read_journal

_PARTS = "parts"
_JOURNAL = "journal.jsonl"


def part_directory(run: Path, worker: str) -> Path:
    """Where a worker's part of the run in `run` goes."""
    return run / _PARTS / worker


def gather(bench: Bench) -> None:
    """Takes every part's items into `bench`, and their files into its directory; there may be no parts."""
    run = bench.directory.path
    for part in sorted((run / _PARTS).glob("*")):
        try:
            contents = read_journal(part / _JOURNAL)
        except DataError as error:
            bench.warnings.append(f"a worker's items are not in the report: {error}")
            continue
        for record in contents.run.items:
            progress = contents.progress.get(record.key, ItemProgress())
            bench.adopt(record, progress.samples, progress.parts[0] if len(progress.parts) == 1 else None)
        (part / _JOURNAL).unlink()
        # Names in a record are relative to the run's directory: they stay right.
        shutil.copytree(part, run, dirs_exist_ok=True)
        shutil.rmtree(part)
    if (run / _PARTS).is_dir() and not any((run / _PARTS).iterdir()):
        (run / _PARTS).rmdir()
