"""Inferences over a faulty wire against a clean one: none wrong, none lost, and what it costs in time.

    ./run benchmark chaos [--model test15_sigmoid] [--samples 100000] [--baud N] [--chaos FAULTS]

Runs a network of the zoo as a native process (or in QEMU) and compares every output with the
oracle's. With --baud both wires are paced to that rate; without, they are as fast as this machine, and
a time is of this machine and its load. Exit code 1: an answer is wrong or missing, or the faulty wire
takes more than three times as long.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
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


def run(load: Load, baud: int | None, chaos: Chaos | None) -> tuple[float, int]:
    """Prints one line; seconds, and how many answers are wrong or missing."""
    image = load.image
    board, _ = choose_board(
        get_target(image.target), image, kind="host" if image.platform == "host" else "qemu"
    )
    with board as opened:
        port: Port = PacedPort(opened, baud) if baud else opened
        faulty = ChaosPort(port, chaos, board.reset) if chaos else None
        link = Link(faulty or port, board_state=board.state, timeout_s=60.0)
        link.connect()
        start_s = time.perf_counter()
        bad = load.wrong(reply.output for reply in link.infer_stream(load.inputs))
        elapsed_s = time.perf_counter() - start_s
        seen = link.statistics
        print(
            f"{'faulty' if chaos else 'clean':7} {len(load.inputs)} inferences, {bad} wrong or missing, "
            f"{elapsed_s:.1f} s, {(seen.bytes_sent + seen.bytes_received) / 1e6:.1f} MB, "
            f"{seen.retries} sent again, {seen.restarts} restarts seen",
            flush=True,
        )
        if faulty:
            print(f"        {faulty.faults}")
    return elapsed_s, bad


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--platform", default="host", choices=("host", "qemu_riscv32", "qemu_xtensa"))
    parser.add_argument("--model", default="test15_sigmoid", help="zoo name or file of runtime tflm")
    parser.add_argument("--baud", type=int, help="pace the line to this rate")
    parser.add_argument("--chaos", type=parse_chaos, default=parse_chaos(FAULTS), metavar="FAULTS")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        load = load_of(options.model, options.platform, options.samples, Path(directory))
        print(
            f"{options.model}, {len(load.inputs[0])} input bytes, on {options.platform}, "
            f"{f'{options.baud} baud' if options.baud else 'as fast as it goes'}, {os.cpu_count()} cores; "
            f"--chaos {options.chaos}"
        )
        try:
            clean_s, bad = run(load, options.baud, None)
            faulty_s, faulty_bad = run(load, options.baud, options.chaos)
        except HarnessError as error:
            print(f"not delivered: {error}")
            return 1
    print(f"time: {faulty_s / clean_s:.2f} x the clean wire's (wanted: at most {MOST_TIMES:g})")
    return int(bad + faulty_bad > 0 or faulty_s > MOST_TIMES * clean_s)


if __name__ == "__main__":
    sys.exit(main())
