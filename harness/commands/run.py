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
from harness.progress import ConsoleWriter, ProgressLine
from harness.report import render_table
from harness.settings import OPTIONS, Option, settings_from
from harness.targets import TARGETS

ITEM_BROKE = 3
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
    run.add_argument("--target", required=True, metavar="LIST", help=f"of {', '.join(TARGETS)}")
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


def _run(parsed: argparse.Namespace) -> int:
    def value(option: Option) -> str:
        if option.field == "model" and parsed.models:
            return str(parsed.models)
        return str(getattr(parsed, option.field))

    settings = settings_from(
        value,
        target=parsed.target,
        port=parsed.port,
        baud=parsed.baud,
        root=Path.cwd(),
        port_mac=parsed.port_mac,
        port_location=parsed.port_location,
        skip_autoflash=parsed.skip_autoflash,
    )
    console = Console()
    writer = ConsoleWriter(sys.stderr)
    command = shlex.join(["harness", *sys.argv[1:]])
    bench = Bench(settings, reports_root=Path("reports"), command=command, say=writer.line)
    for item in bench.items():
        record = bench.run_item(
            item,
            ProgressLine(item.key, writer),
            ProgressLine(f"{item.key} flashing", writer, "bytes"),
        )
        writer.line(f"{item.key}: {record.outcome}")
    run = bench.finish()
    render_table(run, console)
    print(f"Report: {os.path.relpath(bench.reports['report.html'])}")
    for warning in bench.warnings:
        print(f"harness: {warning}", file=sys.stderr)
    outcomes = {record.outcome for record in run.items}
    return ITEM_BROKE if "error" in outcomes else int("failed" in outcomes)
