"""How fast the link moves inferences on the emulated boards: windowed against stop-and-wait.

    ./run benchmark emulated [--model models/mnist_mlp/model.tflite] [--samples 500]

A figure of this machine and its load, not of any chip; nothing in the tests depends on it.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from harness.boards import choose_board
from harness.errors import HarnessError
from harness.link.client import Link
from harness.link.messages import InferenceReply
from harness.runtimes import get_runtime
from harness.targets import get_target
from harness.toolchains.bare_metal import build

ROOT = Path(__file__).resolve().parents[1]
Run = Callable[[Link, list[bytes]], Iterable[InferenceReply]]
WAYS: dict[str, Run] = {
    "windowed": lambda link, inputs: link.infer_stream(inputs),
    "stop-and-wait": lambda link, inputs: map(link.infer, inputs),
}


def measure(target_id: str, model: Path, samples: int, directory: Path) -> None:
    """Prints one line for each way on this target's emulator."""
    target, runtime = get_target(target_id), get_runtime("tflm")
    project = runtime.generate(runtime.load(model), "portable", directory / target_id)
    image = build(project, target, target.isa_platform, build_root=directory)
    board, _ = choose_board(target, image, kind="qemu")
    with board as port:
        link = Link(port, board_state=board.state, timeout_s=60.0)
        link.connect()
        rng = random.Random(0)
        inputs = [rng.randbytes(link.describe().input_bytes) for _ in range(samples)]
        link.infer(inputs[0])
        for name, run in WAYS.items():
            before = link.statistics.bytes_sent + link.statistics.bytes_received
            start_s = time.perf_counter()
            done = sum(1 for _ in run(link, inputs))
            elapsed_s = time.perf_counter() - start_s
            moved_bytes = link.statistics.bytes_sent + link.statistics.bytes_received - before
            print(
                f"{target_id:8} {image.platform:13} {name:14} {done / elapsed_s:8.0f} inferences/s "
                f"{moved_bytes / elapsed_s / 1000:8.0f} KB/s   retries {link.statistics.retries}"
            )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "mnist_mlp" / "model.tflite")
    parser.add_argument("--samples", type=int, default=500)
    options = parser.parse_args()
    skipped = 0
    with tempfile.TemporaryDirectory() as directory:
        for target in ("esp32c3", "esp32s3"):
            try:
                measure(target, options.model, options.samples, Path(directory))
            except HarnessError as error:
                print(f"{target:8} not measured: {error}")
                skipped += 1
    return 1 if skipped else 0


if __name__ == "__main__":
    sys.exit(main())
