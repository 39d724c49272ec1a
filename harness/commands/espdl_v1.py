"""`harness export-v1` and `harness lint-v1`: projects of the ESP-DL v1 generation."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from harness.items import float_model
from harness.model.spec import load_model
from harness.runtimes.espdl_v1 import calibrate as v1_calibrate
from harness.runtimes.espdl_v1.export import export_v1
from harness.runtimes.espdl_v1.layout import CHIPS as V1_CHIPS
from harness.runtimes.espdl_v1.lint import lint_v1

Parsers = Any  # argparse's own type of `add_subparsers` is private


def add_command(commands: Parsers) -> None:
    """Adds `export-v1` and `lint-v1` to the command line."""
    export = commands.add_parser(
        "export-v1",
        help="write an ESP-DL v1 project: coefficients, model_define.hpp, app_main.cpp",
        description="Float ONNX or Keras file -> exponents and integers of esp-dl v1 -> the C++ project "
        "of that time.",
        epilog="harness export-v1 my.onnx --target esp32s3 --bits 16 --calibration my.npz --out DIR",
    )
    export.add_argument("model", help="zoo name, directory with a model.toml, or .onnx, .keras or .h5 file")
    export.add_argument("--target", required=True, choices=V1_CHIPS)
    export.add_argument("--bits", required=True, type=int, choices=v1_calibrate.BITS)
    export.add_argument(
        "--granularity", default=v1_calibrate.GRANULARITIES[0], choices=v1_calibrate.GRANULARITIES
    )
    export.add_argument("--method", default=v1_calibrate.METHODS[0], choices=v1_calibrate.METHODS)
    export.add_argument("--calibration", type=Path, metavar="FILE.npz", help="default: the zoo model's own")
    export.add_argument("--table", type=Path, metavar="FILE.json", help="scales to use, not calibrated again")
    export.add_argument("--out", required=True, type=Path, metavar="DIR")
    export.set_defaults(run=_export_v1)

    lint = commands.add_parser(
        "lint-v1",
        help="check an ESP-DL v1 project: exponents, shapes, missing layers",
        description="Compares model_define.hpp with the coefficient files. Exit code 1: they disagree.",
    )
    lint.add_argument("directory", type=Path, metavar="DIR")
    lint.set_defaults(run=_lint_v1)


def _export_v1(parsed: argparse.Namespace) -> int:
    source = float_model(load_model(parsed.model), parsed.calibration)
    done = export_v1(
        source.file,
        source.calibration,
        parsed.out,
        chip=parsed.target,
        scheme=v1_calibrate.Scheme(parsed.bits, parsed.granularity, parsed.method),
        name=source.name,
        preprocess=source.preprocess,
        table=parsed.table,
    )
    print("\n".join(done.log))
    return 0


def _lint_v1(parsed: argparse.Namespace) -> int:
    findings = lint_v1(parsed.directory)
    print("\n".join(findings) if findings else f"{parsed.directory}: nothing found")
    return int(bool(findings))
