"""Inferences over a faulty wire against a clean one: none wrong, none lost, and what it costs in time.

    ./run benchmark chaos [--samples N]        the table of docs/link.md
    ./run benchmark chaos --model test15_sigmoid --samples 100000 [--baud N] [--chaos FAULTS]     one line

Runs a network of the zoo as a native process (or in QEMU) and compares every output with the
oracle's. With --baud both wires are paced to that rate; without, they are as fast as this machine, and
a time is of this machine and its load, which stands in the last column. Exit code 1: an answer is wrong or
missing, or the faulty wire takes more than three times as long; for a long input that is wanted on paced
lines only.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.link_load import Load, load_of
from benchmarks.paced_port import PacedPort
from harness.boards import choose_board
from harness.boards.base import Port
from harness.errors import HarnessError
from harness.link.chaos import Chaos, ChaosPort, parse_chaos
from harness.link.client import Link
from harness.targets import get_target

FAULTS = "drop=1e-3,flip=1e-3,dup=1e-3,garbage=1e-3,delay=1e-3,reset=2e-6,seed=1"
MOST_TIMES = 3.0
SHORT_INPUT_BYTES = 64


@dataclass(frozen=True)
class Line:
    """A line of the table; `baud` None is as fast as this machine."""

    model: str
    baud: int | None
    samples: int


TABLE = (
    Line("test15_sigmoid", None, 10_000),
    Line("mnist_mlp", 115_200, 200),
    Line("mnist_mlp", 460_800, 500),
    Line("mnist_mlp", 921_600, 500),
    Line("mnist_mlp", None, 500),
)


@dataclass(frozen=True)
class Cost:
    """What a run took: seconds, the bench's own processor seconds, bytes both ways."""

    seconds: float
    processor_s: float
    moved_bytes: int
    restarts: int
    bad: int


def run(load: Load, baud: int | None, chaos: Chaos | None) -> Cost:
    """All inferences; `bad` answers are wrong or missing."""
    image = load.image
    board, _ = choose_board(
        get_target(image.target), image, kind="host" if image.platform == "host" else "qemu"
    )
    with board as opened:
        port: Port = PacedPort(opened, baud) if baud else opened
        link = Link(
            ChaosPort(port, chaos, board.reset) if chaos else port, board_state=board.state, timeout_s=60.0
        )
        link.connect()
        start_s, processor_s = time.perf_counter(), time.process_time()
        bad = load.wrong(reply.output for reply in link.infer_stream(load.inputs))
        elapsed_s, processor_s = time.perf_counter() - start_s, time.process_time() - processor_s
        seen = link.statistics
        return Cost(elapsed_s, processor_s, seen.bytes_sent + seen.bytes_received, seen.restarts, bad)


def compare(line: Line, platform: str, chaos: Chaos) -> bool:
    """Prints a line of the table; whether it is as wanted."""
    with tempfile.TemporaryDirectory() as directory:
        load = load_of(line.model, platform, line.samples, Path(directory))
        size = len(load.inputs[0])
        try:
            clean, faulty = run(load, line.baud, None), run(load, line.baud, chaos)
        except HarnessError as error:
            print(f"{line.model} {line.baud or 'unpaced'}: not delivered: {error}")
            return False
    times = faulty.seconds / clean.seconds
    each = 1000 / len(load.inputs)
    figures = (
        f"{line.model:>15}  {size:>6}  {line.baud or 'unpaced':>8}  {line.samples:>10}",
        f"{clean.bad + faulty.bad:>5}  {clean.seconds * each:8.2f} {faulty.seconds * each:8.2f}",
        f"{times:5.2f}",
        f"{clean.processor_s * each:8.2f} {faulty.processor_s * each:8.2f}",
        f"{clean.moved_bytes / len(load.inputs):8.0f} {faulty.moved_bytes / len(load.inputs):8.0f}",
        f"{faulty.restarts:>6}  {os.getloadavg()[0]:4.1f}",
    )
    print("  ".join(figures), flush=True)
    wanted = line.baud is not None or size <= SHORT_INPUT_BYTES
    return not clean.bad and not faulty.bad and (times <= MOST_TIMES or not wanted)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", help="zoo name or file of runtime tflm (default: the table)")
    parser.add_argument(
        "--samples", type=int, help="inferences of each line (default: the table's; else 1000)"
    )
    parser.add_argument("--baud", type=int, help="pace the line to this rate")
    parser.add_argument("--platform", default="host", choices=("host", "qemu_riscv32", "qemu_xtensa"))
    parser.add_argument("--chaos", type=parse_chaos, default=parse_chaos(FAULTS), metavar="FAULTS")
    options = parser.parse_args()
    if options.model or options.baud:
        lines = [Line(options.model or "mnist_mlp", options.baud, options.samples or 1000)]
    else:
        lines = [Line(line.model, line.baud, options.samples or line.samples) for line in TABLE]
    print(f"on {options.platform}, {os.cpu_count()} cores; --chaos {options.chaos}")
    print(f"{'':52}{'ms per inference':>17}{'':9}{'processor ms':>17}{'':2}{'bytes, both ways':>17}")
    columns = ("network", "input", "baud", "inferences", "wrong", "clean   faulty", "times", "clean   faulty")
    widths = (15, 6, 8, 10, 5, 17, 5, 17)
    heads = (f"{column:>{width}}" for column, width in zip(columns, widths, strict=True))
    print("  ".join([*heads, f"{'clean   faulty':>17}", "resets", "load"]))
    good = [compare(line, options.platform, options.chaos) for line in lines]
    return int(not all(good))


if __name__ == "__main__":
    sys.exit(main())
