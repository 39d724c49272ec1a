"""Wall time of a night, cold and warm, and the harness's own time per image: `python -m benchmarks.night`.

Runs a nightly.toml twice, the first time with an empty build directory, the second with what the first left.
Of this machine and its load.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from harness.extras import available, install_command

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
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave reports and build directory there")
    parsed = parser.parse_args()
    if not available("tvm"):
        print(f"without runtime tvm, which is not installed here: {install_command('tvm')}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="night-") as scratch:
        place = (parsed.keep or Path(scratch)).resolve()
        if (place / "build").exists():
            parser.error(f"{place}/build is there already: the first night would not be cold")
        return max([_night(name, parsed.config, parsed.jobs, place) for name in ("cold", "warm")])


def _night(name: str, config: Path, jobs: str, scratch: Path) -> int:
    """Prints one line; the night's own exit code, 0 or 1 for all that ran to its end."""
    reports = scratch / name
    environment = {
        **os.environ,
        "HARNESS_BUILD_ROOT": str(scratch / "build"),
        "HARNESS_HISTORY_URL": f"sqlite:///{scratch}/history.sqlite",
    }
    command = [sys.executable, "-m", "harness.cli", "nightly", str(config), "--jobs", jobs]
    started, before = time.monotonic(), _processor()
    done = subprocess.run(
        [*command, "--report-dir", str(reports)], env=environment, stdout=subprocess.PIPE, text=True
    )
    took_s = time.monotonic() - started
    processor_s = [now - then for now, then in zip(_processor(), before, strict=True)]
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
    counted = sum(_instructions(item) for item in ran)
    print(
        f"  processor time {sum(processor_s) / 60:.1f} min (user {processor_s[0] / 60:.1f}, system "
        f"{processor_s[1] / 60:.1f}), about {counted / 1e9:.0f} thousand million instructions, "
        f"load {os.getloadavg()[0]:.1f}"
    )
    return done.returncode


def _processor() -> tuple[float, float]:
    """Of all children that have ended, and theirs: what a night takes whatever else the machine does."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime, usage.ru_stime


def _instructions(item: dict[str, Any]) -> float:
    """About what the measured inferences took; those before them are not in it."""
    counts = item["counts"]
    return float(counts["median"] * counts["samples"]) if counts else 0.0


if __name__ == "__main__":
    sys.exit(main())
