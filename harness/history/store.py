"""The history database: runs go in once, items come out by model, run or baseline.

An SQLite file by default; HARNESS_HISTORY_URL names another database that SQLAlchemy knows, such as a
team's PostgreSQL (extra [history]).
"""

from __future__ import annotations

import dataclasses
import json
import os
import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row, Select, create_engine, delete, event, func, or_, select
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from harness.errors import DataError, OutputError, UsageError, first_line
from harness.history.tables import baselines, items, prepare, runs
from harness.records.schema import ItemRecord, RunRecord, Sample
from harness.records.serialise import from_plain, to_plain

VARIABLE = "HARNESS_HISTORY_URL"
LATEST = "latest"


@dataclass(frozen=True)
class Entry:
    """One item of one run, as the history lists it. Shares run 0..1; None: not measured.

    `unit` is the one board it ran on: its chip's MAC where that is known, else the board's name.
    """

    id: int
    run_id: str
    key: str
    started: str
    model: str
    target: str
    runtime: str
    kernels: str
    scheme: str | None
    fidelity: str | None
    board: str | None
    outcome: str
    max_lsb: int | None
    top1: float | None
    agreement: float | None
    count_unit: str | None
    count_median: float | None
    flash_bytes: int | None
    arena_bytes: int | None
    commit_id: str | None
    unit: str | None = None
    count_p90: float | None = None
    count_p99: float | None = None
    time_us_median: float | None = None
    time_us_p90: float | None = None
    time_us_p99: float | None = None


@dataclass(frozen=True)
class Run:
    """One run as the history lists it; `items` says how many it has."""

    run_id: str
    started: str
    commit_id: str | None
    items: int


def unit_of(item: ItemRecord) -> str | None:
    """The one board an item ran on, by whatever name is the surest."""
    facts = item.provenance
    return facts.get("board_mac") or facts.get("device_mac") or item.unit or item.board


def default_url(reports: Path) -> str:
    """$HARNESS_HISTORY_URL, or the SQLite file beside the reports."""
    return os.environ.get(VARIABLE) or f"sqlite:///{(reports / 'history.sqlite').absolute()}"


