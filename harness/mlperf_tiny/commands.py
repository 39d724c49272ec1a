"""`harness mlperf-tiny`: an MLPerf Tiny run on an attached device, of this bench or of anybody."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from harness.boards.serial_port import SerialBoard
from harness.errors import DataError
from harness.mlperf_tiny.dataset import Sample, read_dataset
from harness.mlperf_tiny.device import INFER_TIMEOUT_S, MlperfDevice
from harness.mlperf_tiny.session import WINDOWS, run_accuracy, run_performance
from harness.new_directory import check_new, write_new
from harness.progress import ConsoleWriter, ProgressLine

MODES = ("accuracy", "performance")
Parsers = Any  # argparse's own type of `add_subparsers` is private


def add_command(commands: Parsers) -> None:
    """Adds `harness mlperf-tiny` to the command line."""
    parser = commands.add_parser(
        "mlperf-tiny",
        help="an MLPerf Tiny run on any device that speaks its serial dialect",
        description="Sends the samples, reads each one back before its score counts, and writes DIR/MODE/"
        "log.txt, results.txt and results.json. Exit code 1: not fit to be submitted.",
        epilog="harness mlperf-tiny --port /dev/ttyUSB0 --dataset datasets/ic01 --mode accuracy --out DIR",
    )
    parser.add_argument("--port", required=True, metavar="PORT", help="device path, socket:// or rfc2217://")
    parser.add_argument("--baud", type=int, metavar="N", help="of --port (default: 115200)")
    parser.add_argument(
        "--dataset", required=True, type=Path, metavar="DIR", help="y_labels.csv and the files it names"
    )
    parser.add_argument("--mode", required=True, choices=MODES)
    parser.add_argument("--out", required=True, type=Path, metavar="DIR")
    parser.add_argument(
        "--infer-timeout",
        type=float,
        default=INFER_TIMEOUT_S,
        metavar="S",
        help=f"longest silence while the network runs (default: {INFER_TIMEOUT_S:g})",
    )
    parser.set_defaults(run=_run)


def _run(parsed: argparse.Namespace) -> int:
    directory = parsed.out / parsed.mode
    check_new(directory)
    samples = _chosen(read_dataset(parsed.dataset), parsed.mode)
    with SerialBoard("unknown", parsed.port, parsed.baud) as port:
        device = MlperfDevice(port, infer_timeout_s=parsed.infer_timeout)
        device.connect()
        print(f"{device.name}, model {device.model}")
        unit = "samples" if parsed.mode == "accuracy" else "windows"
        progress = ProgressLine(device.name, ConsoleWriter(sys.stderr), unit)
        run = run_accuracy if parsed.mode == "accuracy" else run_performance
        session = run(device, samples, progress)
    write_new(directory, session.files())
    print("\n".join([*session.results, *filter(None, [session.quality])]))
    print(f"{directory}: log.txt, results.txt, results.json")
    return 0 if session.valid else 1


def _chosen(samples: list[Sample], mode: str) -> list[Sample]:
    sizes = {len(sample.windows[0]) for sample in samples}
    if len(sizes) > 1:
        raise DataError(f"expected samples of one size, came {', '.join(map(str, sorted(sizes)))} bytes")
    return samples if mode == "accuracy" else samples[:WINDOWS]
