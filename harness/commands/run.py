"""`harness run`: the bench without pytest."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.bench import Bench
from harness.errors import UsageError
from harness.progress import ConsoleWriter, ProgressLine
from harness.report import render_table
from harness.resume import Resumed, load_killed_run
from harness.settings import OPTIONS, Option, Settings, settings_from
from harness.targets import TARGETS

ITEM_BROKE = 3
REPORTS = Path("reports")
_PORT_OPTIONS = ("port", "baud", "port_mac", "port_location", "skip_autoflash")
Parsers = Any  # argparse's own type of `add_subparsers` is private


def add_command(commands: Parsers) -> None:
    """Adds `run` to the command line."""
    run = commands.add_parser(
        "run",
        help="run models on boards and write a report",
        description="Quantised model -> firmware -> board -> compared results -> report.",
        epilog="harness run my.tflite --target esp32s3,esp32c3 --data my.npz",
    )
    run.add_argument("models", nargs="?", help="as --model; default: the whole zoo")
    run.add_argument("--target", metavar="LIST", help=f"of {', '.join(TARGETS)}")
    run.add_argument(
        "--resume",
        nargs="?",
        const="",
        metavar="RUN",
        help="go on with a run that was killed: its directory or id (default: the latest, or --report-dir); "
        "its settings need not be repeated. What it had finished is not run again",
    )
    run.add_argument(
        "--port", metavar="PORT", help="serial device, rfc2217:// or socket:// of an attached board"
    )
    run.add_argument("--port-mac", metavar="MAC", help="the attached board whose chip has this address")
    run.add_argument(
        "--port-location", metavar="USB", help="the attached board at this USB place, such as 1-2.3"
    )
    run.add_argument("--baud", metavar="N", help="baud rate of --port")
    run.add_argument(
        "--skip-autoflash", metavar="y|n", help="y: an attached board keeps the firmware it has (default: n)"
    )
    for option in OPTIONS:
        run.add_argument(
            option.flag,
            dest=option.field,
            metavar=option.metavar,
            choices=option.choices or None,
            default=option.default,
            help=f"{option.help} (default: {option.default or 'none'})",
        )
    run.set_defaults(run=_run)


def _settings(parsed: argparse.Namespace, resumed: Resumed | None) -> Settings:
    """As on the command line; of a run that is resumed, its own where the command line is silent."""
    before = resumed.contents.settings if resumed else {}

    def value(option: Option) -> str:
        if option.field == "model" and parsed.models:
            return str(parsed.models)
        given = str(getattr(parsed, option.field))
        return before.get(option.field, given) if given == option.default else given

    target = parsed.target or before.get("target")
    if not target:
        raise UsageError("harness run needs a chip", "e.g. harness run mnist_mlp --target esp32c3")
    return settings_from(
        value,
        target=target,
        root=Path.cwd(),
        **{name: _first(getattr(parsed, name), before.get(name) or None) for name in _PORT_OPTIONS},
    )


def _first(given: str | None, before: str | None) -> str | None:
    return before if given is None else given


def _run(parsed: argparse.Namespace) -> int:
    resumed: Resumed | None = None
    if parsed.resume is not None:
        directory = Path(parsed.report_dir) if parsed.report_dir else None
        resumed = load_killed_run(REPORTS, parsed.resume, directory)
    settings = _settings(parsed, resumed)
    console = Console()
    writer = ConsoleWriter(sys.stderr)
    command = shlex.join(["harness", *sys.argv[1:]])
    bench = Bench(settings, reports_root=REPORTS, command=command, say=writer.line, resumed=resumed)
    if resumed is not None:
        writer.line(resumed.summary)
    try:
        for item in bench.items():
            record = bench.run_item(
                item,
                ProgressLine(item.key, writer),
                ProgressLine(f"{item.key} flashing", writer, "bytes"),
            )
            writer.line(f"{item.key}: {record.outcome}")
    except KeyboardInterrupt:
        run_directory = shlex.quote(os.path.relpath(bench.directory.path))
        writer.line(f"What was measured is kept. Go on with it: harness run --resume={run_directory}")
        raise
    run = bench.finish()
    render_table(run, console)
    print(f"Report: {os.path.relpath(bench.reports['report.html'])}")
    for warning in bench.warnings:
        print(f"harness: {warning}", file=sys.stderr)
    outcomes = {record.outcome for record in run.items}
    return ITEM_BROKE if "error" in outcomes else int("failed" in outcomes)
