"""What is of this machine and its load: start-up, the harness's own time, the link, a night.

Each part gives figures by the rows of `figures.ROWS`; what a row means stands there.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import link_efficiency
from benchmarks.figures import ROOT
from benchmarks.link_load import load_of

_COMMANDS = {
    "harness --help": ["harness.cli", "--help"],
    "pytest --collect-only --target esp32c3": ["pytest", "--collect-only", "-q", "--target", "esp32c3"],
}
_TIMES = 5


def start_up() -> dict[str, float]:
    figures = {}
    for name, module in _COMMANDS.items():
        times = [_times_s(module) for _ in range(_TIMES)]
        figures[name] = statistics.median(wall_s for wall_s, _ in times)
        figures[f"{name}, processor"] = statistics.median(processor_s for _, processor_s in times)
    return figures


def _times_s(module: list[str]) -> tuple[float, float]:
    """Wall and processor time of one process."""
    before, started = os.times(), time.monotonic()
    _run(module)
    wall_s, after = time.monotonic() - started, os.times()
    used = (after.children_user - before.children_user, after.children_system - before.children_system)
    return wall_s, sum(used)


def _run(module: list[str], environment: dict[str, str] | None = None) -> None:
    """Exits with what it said if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", *module],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"python -m {' '.join(module)} failed:\n{done.stdout}{done.stderr}")


def own_time() -> dict[str, float]:
    """The second of two runs, whose expected answers are known."""
    with tempfile.TemporaryDirectory() as directory:
        reports = Path(directory) / "reports"
        what = ["mnist_mlp", "--target", "esp32c3", "--runtime", "tflm", "--samples", "1000"]
        history = {"HARNESS_HISTORY_URL": f"sqlite:///{directory}/history.sqlite"}
        for _ in range(2):
            _run(["harness.cli", "run", *what, "--report-dir", str(reports)], history)
        (item,) = map(json.loads, (reports / "items.jsonl").read_text(encoding="utf-8").splitlines())
    return {"of the harness, per image": 1000 * item["harness_s"] / item["runtime_gap"]["samples"]}


def link() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as directory:
        load = load_of("mnist_mlp", "host", 300, Path(directory))
        return {
            f"{baud:,} baud": 100 * link_efficiency.efficiency(load, baud)[0]
            for baud in link_efficiency.RATES
        }


_NIGHT_LINE = re.compile(
    r"(?P<which>cold|warm): (?P<passed>\d+) of (?P<items>\d+) items passed, (?P<images>\d+) images, "
    r"(?P<min>[\d.]+) min on \d+ processes, the harness's own time (?P<own_ms>[\d.]+) ms per image"
)


def night() -> dict[str, float]:
    """What `python -m benchmarks.night` says; it takes as long as two nights do."""
    command = [sys.executable, "-m", "benchmarks.night"]
    done = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True)
    return night_figures(done.stdout)


def night_figures(said: str) -> dict[str, float]:
    """Exits with what was said, if it is not what two nights that ran to their end say."""
    nights = [line.groupdict() for line in map(_NIGHT_LINE.fullmatch, said.splitlines()) if line]
    if [each["which"] for each in nights] != ["cold", "warm"]:
        sys.exit(f"benchmarks.night did not run to its end; it said:\n{said}")
    cold, warm = nights
    return {
        "cold": float(cold["min"]),
        "warm": float(warm["min"]),
        "items": int(warm["items"]),
        "items passed": min(int(cold["passed"]), int(warm["passed"])),
        "images": int(warm["images"]),
        "own time of the harness, per image": float(warm["own_ms"]),
    }


PARTS: dict[str, Callable[[], dict[str, float]]] = {
    "start-up": start_up,
    "own-time": own_time,
    "link": link,
    "night": night,
}
