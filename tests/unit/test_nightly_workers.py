"""What becomes of an item whose process meets a bug, without a process of its own."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from harness.bench import Bench
from harness.nightly.config import read_night
from harness.nightly.workers import Finished, _finish


def test_a_bug_costs_one_item_and_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "nightly.toml"
    config.write_text('[[matrix]]\ntargets = "esp32c3"\nmodels = "test17_conv1x1"\nruntimes = "tflm"\n')
    night = read_night(config, tmp_path)
    bench = Bench(night.settings[0], reports_root=tmp_path, command="test")
    monkeypatch.setattr(bench, "expectation", lambda item, artifact: {}[item.key, artifact.digest])
    _, connection = multiprocessing.Pipe()
    finished = _finish(bench, night.jobs[0], connection)
    assert isinstance(finished, Finished)
    assert (finished.record.outcome, finished.record.error_kind) == ("error", "KeyError")
    assert finished.record.key == night.jobs[0].key
    assert "Traceback" in capsys.readouterr().err
    assert bench.finish().items == ()
