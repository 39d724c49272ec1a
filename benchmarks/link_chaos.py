"""Inferences over a faulty wire against a clean one: none wrong, none lost, and what it costs in time.

    python benchmarks/link_chaos.py [--samples 100000] [--platform host] [--chaos FAULTS]

Runs the smallest network of the zoo as a native process (or in QEMU) and compares every output with
the oracle's. A time is of this machine and its load. Exit code 1: an answer is wrong or missing.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from harness.boards import choose_board
from harness.boards.base import Port
from harness.errors import HarnessError
from harness.items import load_artifact
from harness.link.chaos import Chaos, ChaosPort, parse_chaos
from harness.link.client import Link
from harness.model.spec import load_model
from harness.runtimes import get_runtime
from harness.targets import get_target
from harness.toolchains.bare_metal import build
from harness.toolchains.base import Image

FAULTS = "drop=1e-3,flip=1e-3,dup=1e-3,garbage=1e-3,delay=1e-3,reset=2e-6,seed=1"
DIFFERENT_INPUTS = 256


def run(image: Image, inputs: list[bytes], expected: list[bytes], chaos: Chaos | None) -> tuple[float, int]:
    """Prints one line; seconds, and how many answers are wrong or missing."""
    board, _ = choose_board(
        get_target(image.target), image, kind="host" if image.platform == "host" else "qemu"
    )
    with board as opened:
        faulty = ChaosPort(opened, chaos, board.reset) if chaos else None
        port: Port = faulty or opened
        link = Link(port, board_state=board.state, timeout_s=60.0)
        link.connect()
        start_s = time.perf_counter()
        outputs = [reply.output for reply in link.infer_stream(inputs)]
        elapsed_s = time.perf_counter() - start_s
        bad = len(expected) - sum(map(bytes.__eq__, outputs, expected))
        seen = link.statistics
        print(
            f"{'faulty' if chaos else 'clean':7} {len(outputs)} answers, {bad} wrong or missing, "
            f"{elapsed_s:.1f} s, {(seen.bytes_sent + seen.bytes_received) / 1e6:.1f} MB, "
            f"{seen.retries} sent again, {seen.restarts} restarts seen"
        )
        if faulty:
            print(f"        {faulty.faults}")
    return elapsed_s, bad


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--platform", default="host", choices=("host", "qemu_riscv32", "qemu_xtensa"))
    parser.add_argument("--model", default="test15_sigmoid", help="zoo name or file of runtime tflm")
    parser.add_argument("--chaos", type=parse_chaos, default=parse_chaos(FAULTS), metavar="FAULTS")
    options = parser.parse_args()
    target = get_target("esp32s3" if options.platform == "qemu_xtensa" else "esp32c3")
    runtime = get_runtime("tflm")
    artifact = load_artifact(load_model(options.model), "tflm", target)
    rng, oracle = random.Random(0), runtime.oracle(artifact)
    tensor = artifact.inputs[0]
    pool = [rng.randbytes(tensor.size_bytes) for _ in range(DIFFERENT_INPUTS)]
    answers = [oracle.run([np.frombuffer(x, tensor.dtype).reshape(tensor.shape)])[0].tobytes() for x in pool]
    chosen = [rng.randrange(len(pool)) for _ in range(options.samples)]
    inputs, expected = [pool[at] for at in chosen], [answers[at] for at in chosen]
    print(f"{artifact.name} on {options.platform}, {os.cpu_count()} cores; --chaos {options.chaos}")
    with tempfile.TemporaryDirectory() as directory:
        project = runtime.generate(artifact, "portable", Path(directory) / "project")
        image = build(project, target, options.platform, build_root=Path(directory))
        try:
            clean_s, bad = run(image, inputs, expected, None)
            faulty_s, faulty_bad = run(image, inputs, expected, options.chaos)
        except HarnessError as error:
            print(f"not delivered: {error}")
            return 1
    print(f"time: {faulty_s / clean_s:.2f} x the clean wire's")
    return int(bad + faulty_bad > 0)


if __name__ == "__main__":
    sys.exit(main())
