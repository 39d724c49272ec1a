"""How long the history takes to answer at 1,000 runs of 200 items, and to take in one run more.

    python -m benchmarks.history_queries [--runs 1000] [--items 200] [--url sqlite:////tmp/h.sqlite]

Without --url an SQLite file that is made and removed. A figure of this machine and its load.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from harness.history.store import History
from harness.records.schema import (
    CountStatistics,
    ItemRecord,
    LayerRecord,
    Memory,
    RunRecord,
    RuntimeGap,
    Sample,
)

MODELS, BOARDS, SAMPLES, LAYERS = 20, 4, 20, 10
REPEATS = 15
LIMIT_S = 0.1


def one_item(number: int, night: int) -> ItemRecord:
    """Items of 20 models, each in several runtimes, moving between boards from night to night."""
    model, kind = number % MODELS, number // MODELS
    layers = tuple(
        LayerRecord(i, "CONV_2D", f"layer {i}", (1, 8, 8, 4), 1000, 5000 + i, 0, 0) for i in range(LAYERS)
    )
    return ItemRecord(
        f"esp32{'cs'[kind % 2]}3", f"model_{model}", f"runtime_{kind // 2}", "portable", "passed",
        scheme="int8", fidelity="silicon", board=f"board-{(number + night) % BOARDS}",
        runtime_gap=RuntimeGap(0, 0, 10, 0, SAMPLES),
        counts=CountStatistics("cycles", 1, 1000.0 + night % 7, 2, SAMPLES, 1.0, 2.0),
        memory=Memory(100_000, 1, 1, 1, 1, 1, 1, 1), layers=layers,
        provenance={"artifact": "ab" * 32, "compiler": "made-up 1.0"},
    )  # fmt: skip


def one_run(night: int, items: int) -> RunRecord:
    started = (datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=night)).isoformat(timespec="seconds")
    facts = {"commit": f"commit-{night // 3}", "name": "farm"}
    made = tuple(one_item(number, night) for number in range(items))
    return RunRecord(f"run-{night:05}", started, "benchmark", facts, made)


def timed_s(question: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    question()
    return time.perf_counter() - started_s


def questions(history: History, runs: int) -> dict[str, Callable[[], object]]:
    """What the commands and the gates ask."""
    latest = history.run_entries("latest")
    key = latest[0].key
    return {
        "the last 30 runs": lambda: history.runs(30),
        "the models": history.models,
        "a model's last 30 items": lambda: history.entries("model_3", last=30),
        "on one target and runtime": lambda: history.entries(
            "model_3", target="esp32c3", runtime="runtime_1", last=30
        ),
        "on one board": lambda: history.entries("model_3", board="board-1", last=30),
        "a key's last 200, all boards": lambda: history.key_entries(key, 200),
        "the items of the latest run": lambda: history.run_entries("latest"),
        "of one in the middle, by its id": lambda: history.run_entries(f"run-{runs // 2:05}"),
        "one whole record": lambda: history.record(latest[0]),
        "the one before": lambda: history.previous(key, latest[0].run_id),
        "a baseline": lambda: history.baseline(key),
    }


def measure(url: str, runs: int, items: int) -> bool:
    """Prints a line for each question; True when all are answered in time."""
    sample = Sample(0, None, 1, 1, None, 0, 0, 1000, 10, 0, (1.0,), (1.0,), None)
    batch = [dataclasses.replace(sample, index=index) for index in range(SAMPLES)]
    with History(url) as history:
        added_s = []
        for night in range(runs):
            run = one_run(night, items)
            samples = {item.key: batch for item in run.items}
            added_s.append(timed_s(lambda run=run, samples=samples: history.add(run, samples)))
        history.set_baseline(history.run_entries(f"run-{runs // 2:05}"), "benchmark")
        last = added_s[-10:]
        print(f"{'add one run more':32} {statistics.median(last) * 1e3:8.1f} ms   most {max(last) * 1e3:.1f}")
        right = True
        for name, question in questions(history, runs).items():
            took_s = [timed_s(question) for _ in range(REPEATS)]
            right &= statistics.median(took_s) < LIMIT_S
            print(f"{name:32} {statistics.median(took_s) * 1e3:8.1f} ms   most {max(took_s) * 1e3:.1f}")
    return right


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--url", help="an empty database that SQLAlchemy knows")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        url = options.url or f"sqlite:///{Path(directory)}/history.sqlite"
        return 0 if measure(url, options.runs, options.items) else 1


if __name__ == "__main__":
    sys.exit(main())
