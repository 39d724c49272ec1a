"""A Keras file, a SavedModel or a float .tflite file to a .tflite file of integers, by TensorFlow (extra
`keras`) in a process of its own. The file is read back before it is put in place.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from harness.errors import HarnessError, ModelError, OutputError, UsageError
from harness.extras import require_installed
from harness.model.preprocess import Preprocess
from harness.model.spec import ModelSpec
from harness.portable.ops import OPERATORS
from harness.runtimes.base import FloatModel
from harness.runtimes.tflm import Tflm
from harness.runtimes.tflm.float_file import read_float
from harness.runtimes.tflm.quantise_job import FLOAT, USER_ERROR

ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}


def quantise(model: ModelSpec, calibration: Path | None, scheme: str, out: Path) -> None:
    """Writes `out`, calibrated on `calibration` or the model's own set.

    Raises:
        ModelError: no float file that TensorFlow reads, no calibration set, or the result cannot run.
        UnsupportedError: what came out has an operator that runtime tflm does not have.
        MissingError: TensorFlow is not installed.
        OutputError: `out` cannot be written.
    """
    if out.suffix != ".tflite":
        raise UsageError(f"{out}: expected a name that ends in .tflite")
    source = next((model.artifacts[kind] for kind in Tflm.float_kinds if kind in model.artifacts), None)
    data = calibration or model.calibration
    if source is None:
        had = ", ".join(path.name for path in model.artifacts.values())
        raise ModelError(
            f"{model.name}: expected a .keras or .h5 file, a float .tflite or a SavedModel to make a .tflite "
            f"of, came {had}",
            "Give what it was converted from",
        )
    if data is None:
        raise ModelError(
            f"{model.name} has no calibration set", "Give some 200 typical inputs: --data FILE.npz"
        )
    quantise_file(FloatModel(model.name, source, data, model.preprocess), scheme, out)


def quantise_file(model: FloatModel, scheme: str, out: Path) -> None:
    """As `quantise`, of what is known to be there."""
    require_installed("tensorflow", "keras")
    check_float(model.file)
    model.say(f"{model.name}: quantising to {scheme} with TensorFlow")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".quantise-", dir=out.parent) as work:
            made = Path(work) / out.name
            _run_job(model.file, made, scheme, model.calibration, model.preprocess)
            Tflm(scheme).load(made)  # refuses what could not run
            os.replace(made, out)
    except OSError as error:
        raise OutputError(f"{out}: not writable: {error.strerror}", "Give another file: --out") from None


def check_float(source: Path) -> None:
    """Raises ModelError or UnsupportedError for a float .tflite file that `quantise` refuses for its
    operators; of other files TensorFlow has to say it.
    """
    if source.suffix.lower() != ".tflite":
        return
    graph = read_float(source)
    for operator in graph.operators:
        if operator.op not in OPERATORS:
            raise ModelError(
                f"{source}: operator {operator.index} ({operator.op}) is not supported",
                f"Supported: {', '.join(sorted(OPERATORS))}",
            )


def convert(saved: Path, out: Path) -> None:
    """Writes a SavedModel as a float .tflite file with batch 1.

    Raises:
        ModelError: TensorFlow cannot read it.
        MissingError: TensorFlow is not installed.
    """
    require_installed("tensorflow", "keras")
    _run_job(saved, out, FLOAT)


def _run_job(
    source: Path, out: Path, scheme: str, data: Path | None = None, preprocess: Preprocess | None = None
) -> None:
    command = [sys.executable, "-m", "harness.runtimes.tflm.quantise_job", str(source), str(out)]
    command += ["--scheme", scheme]
    if data is not None:
        command += ["--data", str(data)]
    if preprocess is not None:
        command += ["--preprocess", json.dumps(vars(preprocess))]
    paths = [str(Path(__file__).parents[3]), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        command,
        env={**os.environ, **ENVIRONMENT, "PYTHONPATH": os.pathsep.join(paths)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode or not out.is_file():
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        if done.returncode == USER_ERROR:
            raise ModelError(last)
        raise HarnessError(f"TensorFlow failed on {source} with exit status {done.returncode}: {last}")
