"""Runs esp-ppq on one model; a process of its own, started by `quantise.py`.

A fixed hash seed (set by the parent) and one thread make the bytes reproducible; esp-ppq rewrites the
ONNX file in place, so the parent hands over a copy.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from harness.extras import require


def run(onnx: Path, calibration: Path, out: Path, target: str, method: str) -> None:
    """Writes `out`, and beside it esp-ppq's .json and .info."""
    torch = require("torch", "espdl")
    api = require("esp_ppq.api", "espdl")
    setting = require("esp_ppq.api.setting", "espdl").QuantizationSettingFactory.espdl_setting()
    torch.set_num_threads(1)
    setting.quantize_activation_setting.calib_algorithm = method
    samples = [torch.tensor(sample) for sample in np.load(calibration)]
    api.espdl_quantize_onnx(
        onnx_import_file=str(onnx),
        espdl_export_file=str(out),
        calib_dataloader=samples,
        calib_steps=len(samples),
        input_shape=list(samples[0].shape),
        inputs=samples[:1],
        target=target,
        num_of_bits=8,
        setting=setting,
        device="cpu",
        error_report=False,
        export_test_values=True,
        verbose=0,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m harness.runtimes.espdl.quantise_job")
    parser.add_argument("onnx", type=Path)
    parser.add_argument("calibration", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--target", required=True)
    parser.add_argument("--method", required=True)
    options = parser.parse_args()
    run(options.onnx, options.calibration, options.out, options.target, options.method)


if __name__ == "__main__":
    main()
