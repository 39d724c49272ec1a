"""The processes that run items: each has a bench per block of the matrix and does one item at a time.

A process that dies or hangs costs the item it ran, never the night. What an item means is not known here.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

import numpy as np

from harness.bench import Bench
from harness.boards.process import die_with_parent
from harness.errors import DataError, HarnessError
from harness.evidence import load_expectation
from harness.nightly.config import Job
from harness.nightly.verdicts import retried
from harness.records.journal import ItemProgress, read_journal
from harness.records.schema import ItemRecord, Part, Sample
from harness.settings import Settings

PROGRESS_INTERVAL_S = 2.0


class WorkerError(HarnessError):
    """The process that ran an item died, or took longer than an item may."""


@dataclass(frozen=True)
class Progressed:
    """`text` says how far an item is."""

    text: str


@dataclass(frozen=True)
class Finished:
    """An item as `Bench.hand_over` gives it."""

    record: ItemRecord
    samples: tuple[Sample, ...]
    part: Part | None
    pixels: np.ndarray | None


class Worker:
    """One process, started at once; `job` is what it runs, `since` when it began, `text` how far it is."""

    def __init__(self, number: int, settings: Sequence[Settings], reports_root: Path, command: str) -> None:
        # Not forked: numpy's and onnxruntime's threads do not survive that.
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        arguments = (theirs, os.getpid(), tuple(settings), reports_root, command, _journal_name(number))
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        # Ctrl-C goes to the whole terminal; the night decides what becomes of its processes.
        ours = signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._process.start()
        signal.signal(signal.SIGINT, ours)
        theirs.close()
        self.number = number
        self.job: Job | None = None
        self.since = 0.0
        self.text = ""

    @property
    def waitables(self) -> tuple[Connection, int]:
        """For `multiprocessing.connection.wait`."""
        return self._connection, self._process.sentinel

    def start(self, job: Job) -> None:
        self.job, self.since, self.text = job, time.monotonic(), "starts"
        with contextlib.suppress(OSError):  # it is dead: `take` says so
            self._connection.send(job)

    def take(self) -> Finished | None:
        """What has come: a finished item, or None when there is only progress.

        Raises:
            WorkerError: the process is dead.
        """
        try:
            while self._connection.poll():
                match self._connection.recv():
                    case Progressed(text):
                        self.text = text
                    case Finished() as finished:
                        return finished
        except (EOFError, OSError):
            self._process.join()
        if self._process.is_alive():
            return None
        code = self._process.exitcode or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        raise WorkerError(f"the process that ran it {how}", "See what it printed above")

    def kill(self) -> None:
        """Ends the process and, through the kernel, the emulators that it started."""
        self._process.kill()
        self._process.join()
        self._connection.close()

    def close(self) -> None:
        """Lets the idle process end by itself."""
        with contextlib.suppress(OSError):
            self._connection.send(None)
        self._process.join(timeout=10)
        self.kill()


def wait_for(workers: Sequence[Worker], timeout_s: float) -> None:
    """Until one of the workers has something to say or is dead, at most `timeout_s`."""
    wait([waitable for worker in workers for waitable in worker.waitables], timeout=max(0.0, timeout_s))


def broken(job: Job, error: HarnessError, duration_s: float) -> ItemRecord:
    """The record of an item whose process could not make one."""
    return ItemRecord(
        target=job.target,
        model=job.model,
        runtime=job.runtime,
        kernels=job.kernels,
        outcome="error",
        unit=job.unit,
        error=str(error),
        error_kind=type(error).__name__,
        duration_s=duration_s,
    )


def left_behind(directory: Path, number: int, key: str) -> Finished | None:
    """Item `key`, if the process `number` had ended it and died before it could hand it over. `directory` is
    the run's, where each process keeps a journal.
    """
    for path in directory.glob(f"*-{_journal_name(number)}"):
        try:
            contents = read_journal(path)
        except DataError:
            continue  # it was killed before it began
        for record in contents.run.items:
            # What is tried again stands in the journal of whoever tried it before.
            if record.key == key and not retried(record):
                progress = contents.progress.get(key, ItemProgress())
                part = next(iter(progress.parts), None)
                pixels = load_expectation(directory, part.expectation)[1] if part else None
                return Finished(record, progress.samples, part, pixels)
    return None


def _journal_name(number: int) -> str:
    return f"journal-{number}.jsonl"


def _serve(
    connection: Connection,
    parent: int,
    settings: Sequence[Settings],
    reports_root: Path,
    command: str,
    journal: str,
) -> None:
    """The process: items one after another, until there are no more or the night is gone."""
    die_with_parent(parent)()
    benches: dict[int, Bench] = {}

    def say(line: str) -> None:
        connection.send(Progressed(line))

    with contextlib.suppress(EOFError, BrokenPipeError):
        while (job := connection.recv()) is not None:
            began = time.monotonic()
            try:
                if job.block not in benches:
                    benches[job.block] = Bench(
                        settings[job.block],
                        reports_root=reports_root,
                        command=command,
                        say=say,
                        journal=f"{job.block}-{journal}",
                    )
                finished = _finish(benches[job.block], job, connection)
            except HarnessError as error:
                finished = Finished(broken(job, error, time.monotonic() - began), (), None, None)
            connection.send(finished)


def _finish(bench: Bench, job: Job, connection: Connection) -> Finished:
    item = bench.item(job.target, bench.model(job.given), job.runtime, job.kernels, job.unit)
    due = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + PROGRESS_INTERVAL_S
            connection.send(Progressed(f"{done}/{total}"))

    try:
        bench.run_item(item, report)
    except Exception as error:
        # A bug of ours costs one item, and is printed for whoever mends it.
        traceback.print_exc(file=sys.stderr)
        bench.failed(item, error)
        bench.close_item(item)
    return Finished(*bench.hand_over(item))
