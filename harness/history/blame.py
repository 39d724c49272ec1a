"""Is it this board or this commit? The newest item of a key, beside the same commit on other boards and
other commits on the same board.

Says what the history shows; whether that is a regression is for the gates.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.history.changes import NOISE
from harness.history.store import Entry
from harness.report.terminal import plain


def board_or_commit(entries: Sequence[Entry]) -> str | None:
    """One sentence on the newest of one key's `entries`, which are oldest first; None where nothing is odd,
    or no board and no commit is known.
    """
    if not entries or entries[-1].unit is None or entries[-1].commit_id is None:
        return None
    newest, commit = entries[-1], plain(entries[-1].commit_id)
    rows = [row for row in entries if (row.fidelity, row.count_unit) == (newest.fidelity, newest.count_unit)]
    here = _before(rows, newest.unit, newest)
    others = [_latest(rows, unit, newest.commit_id) for unit in _units(rows) if unit != newest.unit]
    there = [row for row in others if row is not None]
    what = _oddity(newest, here)
    beside = f"commit {commit} on {len(there)} other board{'s' * (len(there) != 1)}"
    if what is None:
        alone = _oddity(newest, _middle(there))
        return f"this board: {alone} {beside}, as it was before" if alone and here else None
    since = f"{what} {plain(here.commit_id) if here and here.commit_id else 'before'} on this board"
    if not there:
        return f"board or commit? {since}; no other board has run {commit}"
    moved = [row for row in there if _moved_too(row, rows, newest, what)]
    if len(moved) == len(there):
        return f"this commit: {since}, and the same with {beside}"
    if not moved:
        return f"this board: {since}, and nothing like it with {beside}"
    return f"board or commit? {since}, and the same on {len(moved)} of {len(there)} others"


def _units(rows: Sequence[Entry]) -> list[str]:
    return list(dict.fromkeys(row.unit for row in rows if row.unit is not None))


def _latest(rows: Sequence[Entry], unit: str | None, commit: str | None) -> Entry | None:
    return next((row for row in reversed(rows) if row.unit == unit and row.commit_id == commit), None)


def _before(rows: Sequence[Entry], unit: str | None, row: Entry) -> Entry | None:
    """What the same board gave with the commit before."""
    older = [one for one in rows if one.unit == unit and one.commit_id != row.commit_id]
    return next((one for one in reversed(older) if one.started <= row.started), None)


def _middle(rows: Sequence[Entry]) -> Entry | None:
    """The entry whose figure is the (lower) median."""
    by_figure = sorted(rows, key=lambda row: _figure(row) or 0.0)
    return by_figure[(len(by_figure) - 1) // 2] if by_figure else None


def _figure(row: Entry) -> float | None:
    """The count, or where a chip has none, its time."""
    if row.count_median is not None:
        return row.count_median
    return row.time_us_median if row.fidelity == "silicon" else None


def _moved_too(row: Entry, rows: Sequence[Entry], newest: Entry, what: str) -> bool:
    """Whether another board changed the same way; one without a commit before is compared as it is."""
    before = _before(rows, row.unit, row)
    if before is None:
        return _oddity(newest, row) is None
    return (_oddity(row, before) or " ")[0] == what[0]


def _oddity(row: Entry, other: Entry | None) -> str | None:
    """What is not as in `other`, ending in the word before its name; None when nothing is."""
    if other is None:
        return None
    if row.outcome != other.outcome:
        return f"{row.outcome}, {other.outcome} with"
    mine, theirs = _figure(row), _figure(other)
    if mine is None or not theirs:
        return None
    change = mine / theirs - 1
    if abs(change) <= (NOISE if row.fidelity == "silicon" else 0):
        return None
    return f"{change:+.1%} against"
