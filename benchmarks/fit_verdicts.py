"""What `harness fit` says without a compiler, beside what building and running then shows.

    python -m benchmarks.fit_verdicts [MODEL ...] [--runtime LIST] [--target LIST] [--build]

Every network runs on the emulated chips as `harness run` runs it (one inference, compared with the oracle).
The verdict of its true sizes, by the same rules, stands beside the estimated one; flash and static RAM are
the image's, the arena and the stack what the device says it used. Exit code 1: a verdict differs, or nothing
ran.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.fit.assess import Question, assess
from harness.fit.code_size import FirmwareSize, base_bytes
from harness.fit.verdict import Fit, Room, judge
from harness.items import Workshop, load_artifact
from harness.model.spec import load_model, zoo
from harness.progress import silent
from harness.runtimes.planned import PlannedArtifact
from harness.settings import build_root_under
from harness.targets import get_target

TARGETS = "esp32c3,esp32s3"
RUNTIMES = "tflm,espdl,espdl-v1,espdl-v1:int8,tvm"
LARGE_BYTES = 20_000
"""Of flash: smaller firmware is hardly any network."""


@dataclass(frozen=True)
class Row:
    """One network in one runtime on one chip: estimated, and as built and run."""

    label: str
    guess: Fit
    real: Fit
    passed: bool
    arena_used_bytes: int
    stack_used_bytes: int

    @property
    def agrees(self) -> bool:
        return self.guess.fits == self.real.fits and self.passed

    def off(self, figure: str) -> float:
        """Percent that the estimate is above what is true."""
        guess, real = (getattr(fit.size, figure) for fit in (self.guess, self.real))
        return float(100 * (guess - real) / real)

    def line(self) -> str:
        size = self.real.size
        words = {True: "fits", False: "does not"}
        return (
            f"{self.label:<46}{words[self.guess.fits]:<9}{words[self.real.fits]:<9}"
            f"{'0 LSB' if self.passed else 'FAILED':<7}"
            f"{size.flash_bytes:>9} {self.off('flash_bytes'):+6.2f} %"
            f"{size.ram_bytes:>8} {self.off('ram_bytes'):+6.2f} %"
            f"{self.guess.size.arena_bytes:>8}{self.arena_used_bytes:>8}{self.stack_used_bytes:>7}"
        )


def rows(models: Sequence[str], targets: str, runtimes: str, build: bool) -> Iterator[Row]:
    """Runs everything in one `harness run`, then asks `fit`, which may `build` to answer."""
    root = build_root_under(Path.cwd())
    workshop = Workshop(root / "artifacts")
    chips = [get_target(name) for name in targets.split(",")]
    for record in run(models, targets, runtimes):
        label = f"{record['target']} {record['model']} {record['runtime']}"
        if record["memory"] is None:
            print(f"left out: {label}: {record['error']}", file=sys.stderr)
            continue
        model, memory = load_model(record["model"]), record["memory"]
        target = next(chip for chip in chips if chip.id == record["target"])
        question = Question(model, [target], [record["runtime"]], "portable", Room(), build)
        guess = next(iter(assess(question, root, workshop, silent)))
        assert isinstance(guess, Fit), guess
        artifact = load_artifact(model, record["runtime"], target, workshop)
        assert isinstance(artifact, PlannedArtifact)
        size = FirmwareSize(
            flash_bytes=memory["flash_bytes"],
            ram_bytes=memory["ram_bytes"],
            arena_bytes=memory["arena_bytes"],
            model_bytes=memory["flash_bytes"] - base_bytes(target.isa)["flash"],
            built=True,
        )
        yield Row(
            label,
            guess,
            judge(artifact, target, "portable", size, Room()),
            record["outcome"] == "passed" and record["runtime_gap"]["max_lsb"] == 0,
            memory["arena_used_bytes"],
            memory["stack_used_bytes"],
        )


def run(models: Sequence[str], targets: str, runtimes: str) -> list[dict[str, Any]]:
    """The records of one run of one sample each."""
    with tempfile.TemporaryDirectory() as work:
        command = [sys.executable, "-m", "harness.cli", "run", ",".join(models), "--target", targets]
        command += ["--runtime", runtimes, "--samples", "1", "--report-dir", f"{work}/run"]
        environment = {**os.environ, "HARNESS_HISTORY_URL": f"sqlite:///{work}/history.sqlite"}
        done = subprocess.run(command, stdout=subprocess.PIPE, env=environment, text=True, check=False)
        items = Path(work) / "run" / "items.jsonl"
        if not items.is_file():
            raise SystemExit(done.stdout)
        return [json.loads(line) for line in items.read_text(encoding="utf-8").splitlines()]


def summary(found: Sequence[Row]) -> list[str]:
    said = [f"{sum(row.agrees for row in found)} of {len(found)} verdicts are those of the true sizes"]
    for name, kept in (
        (
            f"of {LARGE_BYTES // 1000} KB and more",
            [r for r in found if r.real.size.flash_bytes >= LARGE_BYTES],
        ),
        ("smaller", [r for r in found if r.real.size.flash_bytes < LARGE_BYTES]),
    ):
        for figure in ("flash_bytes", "ram_bytes"):
            errors = [row.off(figure) for row in kept]
            if errors:
                what = figure.removesuffix("_bytes")
                said.append(
                    f"{what}, {len(kept)} firmwares {name}: {min(errors):+.2f} … {max(errors):+.2f} %"
                )
    differing = sum(row.guess.size.arena_bytes != row.arena_used_bytes for row in found)
    said.append(f"arena: {differing} of {len(found)} differ from what the device says it used")
    return said


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fit_verdicts", description=__doc__.split("\n")[0]
    )
    parser.add_argument("models", nargs="*", default=zoo(), metavar="MODEL", help="default: the zoo")
    parser.add_argument("--runtime", default=RUNTIMES, metavar="LIST", help=f"default: {RUNTIMES}")
    parser.add_argument("--target", default=TARGETS, metavar="LIST", help=f"default: {TARGETS}")
    parser.add_argument("--build", action="store_true", help="let fit build, as it does where a compiler is")
    given = parser.parse_args()
    print(
        f"{'':<46}{'fit':<9}{'true':<9}{'ran':<7}{'flash':>9}{'fit':>9}{'RAM':>8}{'fit':>9}{'arena':>8}"
        f"{'used':>8}{'stack':>7}"
    )
    found = []
    for row in rows(given.models, given.target, given.runtime, given.build):
        found.append(row)
        print(row.line(), flush=True)
    print("\n".join(summary(found)))
    return int(not found or not all(row.agrees for row in found))


if __name__ == "__main__":
    sys.exit(main())
