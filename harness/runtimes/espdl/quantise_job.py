"""Runs esp-ppq on one model; a process of its own, started by `quantise.py`.

A fixed hash seed (set by the parent) and one thread make the bytes reproducible; esp-ppq rewrites the
ONNX file in place, so the parent hands over a copy.

The sample embedded in the file is computed apart from the export: with 16 bits esp-ppq's executor is
exact only in double precision, which it has for int16 alone, and ESP-DL's own test wants float32.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from harness.extras import require

QUANT_TYPES = {"int8": "w8a8", "int16": "w16a16", "w8a16": "w8a16"}


def run(onnx: Path, calibration: Path, out: Path, target: str, scheme: str, method: str) -> None:
    """Writes `out`, and beside it esp-ppq's .json and .info."""
    torch = require("torch", "espdl")
    api = require("esp_ppq.api", "espdl")
    library = require("esp_ppq.lib", "espdl")
    factory = require("esp_ppq.api.setting", "espdl").QuantizationSettingFactory
    torch.set_num_threads(1)
    setting = factory.espdl_setting(num_of_bits=8 if scheme == "int8" else 16)
    setting.quantize_activation_setting.calib_algorithm = method
    samples = [torch.tensor(sample) for sample in np.load(calibration)]
    graph = api.espdl_quantize_onnx(
        onnx_import_file=str(onnx),
        espdl_export_file=str(out),
        calib_dataloader=samples,
        calib_steps=len(samples),
        input_shape=list(samples[0].shape),
        inputs=samples[:1],
        target=target,
        quant_type=QUANT_TYPES[scheme],
        debug=True,
        setting=setting,
        device="cpu",
        error_report=False,
        skip_export=True,
        verbose=0,
    )
    tests = _exact_test_values(api, graph, target, samples[:1])
    platform = api.get_target_platform(target, QUANT_TYPES[scheme], debug=True)
    library.Exporter(platform=platform).export(
        file_path=str(out), graph=graph, values_for_test=tests, export_config=True
    )


def _exact_test_values(api: Any, graph: Any, target: str, sample: list[Any]) -> dict[str, Any]:
    """What the executor gives for `sample`, in double precision where data have 16 bits."""
    narrow = api.get_target_platform(target, "w8a8")
    exact = api.get_target_platform(target, "w16a16", debug=True)
    quantised = {narrow, exact, api.get_target_platform(target, "w8a16")}
    operations = list(graph.operations.values())
    platforms = [operation.platform for operation in operations]
    for operation in operations:
        if operation.platform in quantised - {narrow}:
            operation.platform = exact
    values = api.generate_test_value(graph, "cpu", sample)
    for operation, platform in zip(operations, platforms, strict=True):
        operation.platform = platform
    return {side: {name: value.float() for name, value in of.items()} for side, of in values.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m harness.runtimes.espdl.quantise_job")
    parser.add_argument("onnx", type=Path)
    parser.add_argument("calibration", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--target", required=True)
    parser.add_argument("--scheme", required=True, choices=tuple(QUANT_TYPES))
    parser.add_argument("--method", required=True)
    options = parser.parse_args()
    run(options.onnx, options.calibration, options.out, options.target, options.scheme, options.method)


if __name__ == "__main__":
    main()
