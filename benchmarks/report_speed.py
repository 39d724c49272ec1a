"""How long a report of many inferences takes, how much memory, and how large its page gets.

    python -m benchmarks.report_speed [--inferences 100000] [--items 10]

Made-up records of ten scores each: first written from memory, as at the end of a run, then made again from
the journal by `harness report`, each in a process of its own. The memory is the most that process ever had,
the records themselves and Python included. A figure of this machine and its load.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from harness.records.journal import Journal
from harness.records.schema import Accuracy, CountStatistics, ItemRecord, RunRecord, RuntimeGap, Sample
from harness.report import write_reports

CLASSES = 10


def inferences(number: int, seed: int) -> list[Sample]:
    """Every score a multiple of 1/256, as an int8 softmax gives it, beside a float reference."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(CLASSES, size=number)
    logits = rng.normal(size=(number, CLASSES))
    logits[np.arange(number), labels] += 3
    reference = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    oracle = np.rint(reference * 256) / 256
    counts = rng.integers(500_000, 502_000, size=number)
    columns = zip(labels.tolist(), oracle.tolist(), reference.tolist(), counts.tolist(), strict=True)
    return [
        Sample(
            index=index,
            label=label,
            device_class=int(np.argmax(scores)),
            oracle_class=int(np.argmax(scores)),
            reference_class=int(np.argmax(floats)),
            max_lsb=0,
            mismatching_elements=0,
            count=count,
            time_us=count // 160,
            retries=0,
            device_scores=tuple(scores),
            oracle_scores=tuple(scores),
            reference_scores=tuple(floats),
        )
        for index, (label, scores, floats, count) in enumerate(columns)
    ]


def made_up(number: int, items: int) -> tuple[RunRecord, dict[str, list[Sample]]]:
    """`number` inferences spread over `items` items."""
    each = number // items
    gap = RuntimeGap(0, 0, each * CLASSES, 0, each)
    counts = CountStatistics("cycles", 500_000, 501_000.0, 502_000, each)
    records = tuple(
        ItemRecord(
            "esp32s3", f"made-up-{index}", "tflm", "portable", "passed", fidelity="silicon", runtime_gap=gap,
            accuracy=Accuracy(0.9, 0.9, 0.9, each), counts=counts,
        )
        for index in range(items)
    )  # fmt: skip
    run = RunRecord("made-up", "2026-01-01T00:00:00+00:00", "benchmark", {}, records)
    return run, {record.key: inferences(each, seed) for seed, record in enumerate(records)}


def write(number: int, items: int, directory: Path) -> None:
    """One process: the records, the journal, and the report from memory, which is what is timed."""
    run, samples = made_up(number, items)
    with Journal(directory / "journal.jsonl") as journal:
        journal.write_run(run)
        for item in run.items:
            journal.write_samples(item.key, samples[item.key])
            journal.write_item(item)
        journal.write_end(1.0)
    before = time.perf_counter(), time.process_time()
    write_reports(run, samples, directory)
    said("written from memory", time.perf_counter() - before[0], time.process_time() - before[1], usage())


def usage() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def said(what: str, wall_s: float, cpu_s: float, most_kib: int) -> None:
    print(f"{what:<28}{wall_s:6.1f} s ({cpu_s:.1f} s of CPU)  at most {most_kib / 1024:.0f} MiB", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--inferences", type=int, default=100_000, metavar="N")
    parser.add_argument("--items", type=int, default=10, metavar="N", help="which they are spread over")
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.into:
        write(options.inferences, options.items, options.into)
        return 0
    numbers = ["--inferences", str(options.inferences), "--items", str(options.items)]
    with tempfile.TemporaryDirectory() as directory:
        again = [sys.executable, "-m", "benchmarks.report_speed", *numbers, "--into", directory]
        subprocess.run(again, check=True)
        start_s, cpu_s = time.perf_counter(), sum(os.times()[2:4])
        command = [sys.executable, "-m", "harness.cli", "report", directory]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        said(
            "harness report, from journal",
            time.perf_counter() - start_s,
            sum(os.times()[2:4]) - cpu_s,
            children,
        )
        for path in sorted(Path(directory).iterdir()):
            print(f"  {path.name:<16}{path.stat().st_size / 1e6:8.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
