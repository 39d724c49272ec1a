"""How much of a serial line's time goes into inputs: the link against the physical limit, rate by rate.

    ./run benchmark link [--model mnist_mlp] [--samples 300] [--platform host]

The board is a native process (or QEMU) behind a line paced at each rate, ten bits a byte. `inputs` is
input bytes over what the line could have carried in that time; `limit` is what they are of all bytes
sent, which is what a line without a gap would show: the rest are frame and INFER headers, CRC and COBS.
Exit code 1: below 95 %.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.link_load import Load, load_of
from benchmarks.paced_port import BITS_PER_BYTE, PacedPort
from harness.boards import choose_board
from harness.errors import HarnessError
from harness.link.client import Link
from harness.targets import get_target

RATES = (115_200, 460_800, 921_600, 2_000_000)
WANTED = 0.95


def efficiency(load: Load, baud: int) -> tuple[float, float]:
    """Prints a line; the part of the wire's time that carried inputs, and the part it could have."""
    image = load.image
    board, _ = choose_board(
        get_target(image.target), image, kind="host" if image.platform == "host" else "qemu"
    )
    with board as opened:
        paced = PacedPort(opened, baud)
        link = Link(paced, board_state=board.state, timeout_s=60.0)
        link.connect()
        link.infer(load.inputs[0])
        sent, busy_s = link.statistics.bytes_sent, paced.to_board.busy_s
        start_s = time.perf_counter()
        wrong = load.wrong(reply.output for reply in link.infer_stream(load.inputs))
        elapsed_s = time.perf_counter() - start_s
        sent, busy_s = link.statistics.bytes_sent - sent, paced.to_board.busy_s - busy_s
    if wrong:
        raise HarnessError(f"{wrong} answers are wrong")
    input_bytes = sum(map(len, load.inputs))
    part, limit = input_bytes * BITS_PER_BYTE / baud / elapsed_s, input_bytes / sent
    print(
        f"{baud:>9}  {len(load.inputs) / elapsed_s:12.1f}  {100 * busy_s / elapsed_s:6.1f} %  "
        f"{100 * part:6.1f} %  {100 * limit:6.1f} %  {part / limit:6.3f}",
        flush=True,
    )
    return part, limit


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--platform", default="host", choices=("host", "qemu_riscv32", "qemu_xtensa"))
    parser.add_argument("--model", default="mnist_mlp", help="zoo name or file of runtime tflm")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        load = load_of(options.model, options.platform, options.samples, Path(directory))
        print(
            f"{options.model}, {len(load.inputs[0])} input bytes, on {options.platform}, "
            f"{os.cpu_count()} cores\n"
            f"{'baud':>9}  {'inferences/s':>12}  {'busy':>8}  {'inputs':>8}  {'limit':>8}  {'ratio':>6}"
        )
        parts = [efficiency(load, baud)[0] for baud in RATES]
    return int(min(parts) < WANTED)


if __name__ == "__main__":
    sys.exit(main())
