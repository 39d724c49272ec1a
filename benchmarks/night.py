"""Wall time of a night, cold and warm, and the harness's own time per image: `python -m benchmarks.night`.

Runs a nightly.toml twice, the first time with an empty build directory, the second with what the first left.
Of this machine and its load.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
NIGHT = CHECKOUT / "docs" / "nightly" / "nightly.toml"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "config", nargs="?", type=Path, default=NIGHT, help="default: docs/nightly/nightly.toml"
    )
    parser.add_argument("--jobs", default=str(len(os.sched_getaffinity(0))), metavar="N")
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="night-") as scratch:
        return max([_night(name, parsed.config, parsed.jobs, Path(scratch)) for name in ("cold", "warm")])


def _night(name: str, config: Path, jobs: str, scratch: Path) -> int:
    """Prints one line; the night's own exit code, 0 or 1 for all that ran to its end."""
    reports = scratch / name
    environment = {
        **os.environ,
        "HARNESS_BUILD_ROOT": str(scratch / "build"),
        "HARNESS_HISTORY_URL": f"sqlite:///{scratch}/history.sqlite",
    }
    command = [sys.executable, "-m", "harness.cli", "nightly", str(config), "--jobs", jobs]
    started = time.monotonic()
    done = subprocess.run(
        [*command, "--report-dir", str(reports)], env=environment, stdout=subprocess.PIPE, text=True
    )
    took_s = time.monotonic() - started
    if done.returncode not in (0, 1):
        print(done.stdout)
        return done.returncode
    items = [json.loads(line) for line in (reports / "items.jsonl").read_text(encoding="utf-8").splitlines()]
    ran = [item for item in items if item["harness_s"] is not None and item["runtime_gap"]]
    images = sum(item["runtime_gap"]["samples"] for item in ran)
    own_ms = 1000 * sum(item["harness_s"] for item in ran) / max(images, 1)
    passed = sum(item["outcome"] == "passed" for item in items)
    print(
        f"{name}: {passed} of {len(items)} items passed, {images} images, {took_s / 60:.1f} min on "
        f"{jobs} processes, the harness's own time {own_ms:.2f} ms per image"
    )
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
