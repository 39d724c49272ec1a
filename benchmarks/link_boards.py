"""Many boards at once, each behind a line of its own: do sixteen carry sixteen times what one does?

    ./run benchmark boards [--boards 16] [--baud 921600] [--samples 300]

One process for each board, as pytest-xdist's workers are, and in each the native firmware behind a
paced line. Exit code 1: less than 0.9 times the boards' number. That is of this machine: where its
cores do not suffice for the hosts and the firmware, the processor column says so.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

from benchmarks.link_load import Load, load_of
from benchmarks.paced_port import PacedPort
from harness.boards import choose_board
from harness.link.client import Link
from harness.targets import get_target

WANTED = 0.9
_START_S = 120.0


def drive(load: Load, baud: int, ready: Barrier) -> None:
    """One board's work, from the moment all are ready; exits 1 for a wrong answer."""
    board, _ = choose_board(get_target(load.image.target), load.image, kind="host")
    with board as opened:
        link = Link(PacedPort(opened, baud), board_state=board.state, timeout_s=60.0)
        link.connect()
        link.infer(load.inputs[0])
        ready.wait(_START_S)
        wrong = load.wrong(reply.output for reply in link.infer_stream(load.inputs))
    sys.exit(bool(wrong))


def throughput(load: Load, baud: int, boards: int) -> tuple[float, float]:
    """Inferences a second of all boards together, and how many cores they kept busy."""
    forked = multiprocessing.get_context("fork")
    ready = forked.Barrier(boards + 1)
    workers = [forked.Process(target=drive, args=(load, baud, ready)) for _ in range(boards)]
    for worker in workers:
        worker.start()
    ready.wait(_START_S)
    before_s, start_s = _processor_s(), time.perf_counter()
    for worker in workers:
        worker.join()
    elapsed_s = time.perf_counter() - start_s
    if any(worker.exitcode for worker in workers):
        raise SystemExit("an answer is wrong, or a board was lost")
    return boards * len(load.inputs) / elapsed_s, (_processor_s() - before_s) / elapsed_s


def _processor_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--boards", type=int, default=16)
    parser.add_argument("--baud", type=int, default=921_600)
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--model", default="mnist_mlp", help="zoo name or file of runtime tflm")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        load = load_of(options.model, "host", options.samples, Path(directory))
        what = f"{options.model}, {len(load.inputs[0])} input bytes, {options.baud} baud"
        print(f"{what}, {os.cpu_count()} cores")
        print(f"{'boards':>7}  {'inferences/s':>12}  {'of boards x one':>15}  {'cores busy':>10}")
        one = part = 0.0
        for boards in sorted({1, 2, 4, 8, options.boards}):
            if boards > options.boards:
                break
            rate, cores = throughput(load, options.baud, boards)
            one = one or rate
            part = rate / (boards * one)
            print(f"{boards:>7}  {rate:12.1f}  {part:15.3f}  {cores:10.2f}", flush=True)
    return int(part < WANTED)


if __name__ == "__main__":
    sys.exit(main())
