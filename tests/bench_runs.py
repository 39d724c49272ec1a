"""Runs the bench as a user does, in a process of its own, and reads what it left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[1]
TIMEOUT_S = 300


@dataclass(frozen=True)
class Run:
    """One finished run: exit code, everything printed, and its report directory."""

    code: int
    output: str
    reports: Path

    def items(self) -> dict[str, dict[str, Any]]:
        """The items' records by "target-model"."""
        lines = (self.reports / "items.jsonl").read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines]
        return {f"{record['target']}-{record['model']}": record for record in records}


def run_pytest(
    reports: Path, *arguments: str | Path, cwd: Path = CHECKOUT, environment: dict[str, str] | None = None
) -> Run:
    """`pytest --report-dir reports ARGUMENTS` in a fresh process."""
    return _run([sys.executable, "-m", "pytest"], reports, arguments, cwd, environment)


def run_harness(reports: Path, *arguments: str | Path, cwd: Path = CHECKOUT) -> Run:
    """`harness run --report-dir reports ARGUMENTS` in a fresh process."""
    return _run([sys.executable, "-m", "harness.cli", "run"], reports, arguments, cwd, None)


def run_nightly(reports: Path, *arguments: str | Path, environment: dict[str, str] | None = None) -> Run:
    """`harness nightly --report-dir reports ARGUMENTS` in a fresh process."""
    return _run([sys.executable, "-m", "harness.cli", "nightly"], reports, arguments, CHECKOUT, environment)


def _run(
    command: list[str],
    reports: Path,
    arguments: tuple[str | Path, ...],
    cwd: Path,
    environment: dict[str, str] | None,
) -> Run:
    history = {"HARNESS_HISTORY_URL": f"sqlite:///{reports}-history.sqlite"}
    done = subprocess.run(
        [*command, "--report-dir", str(reports), *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "100", **history, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return Run(done.returncode, done.stdout, reports)
