"""A Keras file or a SavedModel to a .tflite file of integers, by TensorFlow (extra `keras`) in a process of
its own. The file is read back before it is put in place.
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
from harness.runtimes.tflm import Tflm
from harness.runtimes.tflm.quantise_job import USER_ERROR

KINDS = ("keras", "savedmodel")
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}


def quantise(model: ModelSpec, calibration: Path | None, scheme: str, out: Path) -> None:
    """Writes `out`, calibrated on `calibration` or the model's own set.

    Raises:
        ModelError: no Keras file or SavedModel, no calibration set, or what came out is none that runs.
        UnsupportedError: what came out has an operator that runtime tflm does not have.
        MissingError: TensorFlow is not installed.
        OutputError: `out` cannot be written.
    """
    if out.suffix != ".tflite":
        raise UsageError(f"{out}: expected a name that ends in .tflite")
    source = next((model.artifacts[kind] for kind in KINDS if kind in model.artifacts), None)
    data = calibration or model.calibration
    if source is None:
        had = ", ".join(path.name for path in model.artifacts.values())
        raise ModelError(
            f"{model.name}: expected a .keras or .h5 file or a SavedModel to make a .tflite of, came {had}",
            "Give what it was converted from",
        )
    if data is None:
        raise ModelError(
            f"{model.name} has no calibration set", "Give some 200 typical inputs: --data FILE.npz"
        )
    require_installed("tensorflow", "keras")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".quantise-", dir=out.parent) as work:
            made = Path(work) / out.name
            _run_job(source, data, made, scheme, model.preprocess)
            Tflm(scheme).load(made)  # refuses what could not run
            os.replace(made, out)
    except OSError as error:
        raise OutputError(f"{out}: not writable: {error.strerror}", "Give another file: --out") from None


def _run_job(source: Path, data: Path, out: Path, scheme: str, preprocess: Preprocess | None) -> None:
    command = [sys.executable, "-m", "harness.runtimes.tflm.quantise_job", str(source), str(data), str(out)]
    command += ["--scheme", scheme]
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
