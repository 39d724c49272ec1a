"""Going on with a run that was killed: finding it, and refusing where it would not be the same run.

Reads the run's journal; what is then done with it is the ledger's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import DataError, UsageError
from harness.provenance import host_facts
from harness.records.directory import RunDirectory
from harness.records.journal import JournalContents, read_journal

JOURNAL = "journal.jsonl"
LATEST = "latest"
_ANEW = "Run it anew, without --resume"
# Where the report goes is no part of what is measured, nor how much is kept for the next run.
_FREE = ("report_dir", "build_limit")


@dataclass(frozen=True)
class Resumed:
    """A killed run: its directory, and what its journal holds."""

    directory: RunDirectory
    contents: JournalContents

    @property
    def summary(self) -> str:
        """What is there already, in one line."""
        finished = {item.key for item in self.contents.run.items}
        begun = [
            f"{key} at sample {len(item.samples)}"
            for key, item in self.contents.progress.items()
            if key not in finished
        ]
        parts = [f"{len(finished)} item{'s' * (len(finished) != 1)} finished", *begun]
        return f"Resuming {self.directory.path}: {', '.join(parts)}"


def find_run(reports_root: Path, which: str) -> Path:
    """The directory of a run: a path, a run id, or `latest`.

    Raises:
        DataError: there is no journal in any such directory.
    """
    places = list(dict.fromkeys([Path(which), reports_root / which]))
    for path in places:
        if (path / JOURNAL).is_file():
            return path.resolve() if path.is_symlink() else path
    raise DataError(
        f"expected the directory or the id of a run: no {JOURNAL} in {' or '.join(map(str, places))}",
        f"See what there is: ls {reports_root}",
    )


def load_killed_run(reports_root: Path, which: str, report_dir: Path | None = None) -> Resumed:
    """The run to go on with. `which` "" is that of `report_dir` or else the latest.

    Raises:
        DataError: no such run, or its journal is damaged.
        UsageError: it came to its end.
    """
    path = find_run(reports_root, which or str(report_dir or LATEST))
    if b"\n" not in (path / JOURNAL).read_bytes():
        raise UsageError(f"nothing to resume: the run in {path} was killed before it began", _ANEW)
    contents = read_journal(path / JOURNAL)
    if contents.ended:
        raise UsageError(
            f"nothing to resume: run {contents.run.run_id} came to its end, its report is in {path}", _ANEW
        )
    return Resumed(RunDirectory(path, contents.run.run_id), contents)


def check_same(resumed: Resumed, settings: Mapping[str, str]) -> None:
    """Raises UsageError for settings, a commit, versions or a machine that are not the killed run's."""
    run = resumed.contents.run
    then = {
        **run.host,
        **{f"--{name.replace('_', '-')}": text for name, text in _bound(resumed.contents.settings)},
    }
    now = {**host_facts(), **{f"--{name.replace('_', '-')}": text for name, text in _bound(settings)}}
    changed = [
        f"{name} was {then.get(name) or 'not set'}, is {now.get(name) or 'not set'}"
        for name in sorted(then | now)
        if then.get(name) != now.get(name)
    ]
    if changed:
        raise changed_since(resumed, "; ".join(changed))


def changed_since(resumed: Resumed, what: str) -> UsageError:
    """The refusal to go on: `what` is not as it was."""
    return UsageError(f"cannot resume run {resumed.contents.run.run_id}: {what}", _ANEW)


def _bound(settings: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name, text) for name, text in settings.items() if name not in _FREE]
