"""What it takes to judge a run's wire logs again, kept beside them: artifacts and the right answers.

Files in `evidence/` of the run's directory, each named by the digest of its bytes, so that items share them
and damage shows. What they mean is the business of `expectation` and of `replay`.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np

from harness.errors import DataError
from harness.expectation import Expectation
from harness.records.directory import write_whole
from harness.runtimes.base import Artifact

DIRECTORY = "evidence"
# Fixed, so that the same arrays make the same file.
_DATE = (1980, 1, 1, 0, 0, 0)
_DIGEST_CHARACTERS = 16


def keep_artifact(artifact: Artifact, run: Path) -> str:
    """The artifact's own file; its name, relative to the run's directory. Raises OutputError."""
    return _keep(artifact.data, artifact.path.suffix, run)


def keep_expectation(expected: Expectation, pixels: np.ndarray | None, run: Path) -> str:
    """Inputs, right answers and labels as one .npz, with the pictures behind them where there are any; its
    name, relative to the run's directory. Raises OutputError.
    """
    arrays: dict[str, np.ndarray] = {}
    for name in ("inputs", "outputs"):
        arrays |= {f"{name}_{index}": tensor for index, tensor in enumerate(getattr(expected, name))}
    for sample, layers in enumerate(expected.layers):
        arrays |= {f"layers_{sample}_{index}": tensor for index, tensor in enumerate(layers)}
    for name in ("reference", "labels", "real", "recordings"):
        if (values := getattr(expected, name)) is not None:
            arrays[name] = values
    if pixels is not None:
        arrays["pixels"] = pixels
    names = ("reference_name", "data_source", "data_digest", "reference_top1_min", "task")
    about = {name: getattr(expected, name) for name in names}
    return _keep(_npz(arrays, about), ".npz", run)


def load_expectation(run: Path, name: str) -> tuple[Expectation, np.ndarray | None]:
    """What `keep_expectation` kept: the expectation and the pictures.

    Raises:
        DataError: the file is missing or damaged.
    """
    with np.load(io.BytesIO(read_kept(run, name)), allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    about = json.loads(arrays.pop("about").tobytes())
    pixels = arrays.pop("pixels", None)
    layers: list[list[np.ndarray]] = []
    for key in (key for key in arrays if key.startswith("layers_")):
        sample = int(key.split("_")[1])
        layers += [[]] * (sample == len(layers))
        layers[sample] = [*layers[sample], arrays[key]]
    expected = Expectation(
        inputs=tuple(values for key, values in arrays.items() if key.startswith("inputs_")),
        outputs=tuple(values for key, values in arrays.items() if key.startswith("outputs_")),
        layers=tuple(tuple(tensors) for tensors in layers),
        reference=arrays.get("reference"),
        labels=arrays.get("labels"),
        real=arrays.get("real"),
        recordings=arrays.get("recordings"),
        **about,
    )
    return expected, pixels


def read_kept(run: Path, name: str) -> bytes:
    """A file of `evidence/` that is what its name says.

    Raises:
        DataError: it is missing or damaged.
    """
    path = run / name
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    if _digest(data) != path.stem:
        raise DataError(f"{path} is damaged: its digest is {_digest(data)}")
    return data


def _keep(data: bytes, suffix: str, run: Path) -> str:
    name = f"{DIRECTORY}/{_digest(data)}{suffix}"
    path = run / name
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        write_whole(path, data)
    return name


def _npz(arrays: dict[str, np.ndarray], about: dict[str, object]) -> bytes:
    """As numpy's savez_compressed, but quicker, and the same bytes for the same arrays."""
    text = np.frombuffer(json.dumps(about, sort_keys=True).encode(), np.uint8)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, values in {**arrays, "about": text}.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(values), allow_pickle=False)
            about_member = zipfile.ZipInfo(f"{name}.npy", _DATE)
            about_member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(about_member, member.getvalue(), compresslevel=1)
    return file.getvalue()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:_DIGEST_CHARACTERS]
