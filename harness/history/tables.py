"""The tables of the history, and how an older database becomes one of this version.

Every figure that is searched or drawn has a column; the whole record stands beside them as JSON, so
that no version of the schema loses anything.
"""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    inspect,
    select,
)

from harness.errors import DataError

VERSION = 2

metadata = MetaData()

schema = Table("schema", metadata, Column("version", Integer, nullable=False))

runs = Table(
    "runs",
    metadata,
    Column("run_id", String(64), primary_key=True),
    Column("started", String(40), nullable=False),
    Column("command", Text, nullable=False),
    Column("commit_id", String(64)),
    Column("record", Text, nullable=False),
    Index("runs_by_start", "started", "run_id"),
)

items = Table(
    "items",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_id", String(64), ForeignKey("runs.run_id", ondelete="CASCADE"), nullable=False),
    Column("key", String(200), nullable=False),
    Column("started", String(40), nullable=False),
    Column("model", String(100), nullable=False),
    Column("target", String(40), nullable=False),
    Column("runtime", String(60), nullable=False),
    Column("kernels", String(40), nullable=False),
    Column("scheme", String(40)),
    Column("fidelity", String(20)),
    Column("board", String(200)),
    Column("outcome", String(20), nullable=False),
    Column("max_lsb", Integer),
    Column("top1", Float),
    Column("agreement", Float),
    Column("count_unit", String(60)),
    Column("count_median", Float),
    Column("flash_bytes", Integer),
    Column("arena_bytes", Integer),
    Column("counts", LargeBinary),
    Column("record", Text, nullable=False),
    Column("unit", String(200)),
    Column("count_p90", Float),
    Column("count_p99", Float),
    Column("time_us_median", Float),
    Column("time_us_p90", Float),
    Column("time_us_p99", Float),
    Index("items_by_model", "model", "started", "id"),
    Index("items_by_key", "key", "started", "id"),
    Index("items_by_run", "run_id"),
)

baselines = Table(
    "baselines",
    metadata,
    Column("key", String(200), primary_key=True),
    Column("item_id", Integer, ForeignKey("items.id"), nullable=False),
    Column("set_at", String(40), nullable=False),
    Column("why", Text, nullable=False),
)


def prepare(connection: Connection) -> None:
    """Makes the tables, or brings those of an older version up to this one: all of it or nothing, and one
    process at a time.

    Raises:
        DataError: the database was written by a later version.
    """
    if _version(connection) == VERSION:
        return
    if begin_alone := _ALONE.get(connection.dialect.name):
        connection.exec_driver_sql(begin_alone)
    found = _version(connection)  # another process may have been here meanwhile
    if found is None:
        metadata.create_all(connection)
        connection.execute(schema.insert().values(version=VERSION))
        return
    if found > VERSION:
        raise DataError(
            f"the history has version {found}; this harness reads up to {VERSION}", "Update the harness"
        )
    for version in range(found, VERSION):
        for statement in MIGRATIONS[version]:
            connection.exec_driver_sql(statement)
    if found < VERSION:
        connection.execute(schema.update().values(version=VERSION))


def _version(connection: Connection) -> int | None:
    """None: there are no tables yet."""
    if not inspect(connection).has_table("schema"):
        return None
    return connection.execute(select(schema.c.version)).scalar()


# Without it, Python's sqlite3 commits each change of the schema by itself.
_ALONE = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "SELECT pg_advisory_xact_lock(7110021)"}

MIGRATIONS: dict[int, tuple[str, ...]] = {
    1: (
        "ALTER TABLE items ADD COLUMN unit VARCHAR(200)",
        "ALTER TABLE items ADD COLUMN count_p90 FLOAT",
        "ALTER TABLE items ADD COLUMN count_p99 FLOAT",
        "ALTER TABLE items ADD COLUMN time_us_median FLOAT",
        "ALTER TABLE items ADD COLUMN time_us_p90 FLOAT",
        "ALTER TABLE items ADD COLUMN time_us_p99 FLOAT",
        "UPDATE items SET unit = board",
        "DROP INDEX items_by_model",
        "CREATE INDEX items_by_model ON items (model, started, id)",
        "CREATE INDEX items_by_key ON items (key, started, id)",
        "CREATE INDEX runs_by_start ON runs (started, run_id)",
    ),
}
"""SQL that turns version N into N + 1. Figures of older items stay in their records, their columns empty."""
