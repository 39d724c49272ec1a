"""The journal: what a run knows so far, on disk while it still runs.

Append-only JSON lines, each handed to the operating system as it is written, so that a
killed run loses at most the line it was writing. It is not a report; `read_journal` gives
back what reports are made from.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import DataError, OutputError
from harness.records.schema import ItemRecord, RunRecord, Sample
from harness.records.serialise import SCHEMA, dump, from_plain, load, to_plain


class Journal:
    """One run's journal, open for appending; safe to share between threads.

    A context manager. An existing file is continued: a torn last line, left by a run that
    was killed, is cut off first.

    Raises:
        OutputError: the file cannot be opened or, in a `write_*` method, not written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            self._file = open(path, "a+b", buffering=0)  # noqa: SIM115 - closed by close()
            self._cut_torn_line()
        except OSError as error:
            raise OutputError(
                f"expected to write the journal {path}; {error.strerror}", "Give another --report-dir."
            ) from error

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Safe to call twice."""
        self._file.close()

    def write_run(self, run: RunRecord) -> None:
        """The header: when, where, with what. Its items are left to `write_item`."""
        self._append("run", run=to_plain(dataclasses.replace(run, items=())))

    def write_samples(self, key: str, samples: Sequence[Sample]) -> None:
        """A batch of one item's samples; `key` is `ItemRecord.key`."""
        self._append("samples", item=key, samples=[to_plain(sample) for sample in samples])

    def write_item(self, item: ItemRecord) -> None:
        self._append("item", item=to_plain(item))

    def write_end(self, duration_s: float) -> None:
        """The run ended by itself; a journal without this line belongs to a run that was killed."""
        self._append("end", duration_s=duration_s)

    def _append(self, kind: str, **fields: Any) -> None:
        line = dump({"schema": SCHEMA, "kind": kind, **fields}).encode(errors="surrogatepass") + b"\n"
        with self._lock:
            try:
                while line:
                    line = line[self._file.write(line) :]
            except OSError as error:
                raise OutputError(
                    f"expected to append to {self.path}; {error.strerror}",
                    "Free some space or give another --report-dir.",
                ) from error

    def _cut_torn_line(self) -> None:
        end = self._file.seek(0, os.SEEK_END)
        keep = end
        while keep > 0:
            start = max(0, keep - 65536)
            self._file.seek(start)
            newline = self._file.read(keep - start).rfind(b"\n")
            if newline >= 0:
                keep = start + newline + 1
                break
            keep = start
        if keep != end:
            self._file.truncate(keep)


@dataclass(frozen=True)
class JournalContents:
    """`run` holds the finished items; `samples` those of unfinished items too, by item key.

    `ended` is False for a run that was killed.
    """

    run: RunRecord
    samples: dict[str, tuple[Sample, ...]]
    ended: bool


def read_journal(path: Path) -> JournalContents:
    """A journal back as records; a torn last line is left out.

    An item or sample written twice (a repeated item) counts as written last.

    Raises:
        DataError: no journal, no run header, or a damaged line before the last one.
    """
    try:
        *lines, _torn = path.read_bytes().split(b"\n")
    except OSError as error:
        raise DataError(f"expected a journal at {path}; {error.strerror}") from error
    run: RunRecord | None = None
    items: dict[str, ItemRecord] = {}
    samples: dict[str, dict[int, Sample]] = {}
    duration_s: float | None = None
    for number, line in enumerate(lines, start=1):
        try:
            entry = load(line.decode(errors="surrogatepass"))
            match entry.get("kind"):
                case "run":
                    run = from_plain(RunRecord, entry["run"])
                case "samples":
                    batch = (from_plain(Sample, sample) for sample in entry["samples"])
                    samples.setdefault(entry["item"], {}).update({sample.index: sample for sample in batch})
                case "item":
                    item = from_plain(ItemRecord, entry["item"])
                    items[item.key] = item
                case "end":
                    duration_s = float(entry["duration_s"])
                case kind:
                    raise DataError(f"expected run, samples, item or end; this line is {kind!r}")
        except (DataError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"expected a journal; {path} line {number} is damaged: {error}") from error
    if run is None:
        raise DataError(f"expected a run header in {path}; there is none")
    if duration_s is not None:
        run = dataclasses.replace(run, duration_s=duration_s)
    by_index = {key: tuple(batch[index] for index in sorted(batch)) for key, batch in samples.items()}
    return JournalContents(
        dataclasses.replace(run, items=tuple(items.values())), by_index, ended=duration_s is not None
    )
