"""`harness report`: a run's report made again from what the run left behind, and opened in a browser.

Nothing runs and nothing is judged again.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import webbrowser
from pathlib import Path
from typing import Any

from harness.errors import DataError

Parsers = Any  # argparse's own type of `add_subparsers` is private

REPORTS = Path("reports")
JOURNAL = "journal.jsonl"


def add_command(commands: Parsers) -> None:
    """Adds `report` to the command line."""
    report = commands.add_parser(
        "report",
        help="make a run's report again from its journal; --open shows it in a browser",
        description="Writes report.html, summary.md, junit.xml and the tables of a run anew into its "
        "directory, from the journal and the pictures that lie there: after an update of the harness, or for "
        "a run that was killed.",
        epilog="harness report --open; harness report 20260102-030405 --open",
    )
    report.add_argument(
        "which",
        metavar="RUN",
        nargs="?",
        default="latest",
        help="a run's directory, or its name in reports/ or the beginning of that (default: latest)",
    )
    report.add_argument("--open", action="store_true", help="show report.html in the browser")
    report.set_defaults(run=_report)


def _report(parsed: argparse.Namespace) -> int:
    from harness.records.journal import read_journal
    from harness.report import pictures, write_reports

    directory = find_run(parsed.which, REPORTS)
    contents = read_journal(directory / JOURNAL)
    run = contents.run
    if not contents.ended:
        spent_s = sum(item.duration_s for item in run.items)
        run = dataclasses.replace(run, ended=False, duration_s=spent_s)
        print(f"This run did not come to its end; finished items: {len(run.items)}")
    if not run.items and not contents.samples:
        raise DataError(f"run {run.run_id} has nothing to report: no item was finished")
    images = pictures.unpack(run, directory / pictures.FILE)
    page = write_reports(run, contents.samples, directory, images)["report.html"]
    print(f"Report: {os.path.relpath(page)}")
    if parsed.open:
        show(page)
    return 0


def find_run(which: str, reports: Path) -> Path:
    """The directory of a run: itself, its name in `reports`, or the beginning of one run's name.

    Raises:
        DataError: there is none, or several begin so.
    """
    for directory in (Path(which), reports / which):
        if (directory / JOURNAL).is_file():
            return directory.resolve()
    found = sorted(path.parent for path in reports.glob(f"*/{JOURNAL}") if path.parent.name.startswith(which))
    if len(found) == 1:
        return found[0].resolve()
    if found:
        names = ", ".join(path.name for path in found)
        raise DataError(f"several runs begin with '{which}': {names}", "Give more of its name")
    if which == "latest":
        raise DataError(
            f"there is no run in {reports}/ yet",
            "Run something first: harness run mnist_mlp --target esp32c3",
        )
    raise DataError(f"expected a run's directory or name, came '{which}'", f"List them: ls {reports}")


def show(page: Path) -> None:
    """Opens a file in the user's browser, or says that there is none."""
    try:
        opened = webbrowser.open(page.as_uri())
    except webbrowser.Error:
        opened = False
    if not opened:
        print("No browser was found here; open that file in one, on any machine: it loads nothing else.")
