"""The journal: what a run knows so far, on disk while it still runs.

Append-only JSON lines, each handed to the operating system as it is written: a run that is killed loses
at most the line it was writing. The disk is told to keep them once a second, and after every item, so that
a power cut loses a second of samples and no item. It is not a report; `read_journal` gives back what
reports are made from, and what a run needs to go on (`--resume`).
"""

from __future__ import annotations

import base64
import dataclasses
import fcntl
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import DataError, OutputError
from harness.records.schema import ItemRecord, Part, RunRecord, Sample
from harness.records.serialise import SCHEMA, dump, from_plain, load, to_plain

SYNC_S = 1.0


class Journal:
    """One run's journal, open for appending; safe to share between threads, by one process at a time.

    A context manager. An existing file is continued: a torn last line, left by a run that
    was killed, is cut off first.

    Raises:
        OutputError: the file cannot be opened or, in a `write_*` method, not written; or another
            process has it open.
    """

    def __init__(self, path: Path, anew: bool = False) -> None:
        """`anew` empties the file of an earlier run, once it is known that none is writing it."""
        self.path = path
        self._lock = threading.Lock()
        self._synced_s = time.monotonic()
        try:
            self._file = open(path, "a+b", buffering=0)  # noqa: SIM115 - closed by close()
            self._lock_file()
            if anew:
                self._file.truncate(0)
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

    def write_run(self, run: RunRecord, settings: Mapping[str, str] | None = None) -> None:
        """The header: when, where, with what; `settings` as the user gave them, which a run that goes on
        must have too. Its items are left to `write_item`.
        """
        about = to_plain(dataclasses.replace(run, items=()))
        self._append("run", run=about, settings=dict(settings or {}))

    def write_start(self, key: str, part: Part | None) -> None:
        """The samples of item `key` follow, from `part.first` on; those from there on that stand before are
        void. None: from the first on, and nothing was kept that they could go on from.
        """
        self._append("start", item=key, part=to_plain(part))

    def write_samples(self, key: str, samples: Sequence[Sample], outputs: bytes = b"") -> None:
        """A batch of one item's samples; `key` is `ItemRecord.key`, `outputs` the device's integers behind
        them, without which they can be reported but not continued.
        """
        plain = [to_plain(sample) for sample in samples]
        self._append("samples", item=key, samples=plain, outputs=base64.b64encode(outputs).decode())

    def write_item(self, item: ItemRecord) -> None:
        self._append("item", item=to_plain(item))
        self.sync()

    def write_test(self, test: TestLine) -> None:
        """A pytest test that has ended, after its items."""
        self._append("test", name=test.name, items=list(test.items), reports=list(test.reports))

    def sync(self) -> None:
        """Asks the disk to keep what is written so far."""
        self._synced_s = time.monotonic()
        os.fsync(self._file.fileno())

    def write_end(self, duration_s: float) -> None:
        """The run ended by itself; a journal without this line belongs to a run that was killed."""
        self._append("end", duration_s=duration_s)

    def _append(self, kind: str, **fields: Any) -> None:
        line = dump({"schema": SCHEMA, "kind": kind, **fields}).encode(errors="surrogatepass") + b"\n"
        with self._lock:
            try:
                while line:
                    line = line[self._file.write(line) :]
                if time.monotonic() - self._synced_s >= SYNC_S:
                    self.sync()
            except OSError as error:
                raise OutputError(
                    f"expected to append to {self.path}; {error.strerror}",
                    "Free some space or give another --report-dir.",
                ) from error

    def _lock_file(self) -> None:
        """Held until the file is closed, by whatever ends this process."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise OutputError(
                f"{self.path} is being written by a run that is still going on",
                "Wait for its end, or give another --report-dir",
            ) from None

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
class TestLine:
    """A pytest test that has ended: `reports` are its phases as pytest serialises them, a text each, `items`
    the keys of the items it ran.
    """

    __test__ = False  # pytest would collect it by its name

    name: str
    items: tuple[str, ...]
    reports: tuple[str, ...]


@dataclass(frozen=True)
class ItemProgress:
    """How far an item came: its samples in order, the integers behind them (b"" where they were not kept),
    and the parts they came in; no part for samples that cannot be continued or run again.
    """

    samples: tuple[Sample, ...] = ()
    outputs: bytes = b""
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True)
class JournalContents:
    """`run` holds the finished items; `progress` those that were begun too, by item key.

    `ended` is False for a run that was killed. `begun_again` are the records of items that had ended, for a
    test, and were begun again for the next.
    """

    run: RunRecord
    ended: bool
    settings: dict[str, str] = field(default_factory=dict)
    progress: dict[str, ItemProgress] = field(default_factory=dict)
    tests: dict[str, TestLine] = field(default_factory=dict)
    begun_again: dict[str, ItemRecord] = field(default_factory=dict)

    @property
    def samples(self) -> dict[str, tuple[Sample, ...]]:
        """By item key, of unfinished items too."""
        return {key: item.samples for key, item in self.progress.items() if item.samples}


def read_journal(path: Path) -> JournalContents:
    """A journal back as records; a torn last line is left out.

    An item written twice (a repeated item) counts as written last.

    Raises:
        DataError: no journal, no run header, or a damaged line before the last one.
    """
    try:
        *lines, _torn = path.read_bytes().split(b"\n")
    except OSError as error:
        raise DataError(f"expected a journal at {path}; {error.strerror}") from error
    reader = _Reader()
    for number, line in enumerate(lines, start=1):
        try:
            reader.take(load(line.decode(errors="surrogatepass")))
        except (DataError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"expected a journal; {path} line {number} is damaged: {error}") from error
    if reader.run is None:
        raise DataError(f"expected a run header in {path}; there is none")
    return reader.contents(reader.run)


class _Reader:
    """Takes a journal's lines one after another."""

    def __init__(self) -> None:
        self.run: RunRecord | None = None
        self._settings: dict[str, str] = {}
        self._items: dict[str, ItemRecord] = {}
        self._samples: dict[str, list[Sample]] = {}
        self._outputs: dict[str, bytearray] = {}
        self._parts: dict[str, list[Part]] = {}
        self._before: dict[str, ItemRecord] = {}
        self._tests: dict[str, TestLine] = {}
        self._duration_s: float | None = None

    def take(self, entry: dict[str, Any]) -> None:
        match entry.get("kind"):
            case "run":
                self.run = from_plain(RunRecord, entry["run"])
                self._settings = {str(name): str(text) for name, text in entry["settings"].items()}
            case "start":
                part = entry["part"]
                self._start(entry["item"], None if part is None else from_plain(Part, part))
            case "samples":
                self._take_samples(entry)
            case "item":
                item = from_plain(ItemRecord, entry["item"])
                self._items[item.key] = item
            case "test":
                test = TestLine(entry["name"], tuple(entry["items"]), tuple(entry["reports"]))
                self._tests[test.name] = test
            case "end":
                self._duration_s = float(entry["duration_s"])
            case kind:
                raise DataError(f"expected run, start, samples, item, test or end; this line is {kind!r}")

    def contents(self, run: RunRecord) -> JournalContents:
        items = tuple(self._items.values())
        duration_s = run.duration_s if self._duration_s is None else self._duration_s
        progress = {
            key: ItemProgress(tuple(samples), bytes(self._outputs[key]), tuple(self._parts[key]))
            for key, samples in self._samples.items()
        }
        return JournalContents(
            dataclasses.replace(run, items=items, duration_s=duration_s),
            self._duration_s is not None,
            self._settings,
            progress,
            self._tests,
            {key: record for key, record in self._before.items() if key not in self._items},
        )

    def _start(self, key: str, part: Part | None) -> None:
        """Cuts off what is run again; an item that is begun anew is no longer finished."""
        first = part.first if part else 0
        samples, outputs = self._samples.setdefault(key, []), self._outputs.setdefault(key, bytearray())
        if first > len(samples):
            raise DataError(f"{key} goes on at sample {first}, {len(samples)} came before")
        del outputs[len(outputs) * first // max(len(samples), 1) :]
        del samples[first:]
        before = self._parts.get(key, []) if first else []
        self._parts[key] = [*before, *([part] if part else [])]
        if key in self._items:
            self._before[key] = self._items.pop(key)

    def _take_samples(self, entry: dict[str, Any]) -> None:
        key = entry["item"]
        if key not in self._samples:
            self._start(key, None)
        for plain in entry["samples"]:
            sample = from_plain(Sample, plain)
            if sample.index != len(self._samples[key]):
                raise DataError(f"{key}: sample {sample.index} follows {len(self._samples[key])} samples")
            self._samples[key].append(sample)
        self._outputs[key] += base64.b64decode(entry["outputs"], validate=True)