class History:
    """An open history; a context manager. Several processes may add to it at once.

    Raises:
        UsageError: the URL is none, or names a database whose driver is not installed.
        OutputError: it cannot be opened or, when adding, written.
        DataError: it is of a later version, or what is asked for is not in it.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            if url.startswith("sqlite:///"):
                Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
            self._engine = create_engine(url)
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
            raise UsageError(
                f"expected the URL of a database, came '{url}': {error}",
                f"e.g. {VARIABLE}=postgresql+psycopg://user@host/bench (extra [history])",
            ) from None
        except OSError as error:
            raise OutputError(f"expected to write {url}; {error.strerror}") from None
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _on_sqlite_connect)
        with self._connected() as connection:
            prepare(connection)

    def __enter__(self) -> History:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._engine.dispose()

    def add(self, run: RunRecord, samples: Mapping[str, Sequence[Sample]] | None = None) -> None:
        """Stores a run with its items, all or nothing; one that is there already is replaced."""
        plain = {**to_plain(run), "items": []}
        with self._connected() as connection:
            self._forget(connection, run.run_id)
            connection.execute(
                runs.insert().values(
                    run_id=run.run_id,
                    started=run.started,
                    command=run.command,
                    commit_id=run.host.get("commit"),
                    record=json.dumps(plain, allow_nan=False),
                )
            )
            if run.items:
                rows = [_row(run, item, (samples or {}).get(item.key, ())) for item in run.items]
                connection.execute(items.insert(), rows)

    def entries(
        self,
        model: str,
        *,
        target: str | None = None,
        runtime: str | None = None,
        board: str | None = None,
        last: int | None = None,
    ) -> list[Entry]:
        """A model's items, oldest first; with `last`, only so many of the newest. `board`: name or unit."""
        query = _entries().where(items.c.model == model)
        for column, wanted in ((items.c.target, target), (items.c.runtime, runtime)):
            if wanted is not None:
                query = query.where(column == wanted)
        if board is not None:
            query = query.where(or_(items.c.board == board, items.c.unit == board))
        query = query.order_by(items.c.started.desc(), items.c.id.desc())
        with self._connected() as connection:
            found = connection.execute(query.limit(last) if last else query).all()
        return [_entry(row) for row in reversed(found)]

    def key_entries(self, key: str, last: int) -> list[Entry]:
        """The newest items of a key, whichever board they ran on, oldest first."""
        query = _entries().where(items.c.key == key)
        query = query.order_by(items.c.started.desc(), items.c.id.desc()).limit(last)
        with self._connected() as connection:
            return [_entry(row) for row in reversed(connection.execute(query).all())]

    def models(self) -> list[str]:
        """The names of all models there are items of."""
        with self._connected() as connection:
            query = select(items.c.model).distinct().order_by(items.c.model)
            return [str(name) for name in connection.execute(query).scalars()]

    def runs(self, last: int) -> list[Run]:
        """The newest runs, oldest first."""
        newest = select(runs.c.run_id, runs.c.started, runs.c.commit_id)
        newest = newest.order_by(runs.c.started.desc(), runs.c.run_id.desc()).limit(last)
        listed = newest.subquery()
        number = select(func.count()).where(items.c.run_id == listed.c.run_id).scalar_subquery()
        query = select(listed, number.label("items")).order_by(listed.c.started, listed.c.run_id)
        with self._connected() as connection:
            return [Run(**row._mapping) for row in connection.execute(query).all()]

    def run_entries(self, run: str) -> list[Entry]:
        """The items of a run: its id, the beginning of one, `latest`, or `latest~1` for the one before.

        Raises:
            DataError: no such run, or several begin so.
        """
        with self._connected() as connection:
            run_id = _resolve(connection, run)
            found = connection.execute(_entries().where(items.c.run_id == run_id).order_by(items.c.id)).all()
        return [_entry(row) for row in found]

    def record(self, entry: Entry) -> ItemRecord:
        """The whole record of an entry."""
        with self._connected() as connection:
            text = connection.execute(select(items.c.record).where(items.c.id == entry.id)).scalar_one()
        return from_plain(ItemRecord, json.loads(text))

    def plain_records(self, entries: Sequence[Entry]) -> dict[int, dict[str, Any]]:
        """The records of entries by their ids, as plain data: a tenth of the time that `record` takes."""
        query = select(items.c.id, items.c.record).where(items.c.id.in_([entry.id for entry in entries]))
        with self._connected() as connection:
            return {number: json.loads(text) for number, text in connection.execute(query).all()}

    def run(self, run_id: str) -> RunRecord:
        """A run without its items."""
        with self._connected() as connection:
            text = connection.execute(select(runs.c.record).where(runs.c.run_id == run_id)).scalar_one()
        return from_plain(RunRecord, json.loads(text))

    def counts(self, entry: Entry) -> NDArray[np.int64]:
        """The per-inference counts of an entry, in `count_unit`; empty where there are none."""
        with self._connected() as connection:
            packed = connection.execute(select(items.c.counts).where(items.c.id == entry.id)).scalar_one()
        if packed is None:
            return np.array([], np.int64)
        return np.frombuffer(zlib.decompress(packed), "<i8").astype(np.int64)

    def set_baseline(self, entries: Sequence[Entry], why: str) -> None:
        """Makes each entry what later items of its key are measured against."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with self._connected() as connection:
            for entry in entries:
                connection.execute(delete(baselines).where(baselines.c.key == entry.key))
                row = {"key": entry.key, "item_id": entry.id, "set_at": now, "why": why}
                connection.execute(baselines.insert().values(row))

    def baseline(self, key: str) -> Entry | None:
        """What items of `key` are measured against."""
        query = _entries().join(baselines, baselines.c.item_id == items.c.id).where(baselines.c.key == key)
        with self._connected() as connection:
            row = connection.execute(query).first()
        return _entry(row) if row else None

    def previous(self, key: str, run_id: str) -> Entry | None:
        """The newest item of `key` from before a run."""
        before = select(runs.c.started).where(runs.c.run_id == run_id).scalar_subquery()
        query = _entries().where(items.c.key == key, items.c.run_id != run_id, items.c.started <= before)
        query = query.order_by(items.c.started.desc(), items.c.id.desc()).limit(1)
        with self._connected() as connection:
            row = connection.execute(query).first()
        return _entry(row) if row else None

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            reason = first_line(getattr(error, "orig", None) or error)
            raise OutputError(
                f"the history {self._engine.url.render_as_string()} cannot be used: {reason}",
                f"Check {VARIABLE}, or unset it to use the file beside the reports",
            ) from error

    @staticmethod
    def _forget(connection: Connection, run_id: str) -> None:
        gone = select(items.c.id).where(items.c.run_id == run_id)
        connection.execute(delete(baselines).where(baselines.c.item_id.in_(gone)))
        connection.execute(delete(items).where(items.c.run_id == run_id))
        connection.execute(delete(runs).where(runs.c.run_id == run_id))


def _on_sqlite_connect(connection: Any, _record: object) -> None:
    """Readers do not wait for a writer, writers wait for each other, a crash loses nothing."""
    for pragma in ("busy_timeout=30000", "foreign_keys=ON", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.OperationalError as error:
        # SQLite does not wait here. Another process opens the same new file, and sets the mode.
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise


def _entries() -> Select[Any]:
    columns = [items.c[name] for name in Entry.__dataclass_fields__ if name != "commit_id"]
    return select(*columns, runs.c.commit_id).join(runs, runs.c.run_id == items.c.run_id)


def _entry(row: Row[Any]) -> Entry:
    return Entry(**row._mapping)


def _resolve(connection: Connection, run: str) -> str:
    name, _, back = run.partition("~")
    if name == LATEST and (back.isdigit() or not back):
        query = select(runs.c.run_id).order_by(runs.c.started.desc(), runs.c.run_id.desc())
        found = connection.execute(query.offset(int(back or 0)).limit(1)).scalars().all()
    else:
        query = select(runs.c.run_id).where(runs.c.run_id.startswith(run, autoescape=True))
        found = connection.execute(query.order_by(runs.c.run_id).limit(3)).scalars().all()
        found = [run] if run in found else found
    if len(found) == 1:
        return str(found[0])
    what = f"several runs begin with '{run}': {', '.join(found)}" if found else f"no run '{run}'"
    raise DataError(f"the history has {what}", "List them: harness history")


def _row(run: RunRecord, item: ItemRecord, samples: Sequence[Sample]) -> dict[str, Any]:
    counts = [sample.count for sample in samples if sample.count is not None]
    return {
        "run_id": run.run_id,
        "key": item.key,
        "started": run.started,
        "model": item.model,
        "target": item.target,
        "runtime": item.runtime,
        "kernels": item.kernels,
        "scheme": item.scheme,
        "fidelity": item.fidelity,
        "board": item.board,
        "outcome": item.outcome,
        "max_lsb": item.runtime_gap.max_lsb if item.runtime_gap else None,
        "top1": item.accuracy.device if item.accuracy else None,
        "agreement": item.quantisation_gap.agreement if item.quantisation_gap else None,
        "count_unit": item.counts.unit if item.counts else None,
        "count_median": item.counts.median if item.counts else None,
        "flash_bytes": item.memory.flash_bytes if item.memory else None,
        "arena_bytes": item.memory.arena_bytes if item.memory else None,
        "unit": unit_of(item),
        "count_p90": item.counts.p90 if item.counts else None,
        "count_p99": item.counts.p99 if item.counts else None,
        "time_us_median": item.latency.median if item.latency else None,
        "time_us_p90": item.latency.p90 if item.latency else None,
        "time_us_p99": item.latency.p99 if item.latency else None,
        "counts": zlib.compress(np.array(counts, "<i8").tobytes()) if counts else None,
        # The history is what a trend is made from: it keeps none.
        "record": json.dumps(to_plain(dataclasses.replace(item, trend=None)), allow_nan=False),
    }
