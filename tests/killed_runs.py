"""Runs that are killed with SIGKILL at random moments and resumed, until each has come to its end.

A process of its own that imports and reads everything once and forks for each attempt: an attempt is a real
run with a real board process, without the seconds that Python takes to start. `python -m tests.killed_runs
DIRECTORY KILLS SEED` prints what became of them as JSON.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from harness import bench as bench_module
from harness.bench import Bench
from harness.errors import HarnessError
from harness.history.store import History
from harness.materials import Materials
from harness.progress import Progress
from harness.records.journal import read_journal
from harness.resume import JOURNAL, load_killed_run
from harness.settings import Settings, settings_from
from tests.operator_cases import bundle

SAMPLES = 400


@dataclass
class Outcome:
    """What is to be looked at: every number but `attempts` and the lists should be 0 or as stated.

    `lost` counts samples that had been shown and are not in the journal, `doubled` those that stand in it
    twice, `different` runs whose report is not that of a run without a kill. `at` is how far killed attempts
    came, in samples.
    """

    kills: int = 0
    runs: int = 0
    lost: int = 0
    doubled: int = 0
    different: list[str] = field(default_factory=list)
    at: list[int] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def settings(report: Path, build_root: Path) -> Settings:
    model = build_root / "small.tflite"
    if not model.exists():
        model.write_bytes(bundle("fully_connected", seed=1, count=1))
    given = {
        "model": str(model), "runtime": "tflm", "reference": "none", "board": "host",
        "samples": str(SAMPLES), "report_dir": str(report),
    }  # fmt: skip
    return settings_from(
        lambda option: given.get(option.field, option.default),
        target="esp32c3,esp32s3", port=None, baud=None, root=build_root,
    )  # fmt: skip


def attempt(report: Path, root: Path, shown: int) -> None:
    """In a process of its own: the run from its beginning, or from where it was killed."""
    journal = report / JOURNAL
    begun = journal.exists() and b"\n" in journal.read_bytes()
    resumed = load_killed_run(root, str(report)) if begun else None
    bench = Bench(settings(report, root), reports_root=root, command="killed", resumed=resumed)
    for item in bench.items():
        bench.run_item(item, telling(item.key, shown))
    bench.finish()
    assert bench.warnings == [], bench.warnings


def telling(key: str, descriptor: int) -> Progress:
    """What a user would see, through a pipe that outlives the kill."""

    def tell(done: int, _total: int) -> None:
        os.write(descriptor, f"{key} {done}\n".encode())

    return tell


def killed_after(seconds: float, report: Path, root: Path) -> tuple[bool, dict[str, int], str]:
    """One attempt, killed when it has computed so long: was it, what it had shown by item, and what went
    wrong by itself. A kill may come after the run's end and before its process's.
    """
    reading, shown = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        code = 0
        try:
            attempt(report, root, shown)
        except (HarnessError, AssertionError) as error:
            os.write(shown, f"! {error}\n".encode())
            code = 1
        finally:
            os._exit(code)
    os.close(shown)
    ended = os.pidfd_open(pid)
    while not select.select([ended], [], [], 0.001)[0] and cpu_s(pid) < seconds:
        pass
    os.kill(pid, signal.SIGKILL)
    os.close(ended)
    _, status = os.waitpid(pid, 0)
    with os.fdopen(reading) as pipe:
        *lines, _ = pipe.read().split("\n")
    error = next((line for line in lines if line.startswith("!")), "")
    seen: dict[str, int] = {}
    for key, done in (line.split() for line in lines if not line.startswith("!")):
        seen[key] = max(seen.get(key, 0), int(done))
    return os.WIFSIGNALED(status), seen, error


def cpu_s(pid: int) -> float:
    """The processor time a process has had: unlike the clock's, it says how far it came on a busy machine."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def came_to_its_end(report: Path) -> bool:
    """What the journal says: the only thing that a process killed in its last instant leaves behind."""
    try:
        return read_journal(report / JOURNAL).ended
    except HarnessError:
        return False  # killed before the header


def lost_and_doubled(report: Path, shown: dict[str, int]) -> tuple[int, int, int]:
    """Of a journal: samples that were shown and are not there, samples that are there twice, and all."""
    try:
        kept = {key: len(batch) for key, batch in read_journal(report / JOURNAL).samples.items()}
    except HarnessError:
        assert not shown, "killed before the header, and yet something was shown"
        return 0, 0, 0
    lost = sum(max(0, number - kept.get(key, 0)) for key, number in shown.items())
    written = [
        (line["item"], sample["index"])
        for line in map(json.loads, (report / JOURNAL).read_text().split("\n")[:-1])
        if line["kind"] == "samples"
        for sample in line["samples"]
    ]
    return lost, len(written) - len(set(written)), sum(kept.values())


def figures(report: Path) -> list[object]:
    """The report less what time, chance, the kill and earlier runs put into it: times in us, notes, wire,
    identity, trend.
    """
    passing = (
        "latency",
        "duration_s",
        "notes",
        "wire",
        "provenance",
        "time_us",
        "log",
        "retries",
        "harness_s",
        "trend",
    )
    found: list[object] = []
    for name in ("items.jsonl", "samples.jsonl"):
        for line in (report / name).read_text().splitlines():
            record = json.loads(line)
            found.append({key: value for key, value in record.items() if key not in passing})
    return found


def main(directory: Path, kills: int, seed: int) -> Outcome:
    build_root, outcome, choose = directory / "work", Outcome(), random.Random(seed)
    build_root.mkdir()
    whole = directory / "whole"
    materials = Materials(settings(whole, build_root))
    bench_module.Materials = lambda *_: materials  # type: ignore[assignment,misc]
    for _ in range(2):  # the first attempt builds
        before_s = time.process_time()
        shown = os.open(os.devnull, os.O_WRONLY)
        (whole / JOURNAL).unlink(missing_ok=True)
        attempt(whole, build_root, shown)
        whole_s = time.process_time() - before_s
    expected = figures(whole)
    while outcome.kills < kills:
        report = directory / f"run-{outcome.runs}"
        shown_by_now: dict[str, int] = {}
        while not came_to_its_end(report):
            # Past the end too, so that runs end; the last one comes to its end in peace.
            seconds = choose.uniform(0, 1.2) * whole_s if outcome.kills < kills else 60
            killed, seen, error = killed_after(seconds, report, build_root)
            shown_by_now |= seen
            if error:
                outcome.errors.append(error)
                return outcome
            lost, doubled, kept = lost_and_doubled(report, shown_by_now)
            outcome.lost, outcome.doubled = outcome.lost + lost, outcome.doubled + doubled
            outcome.kills += killed
            outcome.at += [kept] if killed else []
        outcome.runs += 1
        outcome.different += [str(report)] if figures(report) != expected else []
    with History(os.environ["HARNESS_HISTORY_URL"]) as history:
        assert len(history.runs(1000)) == outcome.runs + 2, "every run is in the history once"
    return outcome


if __name__ == "__main__":
    print(json.dumps(asdict(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))))
