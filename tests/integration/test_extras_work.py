"""The extras' pinned packages do their job together: each in a process of its own, on a zoo model."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.extras import install_command

ONNX = Path(__file__).parents[2] / "models" / "himax_cnn" / "model.onnx"

ESPDL = """
import shutil, sys
import torch
from esp_ppq.api import espdl_quantize_onnx
torch.set_num_threads(1)
shutil.copy(sys.argv[1], "copy.onnx")
inputs = [torch.zeros(1, 28, 28, 1)]
espdl_quantize_onnx(
    onnx_import_file="copy.onnx", espdl_export_file="model.espdl", calib_dataloader=inputs, calib_steps=8,
    input_shape=[1, 28, 28, 1], inputs=inputs, target="esp32s3", num_of_bits=8, device="cpu",
    error_report=False, verbose=0,
)
assert open("model.espdl", "rb").read(4) == b"EDL2"
"""

TVM = """
import sys
import onnx
from tvm.relax.frontend.onnx import from_onnx
module = from_onnx(onnx.load(sys.argv[1]), keep_params_in_input=False)
assert "conv2d" in module.script()
"""


@pytest.mark.parametrize(
    ("extra", "module", "program"), [("espdl", "esp_ppq", ESPDL), ("tvm", "tvm", TVM)], ids=["espdl", "tvm"]
)
def test_extra(extra: str, module: str, program: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed: {install_command(extra)}")
    done = subprocess.run(
        [sys.executable, "-c", program, str(ONNX)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
