"""A float model, ONNX or Keras, to .espdl with esp-ppq (extra `espdl`), in a process of its own.

The file is read back and run by our own oracle before it is put in place; a run of the bench never
needs this.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError, HarnessError, ModelError, OutputError, UnsupportedError, UsageError
from harness.extras import EXTRAS, require_installed
from harness.measure.gaps import quantisation_gap
from harness.model.reference import OnnxReference, fit_layout, load_inputs
from harness.portable.ops.power_of_two_operators import ESPDL_OPERATORS
from harness.records.schema import QuantisationGap
from harness.runtimes.base import FloatModel
from harness.runtimes.espdl import Espdl, EspdlArtifact
from harness.tensors import TensorInfo

METHODS = ("minmax", "kl", "percentile")
BEST = "best"
FOLDED = ("BatchNormalization", "Constant", "Dropout", "Identity")
"""What esp-ppq leaves out of the file, or makes part of the layer before it."""
LOG_TAIL_LINES = 3
# Beyond, no exponent near those of ESP-DL's tensors holds an input, or its sums in the float model overflow.
MAX_MAGNITUDE = float(1 << 24)
ENVIRONMENT = {"CUDA_VISIBLE_DEVICES": "", "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}
"""Set for esp-ppq's process; its files depend on the order of Python's hashes."""


@dataclass(frozen=True)
class Quantised:
    """`losses`: for each method tried, our oracle against the float model on the calibration set."""

    path: Path
    method: str
    losses: dict[str, QuantisationGap]


def quantise(runtime: Espdl, model: FloatModel, variant: str, out: Path, method: str = BEST) -> Quantised:
    """Writes `out` (.espdl) for one kind of chip, and esp-ppq's .json and .info beside it.

    Args:
        method: how activation ranges are calibrated: minmax, kl, percentile; or best, which tries all
            and keeps the one that agrees most often with the float model, then the one with the
            smallest mean |difference|.

    Raises:
        UnsupportedError: esp-ppq made what `runtime espdl` cannot run.
        MissingError: torch or esp-ppq is not installed.
        ModelError, DataError, UsageError: the ONNX file or the calibration set does not fit.
        OutputError: `out` cannot be written.
        HarnessError: esp-ppq failed; carries the tail of its log.
    """
    if method not in (*METHODS, BEST):
        raise UsageError(f"unknown calibration '{method}'", f"Known: {', '.join((*METHODS, BEST))}")
    if out.suffix != ".espdl":
        raise UsageError(f"{out}: expected a name that ends in .espdl")
    for module in EXTRAS["espdl"]:
        require_installed(module, "espdl")
    source = model.file
    network = OnnxReference(source)  # refuses what is no ONNX file
    tensor, output_shape = _ends(source)
    inputs = _calibration(model, tensor)
    reference = network.run([inputs])
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".quantise-", dir=out.parent))
    except OSError as error:
        raise OutputError(f"{out}: not writable: {error.strerror}", "Give another file: --out") from None
    try:
        losses = {}
        for one in METHODS if method == BEST else (method,):
            file = work / f"{one}.espdl"
            model.say(f"{model.name}: quantising to {runtime.scheme} for {variant}, calibration {one}")
            _run_job(source, inputs, file, variant, runtime.scheme, one)
            artifact = _load(runtime, file, variant, source)
            oracle, info = runtime.oracle(artifact), artifact.inputs[0]
            # ESP-DL's images are NHWC, whatever the ONNX file's are.
            samples = fit_layout(inputs, info.shape, source)
            outputs = np.stack([oracle.run([info.quantise(sample)])[0] for sample in samples])
            scores = fit_layout(artifact.outputs[0].dequantise(outputs), output_shape, source)
            losses[one] = quantisation_gap(scores, reference, "onnx")
        best = min(losses, key=lambda name: (-(losses[name].agreement or 0.0), losses[name].mean_abs))
        for suffix in (".json", ".info", ".espdl"):
            os.replace(work / f"{best}{suffix}", out.with_suffix(suffix))
    except OSError as error:
        raise OutputError(f"{out}: not writable: {error.strerror}", "Give another file: --out") from None
    finally:
        shutil.rmtree(work)
    return Quantised(out, best, losses)


def check_float(source: Path) -> None:
    """Raises ModelError or UnsupportedError for a float model that `quantise` refuses for its operators."""
    import onnx

    _ends(source)
    for index, node in enumerate(onnx.load(source).graph.node):
        if node.op_type not in (*ESPDL_OPERATORS, *FOLDED):
            raise UnsupportedError(
                f"{source}: operator {index} ({node.op_type}) is not supported",
                f"Supported: {', '.join(sorted(ESPDL_OPERATORS))}",
            )


def _load(runtime: Espdl, file: Path, variant: str, source: Path) -> EspdlArtifact:
    """What esp-ppq wrote; an error names the user's file, not one that will be gone."""
    try:
        return runtime.load(file, variant)
    except (ModelError, UnsupportedError) as error:
        reason = error.message.removeprefix(f"{file}: ")
        raise type(error)(f"{source}: what esp-ppq made of it: {reason}", error.remedy) from error


