"""Declared measurements on a real run: limits, a baseline from the history, verdict apart from outcome."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.bench import Bench
from harness.cli import main
from harness.portable.ops.fully_connected import FullyConnected
from harness.records.schema import ItemRecord
from harness.settings import settings_from
from tests.bench_runs import CHECKOUT

MEASUREMENTS = """
[measurements.speed]
figure = "count_median"
unit = "instructions (emulated)"
regression = 0.0

[measurements.cycles]
figure = "count_median"
unit = "cycles"
max = 1

[measurements.memory_arena_bytes]
max = 800
"""


@pytest.fixture
def gated(tmp_path: Path) -> Path:
    directory = tmp_path / "models" / "gated"
    shutil.copytree(CHECKOUT / "models" / "mnist_mlp", directory)
    shutil.copytree(CHECKOUT / "models" / "mnist", tmp_path / "models" / "mnist")
    with (directory / "model.toml").open("a") as file:
        file.write(MEASUREMENTS)
    return directory


def run(root: Path, model: Path) -> ItemRecord:
    given = {"model": str(model), "runtime": "tflm", "reference": "none", "samples": "12"}
    settings = settings_from(
        lambda option: given.get(option.field, option.default),
        target="esp32c3", port=None, baud=None, root=root,
    )  # fmt: skip
    bench = Bench(settings, reports_root=root / "reports", command="test")
    (item,) = bench.items()
    record = bench.run_item(item)
    bench.finish()
    assert bench.warnings == []
    return record


def verdicts(record: ItemRecord) -> dict[str, str]:
    return {one.name: one.verdict for one in record.measurements if "budget" not in one.name}


def test_one_instruction_more_than_the_baseline_fails_a_gate_at_zero(
    gated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HARNESS_HISTORY_URL", f"sqlite:///{tmp_path}/history.sqlite")
    text = (gated / "model.toml").read_text()
    (gated / "model.toml").write_text(text.replace("max = 800", "max = 848"))
    first = run(tmp_path, gated)
    assert first.outcome == "passed"
    unset = {"cycles": "UNSET", "memory_arena_bytes": "PASS"}
    assert verdicts(first) == {"speed": "UNSET", **unset}
    assert main(["baseline", "set"]) == 0
    capsys.readouterr()
    same = run(tmp_path, gated)
    assert (same.outcome, verdicts(same)) == ("passed", {"speed": "PASS", **unset})

    quick = FullyConnected.body
    monkeypatch.setattr(FullyConnected, "body", lambda step: ['__asm__ volatile("nop");', *quick(step)])
    slow = run(tmp_path, gated)
    assert (slow.outcome, verdicts(slow)) == ("failed", {"speed": "FAIL", **unset})
    assert slow.runtime_gap is not None
    assert slow.runtime_gap.exact
    (failure,) = slow.failures
    assert failure.startswith("speed: ")
    assert "against" in failure


def test_a_limit_fails_the_item_and_not_the_run(
    gated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_HISTORY_URL", f"sqlite:///{tmp_path}/history.sqlite")
    record = run(tmp_path, gated)
    assert (record.outcome, record.error) == ("failed", None)
    assert record.failures == ("memory_arena_bytes: 848; declared: 800 or less",)
