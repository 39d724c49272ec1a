"""Gates: PASS, FAIL and UNSET, each for its reason; and nights of simulated history."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.history.store import History, default_url
from harness.items import Item
from harness.measure.counts import count_statistics
from harness.measure.gates import BASELINE_NIGHTS, Declared, Measured, judge, pooled
from harness.model.measurements import Scoped
from harness.model.spec import ModelSpec
from harness.records.schema import RunRecord
from harness.targets import get_target
from harness.verdicts import judged
from tests.fabricated_run import INSTRUCTIONS, item, samples

SPEED = Declared("speed", "count_median", "cycles", regression=0.015)
EXACT = Declared("speed", "count_median", INSTRUCTIONS, regression=0.0)
SMALL = Declared("memory", "memory_arena_bytes", "bytes", maximum=1000)
RIGHT = Declared("accuracy", "top1_device", minimum=0.95)


def silicon(counts: NDArray[np.int64], **figures: object) -> Measured:
    known = {"count_median": float(np.median(counts)), "count_unit": "cycles", **figures}
    return Measured(known, "silicon", "data", counts, "run-1")


def emulated(median: int | None, **figures: object) -> Measured:
    known = {"count_median": median, "count_unit": INSTRUCTIONS, **figures}
    return Measured(known, "isa", "data", run_id="run-1")


def verdict(declared: Declared, now: Measured, baseline: Measured | None = None) -> tuple[str, str]:
    found = judge(declared, now, baseline)
    return found.verdict, found.reason


@pytest.mark.parametrize(("arena", "expected"), [(1000, "PASS"), (1001, "FAIL")])
def test_a_limit_is_allowed_itself(arena: int, expected: str) -> None:
    assert verdict(SMALL, emulated(1, memory_arena_bytes=arena)) == (expected, str(arena))


def test_what_was_not_measured_is_unset() -> None:
    assert verdict(SMALL, emulated(1)) == ("UNSET", "not measured")
    assert verdict(EXACT, emulated(None), emulated(1)) == ("UNSET", "not measured")


def test_instructions_are_judged_exactly() -> None:
    assert verdict(EXACT, emulated(1_000_000), emulated(1_000_000))[0] == "PASS"
    assert verdict(EXACT, emulated(999_999), emulated(1_000_000))[0] == "PASS"
    assert verdict(EXACT, emulated(1_000_001), emulated(1_000_000))[0] == "FAIL"


def test_no_baseline_other_data_and_another_unit_are_unset() -> None:
    now = emulated(5)
    assert verdict(EXACT, now) == ("UNSET", "no baseline: harness baseline set")
    assert "other data" in verdict(EXACT, now, replace(emulated(5), data="others"))[1]
    assert "counts instructions" in verdict(SPEED, now, now)[1]


def test_time_is_judged_on_silicon_only() -> None:
    fast = Declared("time", "latency_us_p99", maximum=10_000)
    figures = {"latency_us_p99": 20_000.0}
    assert verdict(fast, Measured(figures, "silicon", "data"))[0] == "FAIL"
    for fidelity in ("soc", "isa", "host"):
        assert verdict(fast, Measured(figures, fidelity, "data"))[0] == "UNSET"


def test_a_share_fails_where_its_whole_interval_does() -> None:
    """0.93 of 100 may well be a network of 0.95; of 10 000 it is not."""
    for number, expected in ((100, "PASS"), (10_000, "FAIL")):
        now = emulated(1, top1_device=0.93, top1_samples=number)
        found, reason = verdict(RIGHT, now)
        assert found == expected
        assert f"of {number} samples" in reason


def test_lost_accuracy_is_compared_on_the_same_data() -> None:
    keep = Declared("accuracy", "top1_device", regression=0.002)
    before = emulated(1, top1_device=0.953, top1_samples=1000)
    for now, expected in ((0.951, "PASS"), (0.950, "FAIL"), (0.99, "PASS")):
        assert verdict(keep, emulated(1, top1_device=now, top1_samples=1000), before)[0] == expected


def test_a_significant_trifle_and_an_insignificant_lot_pass_on_silicon() -> None:
    generator = np.random.default_rng(1)
    before = generator.normal(1e6, 1e3, 5000).astype(np.int64)
    trifle = silicon((before * 1.005).astype(np.int64))
    assert verdict(replace(SPEED, regression=0.0), trifle, silicon(before))[0] == "PASS"
    few = np.array([1_000_000, 2_000_000] * 4)
    lot = silicon(np.array([1_100_000, 2_000_000] * 4))
    assert verdict(SPEED, lot, silicon(few))[0] == "PASS"
    assert verdict(SPEED, silicon(few[:5]), silicon(few))[0] == "UNSET"


def test_a_limit_that_is_broken_outweighs_a_baseline_that_is_missing() -> None:
    both = replace(SMALL, regression=0.0)
    assert verdict(both, emulated(1, memory_arena_bytes=2000))[0] == "FAIL"
    assert verdict(both, emulated(1, memory_arena_bytes=10))[0] == "UNSET"


# Nights on silicon: 1 % noise from inference to inference, 0.3 % from night to night.
NIGHTLY, NOISE, INFERENCES = 0.003, 0.01, 60


def a_night(generator: np.random.Generator, slower: float = 0.0) -> NDArray[np.int64]:
    level = 1_000_000 * (1 + slower) * (1 + generator.normal(0, NIGHTLY))
    return (level * (1 + generator.normal(0, NOISE, INFERENCES))).astype(np.int64)


def alarms(nights: list[NDArray[np.int64]]) -> list[int]:
    """The nights that fail; the first is the baseline."""
    reference, found = [silicon(nights[0])], []
    for number, counts in enumerate(nights[1:], start=2):
        now = silicon(counts)
        if judge(SPEED, now, pooled(reference)).verdict == "FAIL":
            found.append(number)
        elif len(reference) < BASELINE_NIGHTS:
            reference.append(now)
    return found


def test_three_percent_are_flagged_the_night_they_happen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """30 nights through the real history; from night 18 on the network is 3 % slower."""
    monkeypatch.setenv("HARNESS_HISTORY_URL", f"sqlite:///{tmp_path}/history.sqlite")
    generator, batch, flagged = np.random.default_rng(30), samples(INFERENCES), []
    model = ModelSpec("mlp", artifacts={}, measurements=(Scoped(SPEED),))
    about = Item(get_target("esp32"), model, "tflm", "portable")
    for number in range(1, 31):
        counts = a_night(generator, 0.03 if number >= 18 else 0.0)
        night = [replace(one, count=int(count)) for one, count in zip(batch, counts, strict=True)]
        statistics = count_statistics([one.count for one in night], "cycles")
        record = item("esp32", "mlp", night, fidelity="silicon", counts=statistics)
        speed = judged(about, record, night, tmp_path)[0]
        assert speed.verdict == "UNSET" if number == 1 else speed.verdict in ("PASS", "FAIL")
        if speed.verdict == "FAIL":
            flagged.append(number)
            record = replace(record, outcome="failed")
        started = f"2026-10-{number:02}T02:00:00+00:00"
        with History(default_url(tmp_path)) as history:
            run = RunRecord(f"run-{number:02}", started, "harness", {}, (record,))
            history.add(run, {record.key: night})
            if number == 1:
                history.set_baseline(history.run_entries("run-01"), "")
    assert flagged == list(range(18, 31))
    assert speed.baseline_run == "run-01 and 9 since"


@pytest.mark.parametrize("seed", range(20))
def test_any_such_month_is_flagged_from_that_night_on(seed: int) -> None:
    generator = np.random.default_rng([30, seed])
    nights = [a_night(generator, 0.03 if number >= 18 else 0.0) for number in range(1, 31)]
    assert alarms(nights) == list(range(18, 31))


@pytest.mark.parametrize("seed", range(20))
def test_two_hundred_nights_without_change_raise_two_alarms_at_most(seed: int) -> None:
    generator = np.random.default_rng([200, seed])
    assert len(alarms([a_night(generator) for _ in range(200)])) <= 2
