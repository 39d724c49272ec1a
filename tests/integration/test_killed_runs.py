"""kill -9 at any moment: nothing shown is lost, nothing is twice, and the run resumed is the run."""

import json
import os
import subprocess
import sys
from pathlib import Path

from harness.replay import replay
from tests.bench_runs import CHECKOUT
from tests.killed_runs import SAMPLES

KILLS = 100


def test_a_run_killed_anywhere_loses_nothing_and_comes_to_its_end(tmp_path: Path) -> None:
    environment = {**os.environ, "HARNESS_HISTORY_URL": f"sqlite:///{tmp_path}/history.sqlite"}
    environment.pop("HARNESS_BUILD_ROOT", None)
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.killed_runs", str(tmp_path), str(KILLS), "5"],
        cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    outcome = json.loads(ran.stdout)
    assert outcome["errors"] == []
    assert outcome["kills"] == KILLS
    assert (outcome["lost"], outcome["doubled"], outcome["different"]) == (0, 0, [])
    # Kills came in the midst of items too; batches of 64 leave twelve such places on a fast machine.
    assert len({at for at in outcome["at"] if at % SAMPLES}) >= 3
    resumed = sorted(path.parents[2] for path in tmp_path.glob("run-*/items/*/wire-2.bin"))
    assert resumed, "no item was killed in its midst"
    for run in resumed[:3]:
        done = replay(run, tmp_path / "again")
        assert set(done.files.values()) == {True}
        assert done.from_journal == ()