def _calibration(model: FloatModel, tensor: TensorInfo) -> NDArray[np.float32]:
    """Real inputs, (N, *shape of the ONNX input)."""
    inputs = load_inputs(model.calibration, tensor, model.preprocess)
    largest = float(np.abs(inputs).max())
    if not 1 / MAX_MAGNITUDE <= largest <= MAX_MAGNITUDE:
        raise DataError(
            f"{model.calibration}: the largest |value| of the calibration set is {largest:g}, "
            f"expected {1 / MAX_MAGNITUDE:.2g} to {MAX_MAGNITUDE:.2g}",
            "Give typical inputs, as the float model takes them",
        )
    return inputs


def _ends(source: Path) -> tuple[TensorInfo, tuple[int | None, ...]]:
    """The input, and the output's shape with None for open extents."""
    import onnx  # half a second, for this command alone

    graph = onnx.load(source).graph
    constants = {constant.name for constant in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1:
        raise UnsupportedError(f"{source}: {len(inputs)} inputs; quantisation takes models with one")
    if len(graph.output) != 1:
        raise UnsupportedError(f"{source}: {len(graph.output)} outputs; quantisation takes models with one")
    shape = tuple(dim.dim_value for dim in inputs[0].type.tensor_type.shape.dim)
    if not shape or min(shape) < 1 or shape[0] != 1:
        raise ModelError(
            f"{source}: the input has the shape {list(shape)} (0: open); expected a fixed one with batch 1",
            _fix_batch(source, inputs[0].name, shape),
        )
    given = tuple(dim.dim_value or None for dim in graph.output[0].type.tensor_type.shape.dim)
    return TensorInfo(inputs[0].name, shape, "float32"), given


def _fix_batch(source: Path, name: str, shape: tuple[int, ...]) -> str:
    """The command that fixes an open batch; a fixed one, or further open extents, take another export."""
    if not shape or shape[0] != 0 or min(shape[1:], default=1) < 1:
        return "Export it again with batch 1 and fixed extents"
    fixed = ",".join(map(str, (1, *shape[1:])))
    return (
        f"Fix it: python -m onnxruntime.tools.make_dynamic_shape_fixed --input_name {name} "
        f"--input_shape {fixed} {source} {source.with_stem(source.stem + '_batch1')}"
    )


def _run_job(
    source: Path, inputs: NDArray[np.float32], out: Path, variant: str, scheme: str, method: str
) -> None:
    copy, calibration = out.with_suffix(".onnx"), out.with_suffix(".npy")
    shutil.copyfile(source, copy)
    np.save(calibration, inputs)
    # Names without directories: none may find its way into the file's bytes.
    command = [sys.executable, "-m", "harness.runtimes.espdl.quantise_job", copy.name, calibration.name]
    command += [out.name, "--target", variant, "--scheme", scheme, "--method", method]
    paths = [str(Path(__file__).parents[3]), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        command,
        env={**os.environ, **ENVIRONMENT, "PYTHONPATH": os.pathsep.join(paths)},
        cwd=out.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode or not out.is_file():
        tail = " | ".join(done.stdout.strip().splitlines()[-LOG_TAIL_LINES:])
        raise HarnessError(f"esp-ppq failed on {source} with exit status {done.returncode}: {tail}")
