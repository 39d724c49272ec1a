"""`harness replay`: a run's report again from its wire logs, compared with what was written then."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.replay import replay
from harness.report.figures import many
from harness.resume import JOURNAL, LATEST, find_run

REPORTS = Path("reports")
PAGE = "report.html"
Parsers = Any  # argparse's own type of `add_subparsers` is private


def add_command(commands: Parsers) -> None:
    """Adds `replay` to the command line."""
    command = commands.add_parser(
        "replay",
        help="a run's report again from its wire logs, offline, compared byte for byte",
        description="Decodes every frame the devices sent, judges the answers anew and writes the whole "
        "report. Needs the run's directory alone: no board, no build, no model files. Exit code 1: a file is "
        "not the one written then, byte for byte.",
        epilog="harness replay latest --out /tmp/again",
    )
    command.add_argument(
        "which", nargs="?", default=LATEST, metavar="RUN", help="directory or id (default: latest)"
    )
    command.add_argument(
        "--out", type=Path, metavar="DIR", help="(default: RUN/replayed); an earlier replay is replaced"
    )
    command.set_defaults(run=_replay)


def _replay(parsed: argparse.Namespace) -> int:
    run = find_run(REPORTS, parsed.which)
    out = parsed.out or run / "replayed"
    if out.is_dir() and any(out.iterdir()) and ((out / JOURNAL).exists() or not (out / PAGE).exists()):
        raise UsageError(f"{out} holds something else than a replay", "Give a new directory: --out DIR")
    done = replay(run, out)
    words = {True: "identical", False: "DIFFERS", None: "the run has none"}
    width = max(map(len, done.files))
    for name, same in done.files.items():
        print(f"{name:<{width}}  {words[same]}")
    for key in done.from_journal:
        print(f"{key}: has no figures from a wire log; its record is the journal's")
    number = sum(same is True for same in done.files.values())
    judged = many(len(done.items), "item")
    print(f"{judged} judged again, {number} of {len(done.files)} files identical: {out}")
    return int(False in done.files.values())
