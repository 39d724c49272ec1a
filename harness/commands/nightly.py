"""`harness nightly`: an unattended run of a whole matrix, with a budget, known failures and a summary."""

from __future__ import annotations

import argparse
import datetime
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from harness.errors import UsageError

Parsers = Any  # argparse's own type of `add_subparsers` is private
REPORTS = Path("reports")

EPILOG = """\
example:
  harness nightly nightly.toml --jobs 2

  # nightly.toml
  budget_minutes = 60
  [[matrix]]
  targets = ["esp32s3", "esp32c3"]
  models = ["zoo"]
  samples = 200
  heavy_samples = 20

exit codes:
  0  all as expected: passed, or failed as a [[known_failure]] says
  1  something is newly wrong: a number, a build, a device's own failure; or a known failure has expired
  2  nightly.toml or an option is wrong; nothing ran
  3  nothing is newly wrong, but an item broke on a board, a link or this machine, at every try
  4  all that ran is as expected, but not everything fitted into budget_minutes
  130  interrupted; what had ended is reported

Only infrastructure faults are tried again, never a wrong number. docs/nightly.md has every key, and files
for systemd, GitHub and GitLab.
"""


def add_command(commands: Parsers) -> None:
    """Adds `nightly` to the command line."""
    nightly = commands.add_parser(
        "nightly",
        help="run a matrix of items unattended and say what changed",
        description="Runs targets x boards x models x runtimes x schemes as a file says, several at once, "
        "within a time budget; writes one report, one history record and night.md, a summary of what is "
        "newly wrong and what got better or worse.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    nightly.add_argument("config", metavar="FILE", type=Path, help="e.g. nightly.toml")
    nightly.add_argument("--jobs", metavar="N", default="", help="items at once (default: one per core)")
    nightly.add_argument("--list", action="store_true", help="only check FILE and print its items")
    nightly.add_argument(
        "--report-dir", metavar="DIR", type=Path, help="where the report goes; default reports/<time>"
    )
    nightly.set_defaults(run=_run)


def _run(parsed: argparse.Namespace) -> int:
    from harness.nightly.config import read_night

    jobs = _jobs(parsed.jobs)
    night = read_night(parsed.config, Path.cwd())
    if parsed.list:
        print("\n".join(job.key for job in night.jobs))
        return 0

    from harness.ledger import Ledger
    from harness.nightly.night import NightRun
    from harness.nightly.past import recall
    from harness.nightly.progress import NightProgress
    from harness.nightly.summary import Summary
    from harness.nightly.verdicts import exit_code, judge
    from harness.progress import ConsoleWriter
    from harness.report.figures import many
    from harness.report.trend import changes

    earlier = recall(night.jobs, REPORTS)
    command = shlex.join(["harness", *sys.argv[1:]])
    ledger = Ledger(REPORTS, parsed.report_dir, command)
    writer = ConsoleWriter(sys.stderr)
    where = os.path.relpath(ledger.directory.path)
    writer.line(f"{many(len(night.jobs), 'item')}, {jobs} at once, into {where}")
    progress = NightProgress(writer, len(night.jobs), jobs)
    run = NightRun(
        night, ledger, jobs=jobs, past=earlier.past, reports_root=REPORTS, command=command, progress=progress
    )
    record = run.run()
    verdicts = judge(record.items, run.not_run, night.known, datetime.date.today(), run.interrupted)
    baseline = night.against == "baseline"
    changed = [found for item in record.items if (found := changes(record, item, baseline=baseline))]
    warnings = [*([earlier.trouble] if earlier.trouble else []), *ledger.warnings]
    code = exit_code(verdicts)
    summary = Summary(night, record, jobs, verdicts, changed, warnings, code)
    summary_path = ledger.directory.write("night.md", summary.markdown())
    print(summary.text())
    for path in (*filter(None, [ledger.reports.get("report.html")]), summary_path):
        print(f"{path.name}: {os.path.relpath(path)}")
    return int(code)


def _jobs(text: str) -> int:
    if not text:
        return len(os.sched_getaffinity(0))
    if not text.isdigit() or int(text) < 1:
        raise UsageError(f"--jobs expects a whole number of at least 1, got '{text}'")
    return int(text)
