"""Leases under contention, with holders killed at random: the small form of benchmarks/farm_leases.py."""

from __future__ import annotations

from pathlib import Path

from benchmarks.farm_leases import contest


def test_never_two_holders_and_no_board_lost(tmp_path: Path) -> None:
    found = contest(tmp_path, processes=8, boards=4, leases_each=400, kill_every_s=0.02)
    assert (found.conflicts, found.lost) == (0, 0), found
    assert found.leases >= 8 * 400
    assert found.refused > 50, "they did contend"
    assert found.killed_holding > 0, found
