"""`harness history`, `compare`, `baseline` and `export`: the history's questions as commands."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import DataError, MissingError, OutputError, UsageError

if TYPE_CHECKING:
    from harness.history.store import History

Parsers = Any  # argparse's own type of `add_subparsers` is private

BLAMED = 200
"""So many of the newest items of a key say whether it is the board or the commit."""
FORMATS = (".csv", ".parquet")


def add_command(commands: Parsers) -> None:
    """Adds the four to the command line. Opening the history is left until one of them runs."""
    history = commands.add_parser(
        "history",
        help="a model's earlier runs; without a model: the runs",
        description="One line per run of each item, oldest first, with its count's change. Where an item "
        "ran on several boards, a line says whether a change is this board's or this commit's.",
        epilog="harness history himax_cnn --target esp32c3 --last 30",
    )
    history.add_argument("model", nargs="?", help="as in the records")
    history.add_argument("--target", metavar="NAME")
    history.add_argument("--runtime", metavar="NAME")
    history.add_argument("--board", metavar="NAME", help="one unit only: its name, or its chip's MAC")
    history.add_argument("--last", type=int, default=30, metavar="N", help="(default: 30)")
    history.set_defaults(run=_with_history(_history))

    compare = commands.add_parser(
        "compare",
        help="what changed between two runs, and since what",
        description="Compares the items that both runs have. Exit code 1: a figure or verdict changed.",
        epilog="harness compare latest~1 latest",
    )
    compare.add_argument("before", metavar="A", help="run id or its beginning, latest, latest~1, baseline")
    compare.add_argument("after", metavar="B", nargs="?", default="latest", help="(default: latest)")
    compare.set_defaults(run=_with_history(_compare))

    baseline = commands.add_parser(
        "baseline",
        help="what later runs are measured against",
        description="`set RUN` makes the passed items of a run the baseline of their keys.",
    )
    baseline.add_argument("action", choices=("set",))
    baseline.add_argument("which", metavar="RUN", nargs="?", default="latest", help="(default: latest)")
    baseline.add_argument("--why", default="", metavar="TEXT", help="kept with it")
    baseline.set_defaults(run=_with_history(_baseline))

    export = commands.add_parser(
        "export",
        help="the history's items as CSV or Parquet",
        description="Every figure of every item, one row each, for pandas and other programs.",
        epilog="harness export --out items.csv",
    )
    export.add_argument("--out", required=True, type=Path, metavar="FILE", help="*.csv or *.parquet")
    export.add_argument("--model", metavar="NAME")
    export.set_defaults(run=_with_history(_export))


def _with_history(
    command: Callable[[argparse.Namespace, History], int],
) -> Callable[[argparse.Namespace], int]:
    def run(parsed: argparse.Namespace) -> int:
        from harness.history.store import History, default_url

        with History(default_url(Path("reports"))) as history:
            return command(parsed, history)

    return run


def _history(parsed: argparse.Namespace, history: History) -> int:
    from harness.history.show import nights

    if parsed.last < 1:
        raise UsageError(f"--last expects a number of at least 1, got '{parsed.last}'")
    if parsed.model is None:
        for run in history.runs(parsed.last):
            print(f"{run.started[:16]}  {run.run_id:<20} {run.commit_id or '':<14} {run.items} items")
        return 0
    entries = history.entries(
        parsed.model, target=parsed.target, runtime=parsed.runtime, board=parsed.board, last=parsed.last
    )
    if not entries:
        known = ", ".join(history.models()) or "nothing yet"
        raise DataError(f"the history has no such item of '{parsed.model}'", f"It has: {known}")
    print("\n".join(nights(entries)))
    return 0


def _compare(parsed: argparse.Namespace, history: History) -> int:
    from harness.history.blame import board_or_commit
    from harness.history.changes import difference
    from harness.history.show import differences

    after = history.run_entries(parsed.after)
    if parsed.before == "baseline":
        kept = [history.baseline(entry.key) for entry in after]
        before = {entry.key: entry for entry in kept if entry}
    else:
        before = {entry.key: entry for entry in history.run_entries(parsed.before)}
    pairs = [(before[entry.key], entry) for entry in after if entry.key in before]
    if not pairs:
        raise DataError(
            f"{parsed.before} and {parsed.after} have no item in common", "List the runs: harness history"
        )
    hosts = {one.run_id: history.run(one.run_id).host for pair in pairs for one in pair}
    found = [
        difference(history.record(old), history.record(new), hosts[old.run_id], hosts[new.run_id])
        for old, new in pairs
    ]
    print(f"{' + '.join(sorted({old.run_id for old, _ in pairs}))} -> {pairs[0][1].run_id}")
    print("\n".join(differences(found)))
    for _, entry in pairs:
        if verdict := board_or_commit(history.key_entries(entry.key, BLAMED)):
            print(f"{entry.key}: {verdict}")
    return int(not all(one.nothing for one in found))


def _baseline(parsed: argparse.Namespace, history: History) -> int:
    entries = [entry for entry in history.run_entries(parsed.which) if entry.outcome == "passed"]
    if not entries:
        raise DataError(f"run {parsed.which} has no passed item", "Choose another: harness history")
    history.set_baseline(entries, parsed.why)
    print(f"Baseline of {', '.join(entry.key for entry in entries)}: run {entries[0].run_id}")
    return 0


def _export(parsed: argparse.Namespace, history: History) -> int:
    import pandas as pd

    from harness.report.figures import flat_figures

    if parsed.out.suffix not in FORMATS:
        raise UsageError(f"{parsed.out}: expected a name that ends in {' or '.join(FORMATS)}")
    rows = []
    for name in [parsed.model] if parsed.model else history.models():
        for entry in history.entries(name):
            about = {"run_id": entry.run_id, "started": entry.started, "commit": entry.commit_id}
            rows.append({**about, **flat_figures(history.record(entry))})
    if not rows:
        raise DataError("the history has nothing to export", "Run something first: harness run ...")
    frame = pd.DataFrame(rows)
    temporary = parsed.out.with_name(f".{parsed.out.name}.part")
    try:
        if parsed.out.suffix == ".csv":
            frame.to_csv(temporary, index=False)
        else:
            frame.to_parquet(temporary, index=False)
        temporary.replace(parsed.out)
    except ImportError:
        raise MissingError(
            "Parquet needs the Python package 'pyarrow'", "Install it: pip install pyarrow, or write .csv"
        ) from None
    except OSError as error:
        raise OutputError(f"expected to write {parsed.out}; {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)
    print(f"{parsed.out}: {len(rows)} items")
    return 0
