"""A one-LSB fault in every layer of every network of the zoo: is each located exactly?

    python -m benchmarks.planted_faults [--runtime tflm,espdl] [--target esp32c3,esp32s3] [--model LIST]

Flips the lowest bit of one element of one layer's output in the generated C, runs that in QEMU, and compares
what the harness says of it with what was planted: layer, operator, shape, element, 1 LSB and nothing else.
Files that a model does not bring are quantised first and kept in build/planted-faults. Exit code 1: a fault
was not located exactly.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from harness.bench import Bench
from harness.errors import HarnessError
from harness.model.spec import zoo
from tests.planted_fault import Attempt, attempts, bench_for, faulty

WORK = Path(__file__).resolve().parents[1] / "build" / "planted-faults"
"""A build root of its own: what is generated and built here is wrong on purpose."""


def sweep(bench: Bench, seed: int, directory: Path) -> list[Attempt]:
    """Every layer of the bench's one item."""
    (item,) = bench.items()
    deployment, faults = faulty(bench, item, seed=seed)
    with deployment:
        return list(attempts(deployment, faults, directory))


def line(name: str, done: Sequence[Attempt], elapsed_s: float) -> str:
    exact = sum(attempt.complaint is None for attempt in done)
    hidden = sum(not attempt.reaches_output for attempt in done)
    most = max((attempt.inferences for attempt in done), default=0)
    return f"{name:44} {len(done):>6} {exact:>8} {hidden:>13} {most:>11} {elapsed_s:>7.1f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="zoo", metavar="LIST")
    parser.add_argument("--runtime", default="tflm", metavar="LIST", help="default: tflm")
    parser.add_argument("--target", default="esp32c3,esp32s3", metavar="LIST")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="which element of each layer")
    options = parser.parse_args()
    models = zoo() if options.model == "zoo" else options.model.split(",")
    print(f"{'target runtime model':44} {'faults':>6} {'located':>8} {'never output':>13} "
          f"{'inferences':>11} {'s':>7}")  # fmt: skip
    every: list[Attempt] = []
    broken, start_s = 0, time.perf_counter()
    for runtime in options.runtime.split(","):
        for model in models:
            for target in options.target.split(","):
                name, begun_s = f"{target} {runtime} {model}", time.perf_counter()
                try:
                    with tempfile.TemporaryDirectory() as directory:
                        done = sweep(bench_for(WORK, model, target, runtime), options.seed, Path(directory))
                except HarnessError as error:
                    print(f"{name:44} {error}", flush=True)
                    broken += 1
                    continue
                print(line(name, done, time.perf_counter() - begun_s), flush=True)
                for attempt in done:
                    if attempt.complaint is not None:
                        print(f"    layer {attempt.fault.layer}: {attempt.complaint}", flush=True)
                every += done
    print(line("all", every, time.perf_counter() - start_s))
    return int(broken > 0 or any(attempt.complaint is not None for attempt in every))


if __name__ == "__main__":
    sys.exit(main())
