"""ONNX file and calibration data in, a directory with the whole ESP-DL v1 project out.

The directory appears complete or not at all. Prints nothing: the log lines of the old tool are
returned.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError
from harness.model.preprocess import Preprocess
from harness.new_directory import check_new, write_new
from harness.runtimes.espdl_v1 import project
from harness.runtimes.espdl_v1.calibrate import Scheme
from harness.runtimes.espdl_v1.coefficients import coefficient_header, coefficient_source, identifier
from harness.runtimes.espdl_v1.from_onnx import quantise_onnx
from harness.runtimes.espdl_v1.layout import CHIPS, is_inferred
from harness.runtimes.espdl_v1.project_reader import TABLE
from harness.runtimes.espdl_v1.quantise import QuantisedNetwork


@dataclass(frozen=True)
class Export:
    """`name` is the model's in the files, `files` are relative to `directory`, `log` is what the
    calibrator of v1 printed.
    """

    directory: Path
    name: str
    files: tuple[str, ...]
    log: tuple[str, ...]
    network: QuantisedNetwork


def export_v1(
    model: Path,
    calibration: Path,
    directory: Path,
    *,
    chip: str,
    scheme: Scheme,
    name: str = "",
    preprocess: Preprocess | None = None,
    table: Path | None = None,
) -> Export:
    """Quantises `model` and writes its v1 project for `chip` into `directory`.

    Args:
        calibration: .npz with x, real float32 values (or uint8 pixels with a `preprocess`); its
            first sample becomes image.hpp.
        name: what the model is called in the files; default: the file's own.
        table: a quantization_table.json of an earlier export, used in place of calibrating.

    Raises:
        UsageError, ModelError, UnsupportedError, DataError: what was given does not fit.
        OutputError: `directory` holds something already, or cannot be written.
    """
    if chip not in CHIPS:
        raise UsageError(f"esp-dl v1 has no target '{chip}'", f"It has: {', '.join(CHIPS)}")
    check_new(directory)
    made = quantise_onnx(model, calibration, scheme, preprocess, table)
    quantised, exponents = made.network, made.exponents
    name = identifier(name or model.stem)
    stem = f"{name}_coefficient"
    files = {
        "CMakeLists.txt": project.project_cmake(name),
        "main/CMakeLists.txt": project.main_cmake(name),
        "main/app_main.cpp": project.app_main(quantised, name),
        "main/image.hpp": project.image(made.sample),
        f"model/{stem}.cpp": coefficient_source(quantised, stem, chip),
        f"model/{stem}.hpp": coefficient_header(quantised, stem),
        "model/model_define.hpp": project.model_define(quantised, name),
        "sdkconfig.defaults": f'CONFIG_IDF_TARGET="{chip}"\n',
        TABLE: json.dumps({k: 2.0**e for k, e in exponents.items()}, indent=1) + "\n",
    }
    write_new(directory, files)
    log = _log(quantised, chip, directory / "model" / stem)
    return Export(directory, name, tuple(files), tuple(log), quantised)


def _log(network: QuantisedNetwork, chip: str, stem: Path) -> list[str]:
    scheme = network.scheme
    lines = [
        "Generating the quantization table:",
        f"Converting coefficient to int{scheme.bits} {scheme.granularity} quantization for {chip}",
        f"Exporting finish, the output files are: {stem}.cpp, {stem}.hpp",
        "",
        "Quantized model info:",
        f"model input name: {network.network.input}, exponent: {network.input_exponent}",
    ]
    lines += [
        f"{layer.layer.onnx_op} layer name: {layer.layer.name}, output_exponent: {layer.output_exponent}"
        for layer in network.layers
    ]
    if is_inferred(chip, scheme.bits):
        lines += ["", f"Element order of {chip} int{scheme.bits} is inferred: see docs/espdl_v1.md"]
    return lines
