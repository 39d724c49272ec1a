"""`harness quantise`: a float model to a file that a runtime takes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.items import float_model
from harness.model.spec import load_model
from harness.progress import ConsoleWriter
from harness.runtimes.espdl import Espdl
from harness.runtimes.espdl import quantise as espdl_quantise
from harness.runtimes.espdl.variants import CHIPS as ESPDL_CHIPS
from harness.runtimes.tflm import Tflm
from harness.runtimes.tflm import quantise as tflm_quantise
from harness.runtimes.tvm import Tvm
from harness.runtimes.tvm import quantise as tvm_quantise
from harness.runtimes.tvm.calibrate import METHODS as TVM_METHODS
from harness.targets import get_target

Parsers = Any  # argparse's own type of `add_subparsers` is private


def add_command(commands: Parsers) -> None:
    """Adds `quantise` to the command line."""
    quantised = commands.add_parser(
        "quantise",
        help="make an .espdl, QDQ .onnx or .tflite file of a float model (extras [espdl], [keras])",
        description="Quantises, for espdl with esp-ppq, for tflm with TensorFlow (from a .keras or .h5 file, "
        "a float .tflite or a SavedModel), and reads the result back with our own reader.",
        epilog="harness quantise my.onnx --target esp32s3 --data typical.npz --out my.espdl; "
        "harness quantise float.tflite --runtime tflm --data typical.npz --out my.tflite",
    )
    quantised.add_argument(
        "model",
        help="zoo name, directory with a model.toml, .onnx, .keras, .h5 or float .tflite file, or SavedModel",
    )
    quantised.add_argument("--runtime", default="espdl", choices=("espdl", "tvm", "tflm"))
    quantised.add_argument("--target", metavar="CHIP", help=f"for espdl, of {', '.join(ESPDL_CHIPS)}")
    quantised.add_argument(
        "--scheme",
        default=Espdl.schemes[0],
        choices=dict.fromkeys((*Espdl.schemes, *Tflm.schemes)),
        help="bits of weights and data: int8, int16, or int8 weights and int16 data, which is w8a16 in espdl "
        "and int16x8 in tflm",
    )
    quantised.add_argument(
        "--calibration",
        default=espdl_quantise.BEST,
        metavar="METHOD",
        help=f"how activation ranges are found: {', '.join(espdl_quantise.METHODS)}, for tvm "
        f"{', '.join(TVM_METHODS)}; best (the default): the one that loses least on the "
        "calibration set",
    )
    quantised.add_argument(
        "--data", type=Path, metavar="FILE", help="typical inputs; default: the model's own"
    )
    quantised.add_argument(
        "--out", required=True, type=Path, metavar="FILE", help="FILE.espdl, .onnx or .tflite"
    )
    quantised.set_defaults(run=_quantise)


def _quantise(parsed: argparse.Namespace) -> int:
    if parsed.runtime == "tflm":
        return _to_tflite(parsed)
    source = float_model(load_model(parsed.model), parsed.data, ConsoleWriter(sys.stderr).line)
    result: espdl_quantise.Quantised | tvm_quantise.Quantised
    if parsed.runtime == "tvm":
        if parsed.scheme not in Tvm.schemes:
            raise UsageError(
                f"runtime tvm has no scheme '{parsed.scheme}'", f"Known: {', '.join(Tvm.schemes)}"
            )
        result = tvm_quantise.quantise(Tvm(), source, parsed.out, parsed.calibration)
    elif parsed.scheme not in Espdl.schemes:
        raise UsageError(
            f"runtime espdl has no scheme '{parsed.scheme}'", f"Known: {', '.join(Espdl.schemes)}"
        )
    elif parsed.target is None:
        raise UsageError("runtime espdl has a file for each kind of chip", "Name one, e.g. --target esp32s3")
    else:
        runtime = Espdl(parsed.scheme)
        variant = runtime.variant(get_target(parsed.target))
        result = espdl_quantise.quantise(runtime, source, variant, parsed.out, parsed.calibration)
    for method, loss in result.losses.items():
        agreement = "" if loss.agreement is None else f"agreement {loss.agreement:.2%}, "
        print(f"{method:<11}{agreement}mean |difference| {loss.mean_abs:.4g}, max {loss.max_abs:.4g}")
    print(f"{result.path}: {parsed.scheme}, {result.method}, on the calibration set against the float model")
    return 0


def _to_tflite(parsed: argparse.Namespace) -> int:
    if parsed.scheme not in Tflm.schemes:
        raise UsageError(f"runtime tflm has no scheme '{parsed.scheme}'", f"Known: {', '.join(Tflm.schemes)}")
    tflm_quantise.quantise(load_model(parsed.model), parsed.data, parsed.scheme, parsed.out)
    print(f"{parsed.out}: {parsed.scheme}. Try it: harness run {parsed.out} --target esp32c3")
    return 0
