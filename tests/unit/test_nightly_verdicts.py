"""What a night's results mean on a date: known failures, their expiry, exit codes, better and worse."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path

import pytest

from harness import errors
from harness.nightly.config import Job, KnownFailure, Night
from harness.nightly.past import recall
from harness.nightly.summary import Summary
from harness.nightly.verdicts import (
    BROKEN,
    EXPIRED,
    INFRASTRUCTURE,
    KNOWN,
    MENDED,
    PASSED,
    RETRIED,
    WRONG,
    Exit,
    exit_code,
    judge,
    retried,
)
from harness.nightly.workers import WorkerError
from harness.records.schema import CountStatistics, ItemRecord, RunRecord, RuntimeGap
from harness.report.comparison import label
from harness.report.figures import runtime_label
from harness.report.trend import changes
from tests import fabricated_run

TODAY = datetime.date(2026, 11, 21)
JOB = Job(0, "esp32c3-late-tflm", "esp32c3", "late", "late", "tflm", "portable", "", "", 1)


def item(model: str, outcome: str = "passed", kind: str | None = None) -> ItemRecord:
    failures = ("3 of 10 differ",) if outcome == "failed" else ()
    error = "it broke" if outcome == "error" else None
    return ItemRecord(
        "esp32c3", model, "tflm", "portable", outcome, error=error, error_kind=kind, failures=failures
    )


def known(model: str, until: datetime.date) -> KnownFailure:
    return KnownFailure(f"*-{model}-*", "anna", "a reason", until, 7)


@pytest.mark.parametrize(
    ("record", "until", "kind", "code"),
    [
        (item("m"), None, PASSED, Exit.EXPECTED),
        (item("m", "failed"), None, WRONG, Exit.WRONG),
        (item("m", "error", "BuildError"), None, WRONG, Exit.WRONG),
        (item("m", "error", "KeyError"), None, WRONG, Exit.WRONG),
        (item("m", "error", "DeviceError"), None, WRONG, Exit.WRONG),
        (item("m", "error", "SilentError"), None, BROKEN, Exit.INFRASTRUCTURE),
        (item("m", "error", "WorkerError"), None, BROKEN, Exit.INFRASTRUCTURE),
        (item("m", "failed"), TODAY, KNOWN, Exit.EXPECTED),
        (item("m", "error", "SilentError"), TODAY, KNOWN, Exit.EXPECTED),
        (item("m", "failed"), TODAY - datetime.timedelta(days=1), EXPIRED, Exit.WRONG),
        (item("m"), TODAY, MENDED, Exit.EXPECTED),
        (item("m"), TODAY - datetime.timedelta(days=1), MENDED, Exit.EXPECTED),
    ],
)
def test_verdict_and_exit_code(
    record: ItemRecord, until: datetime.date | None, kind: str, code: Exit
) -> None:
    entries = [known("m", until)] if until else []
    (verdict,) = judge([record], [], entries, TODAY)
    assert (verdict.kind, exit_code([verdict])) == (kind, code)


def test_of_two_known_failures_the_one_valid_longest_counts() -> None:
    entries = [known("m", TODAY - datetime.timedelta(days=9)), known("m", TODAY)]
    assert [verdict.kind for verdict in judge([item("m", "failed")], [], entries, TODAY)] == [KNOWN]


def test_wrong_goes_before_broken_and_broken_before_out_of_time() -> None:
    records = [item("a", "failed"), item("b", "error", "LinkError"), item("c")]
    codes = [exit_code(judge(records[first:], [JOB], [], TODAY)) for first in range(3)]
    assert codes == [Exit.WRONG, Exit.INFRASTRUCTURE, Exit.OUT_OF_TIME]


def test_an_interrupted_night_says_so_whatever_it_found() -> None:
    verdicts = judge([item("a", "failed")], [JOB], [], TODAY, interrupted=True)
    assert exit_code(verdicts) == Exit.INTERRUPTED
    assert verdicts[-1].kind == "not run: interrupted"


def test_only_infrastructure_is_tried_again_never_a_wrong_number() -> None:
    assert retried(item("m", "error", "LinkError"))
    assert not retried(item("m", "failed", "LinkError"))
    assert not retried(item("m", "error", "BuildError"))


def test_every_class_named_is_one() -> None:
    names = {name for name, kind in vars(errors).items() if isinstance(kind, type)} | {WorkerError.__name__}
    assert names >= RETRIED | INFRASTRUCTURE


def ran(median: float, outcome: str = "passed", **changes: object) -> ItemRecord:
    gap = RuntimeGap(0, 0, 10, 0, 10)
    unit = "instructions (emulated)"
    counts = CountStatistics(unit, int(median), median, int(median), 10)
    facts = {"runtime_gap": gap, "counts": counts, "fidelity": "isa", "provenance": {"data": "d"}, **changes}
    return dataclasses.replace(item("m", outcome), **facts)  # type: ignore[arg-type]


def test_the_summary_names_everything_that_is_not_as_expected() -> None:
    night = Night(Path("nightly.toml"), (), (), (), 600, 60, 1, "last")
    records = [
        item("a", "failed"),
        item("b", "failed"),
        item("c", "failed"),
        item("ok"),
        ran(5, harness_s=0.02),
    ]
    entries = [known("b", TODAY), known("c", TODAY - datetime.timedelta(days=1))]
    verdicts = judge(records, [JOB], entries, TODAY)
    run = RunRecord("r", "now", "harness nightly", {}, tuple(records), 75)
    slower = dataclasses.replace(ran(1030), trend=fabricated_run.trend((1000.0,), 10, data="d"))
    found = changes(run, slower)
    assert found is not None
    summary = Summary(night, run, 2, verdicts, [found], ["not in <the> history"], exit_code(verdicts))
    text = summary.text().replace("\u00a0", " ")
    for line in (
        "6 items in 1 min 15 s of 10 min, 2 at once: 1 newly wrong, 1 known failure that has expired, "
        "1 known failure, 1 not run: out of time, 2 passed",
        "    esp32c3-a-tflm: 3 of 10 differ",
        "    esp32c3-b-tflm: a reason (anna, until 2026-11-21, nightly.toml:7): 3 of 10 differ",
        "    esp32c3-c-tflm: a reason (anna, until 2026-11-20, nightly.toml:7): 3 of 10 differ",
        "    esp32c3-late-tflm",
        "    esp32c3-m-tflm: per inference 1 000 → 1 030 (+3.00%); since night-0",
        "  the harness's own processor time: 2.00 ms per image, of 10 images",
        "Exit code 1: something is newly wrong, or a known failure has expired",
    ):
        assert line in text
    assert "\\<the\\>" in summary.markdown()
    assert summary.markdown().startswith("# nightly.toml: something is newly wrong")


def test_two_boards_of_a_target_are_told_apart() -> None:
    one, other = ran(5, scheme="int8"), ran(5, scheme="int8", unit="host")
    assert (one.key, other.key) == ("esp32c3-m-tflm", "esp32c3-m-tflm-host")
    assert (label(other), runtime_label(other)) == ("tflm int8 on host", "tflm/portable on host")
    assert (label(one), runtime_label(one)) == ("tflm int8", "tflm/portable")


def test_a_history_that_cannot_be_read_costs_no_night(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_HISTORY_URL", f"sqlite:///{tmp_path}")
    earlier = recall([JOB], tmp_path)
    assert earlier.past == {}
    assert earlier.trouble.startswith("nothing is known of earlier nights: ")
