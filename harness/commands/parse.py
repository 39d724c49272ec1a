"""`harness parse`: what firmware that was not made here prints."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.boards.serial_port import SerialBoard
from harness.dialects import DIALECTS, get_dialect, parse_log, whole_inferences
from harness.dialects.compare import compare
from harness.dialects.console import capture
from harness.dialects.output import parsed_csv, parsed_json, render
from harness.errors import DataError, UsageError
from harness.items import Workshop, load_artifact
from harness.model.spec import load_model
from harness.runtimes import get_runtime
from harness.settings import build_root_under
from harness.targets import get_target

Parsers = Any  # argparse's own type of `add_subparsers` is private


def add_command(commands: Parsers) -> None:
    """Adds `parse` to the command line."""
    parse = commands.add_parser(
        "parse",
        help="read what other firmware prints: scores, latencies, profiles",
        description="Reads the console log of firmware that was not made here. Dialects: "
        + "; ".join(f"{dialect.name} ({dialect.summary})" for dialect in DIALECTS.values()),
        epilog="harness parse monitor.log --format csv; harness parse --port /dev/ttyUSB0 --seconds 20",
    )
    parse.add_argument("log", nargs="?", metavar="LOG", help="captured console output; - for standard input")
    parse.add_argument("--port", metavar="PORT", help="read an attached board instead of a LOG")
    parse.add_argument("--baud", type=int, metavar="N", help="of --port (default: 115200)")
    parse.add_argument("--seconds", type=float, default=10.0, metavar="N", help="how long (default: 10)")
    parse.add_argument("--dialect", metavar="NAME", help="default: the one that fits")
    parse.add_argument("--model", metavar="MODEL", help="compare the scores with this model")
    parse.add_argument(
        "--runtime", default="tflm", metavar="NAME", help="what that firmware runs it in (default: tflm)"
    )
    parse.add_argument("--target", metavar="CHIP", help="where the runtime's files differ by chip")
    parse.add_argument(
        "--data", type=Path, metavar="FILE", help="its inputs, one per inference, in the log's order"
    )
    parse.add_argument("--inferences", type=int, metavar="N", help="only the first N whole ones")
    parse.add_argument("--format", default="table", choices=("table", "json", "csv"))
    parse.set_defaults(run=_parse)


def _parse(parsed: argparse.Namespace) -> int:
    if parsed.data and not parsed.model:
        raise UsageError("--data without --model: there is nothing to compare with", "Add --model")
    if (parsed.log is None) == (parsed.port is None):
        raise UsageError("expected a LOG or --port, one of the two", "e.g. harness parse --port /dev/ttyUSB0")
    if parsed.dialect:
        get_dialect(parsed.dialect)
    found = parse_log(_read_console(parsed) if parsed.port else _read_log(parsed.log), parsed.dialect)
    if parsed.port or parsed.inferences:
        found = whole_inferences(found, parsed.inferences)
    comparison = None
    if parsed.model:
        model = load_model(parsed.model)
        target = get_target(parsed.target) if parsed.target else None
        workshop = Workshop(build_root_under(Path.cwd()) / "artifacts")
        artifact = load_artifact(model, parsed.runtime, target, workshop)
        oracle = get_runtime(parsed.runtime).oracle(artifact)
        comparison = compare(found, model, artifact, oracle, parsed.data)
    if parsed.format == "json":
        print(parsed_json(found, comparison))
    elif parsed.format == "csv":
        print(parsed_csv(found, comparison), end="")
    else:
        render(found, comparison, Console())
    gap = comparison.runtime_gap if comparison else None
    wrong = gap is not None and not gap.exact
    return int(wrong or any(verdict.passed is not True for verdict in found.verdicts))


def _read_console(parsed: argparse.Namespace) -> bytes:
    if not 0 < parsed.seconds < 1e6:
        raise UsageError(f"--seconds expects a number above 0, got {parsed.seconds:g}")
    with SerialBoard("unknown", parsed.port, parsed.baud) as port:
        return capture(port, parsed.seconds)


def _read_log(name: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise DataError(f"{name}: expected a readable log, came {error.strerror}") from None
