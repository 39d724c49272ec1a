"""A float .tflite with branches runs in a runtime that takes ONNX, every layer as its oracle has it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from tests.bench_runs import run_harness
from tests.branched_net import net_with_branches

pytestmark = pytest.mark.skipif(importlib.util.find_spec("tvm") is None, reason="needs the extra [tvm]")


def test_it_runs_in_tvm_and_is_compared_as_declared(tmp_path: Path) -> None:
    (tmp_path / "gated.tflite").write_bytes(net_with_branches())
    np.save(tmp_path / "x.npy", np.random.RandomState(0).normal(0, 1, (16, 5, 4, 3)).astype(np.float32))
    asked = ("--target", "esp32c3", "--runtime", "tvm", "--board", "host", "--task", "regression")
    data = ("--data", tmp_path / "x.npy", "--samples", "4", "--layer-samples", "2")
    run = run_harness(tmp_path / "reports", tmp_path / "gated.tflite", *asked, *data)
    assert run.code == 0, run.output
    item = run.items()["esp32c3-gated"]
    gap, close = item["runtime_gap"], item["quantisation_gap"]
    assert (gap["max_lsb"], gap["samples"], gap["layer_samples"]) == (0, 4, 2)
    assert gap["mismatching_layers"] == []
    assert (item["task"], close["reference"], close["agreement"]) == ("regression", "tflite", None)
    assert close["snr_db"] > 20
    assert "SNR" in run.output
