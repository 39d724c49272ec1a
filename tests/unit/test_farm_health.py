"""A board's health: what makes it sick, and a file that cannot be read costs nothing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from harness.farm.health import Health, Outcome, load_health, save_health
from harness.farm.leases import Leases

GOOD = Outcome(1e9, frames=1000)
BAD = Outcome(1e9, frames=1000, failure="nothing valid came")


def after(*outcomes: Outcome) -> Health:
    health = Health()
    for outcome in outcomes:
        health = health.after(outcome)
    return health


def test_one_failure_is_no_sickness_but_several_are() -> None:
    assert not after(BAD).sick
    assert after(GOOD, BAD, BAD).sick
    assert not after(*[GOOD] * 9, BAD).sick
    assert after(GOOD, GOOD, GOOD, Outcome(1e9, recoveries=2), BAD).sick


def test_a_line_that_damages_frames_makes_sick() -> None:
    assert after(*[Outcome(1e9, frames=1000, damaged=50)] * 3).sick
    assert not after(*[Outcome(1e9, frames=1000, damaged=1)] * 3).sick


def test_only_the_last_runs_count() -> None:
    health = after(*[BAD] * 30, *[GOOD] * 20)
    assert (health.score, health.sick, len(health.recent)) == (1.0, False, 20)


def test_quarantine_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    health = after(BAD).quarantine("it hung", 60)
    assert health.quarantined
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 61)
    assert not health.quarantined


def test_it_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    leases, health = Leases(tmp_path), after(GOOD, BAD).quarantine("it hung")
    save_health(leases, "usb:1-2", health)
    assert load_health(leases, "usb:1-2") == health
    assert load_health(leases, "usb:1-3") == Health()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"recent": 3}', '{"recent": [{"bad": 1}]}', "\0\xff"])
def test_a_damaged_file_is_no_news(text: str, tmp_path: Path) -> None:
    leases = Leases(tmp_path)
    leases.file("k", "health.json").write_bytes(text.encode("latin-1"))
    assert load_health(leases, "k") == Health()
