"""What oracles and float references said, kept on disk: the same question is computed once per machine.

An entry is named by the digest of everything the answer depends on: artifact, inputs, float model, versions,
and the sources that compute it. It is a cache: any entry may be deleted, a damaged one is made again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import zipfile
import zlib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np

from harness.exclusive import exclusive
from harness.expectation import Expectation
from harness.model.dataset import Dataset
from harness.model.reference import Reference
from harness.records.directory import write_whole
from harness.runtimes.base import Array, Artifact

_PACKAGES = ("numpy", "onnxruntime", "tflite-micro", "keras", "tensorflow-cpu")
_SOURCES = ("expectation.py", "tensors.py", "model", "portable", "runtimes")
"""Of `harness`: where answers are computed. A change of any of them makes every answer anew."""


def remembered(
    directory: Path,
    artifact: Artifact,
    variant: str,
    dataset: Dataset,
    reference: Reference | None,
    layer_samples: int,
    compute: Callable[[], Expectation],
) -> Expectation:
    """`compute()`, or what it gave the last time it was asked the same.

    `variant` is the kind of chip the artifact was loaded for.

    Raises:
        OutputError: `directory` cannot be written; and whatever `compute` raises.
    """
    facts = (artifact.runtime, variant, artifact.digest, str(layer_samples), reference_digest(reference))
    total = hashlib.sha256("\0".join((_code(), *facts)).encode())
    inputs = dataset.quantised()
    for values in (*inputs, *(dataset.real() if reference is not None else ())):
        total.update(f"\0{values.dtype.str}{values.shape}\0".encode())
        total.update(np.ascontiguousarray(values).data)
    runtime = artifact.runtime.replace(":", "-")
    path = directory / f"{artifact.name}-{runtime}-{total.hexdigest()[:16]}.npz"
    with exclusive(path):
        if (known := _read(path, inputs, dataset, reference)) is None:
            known = compute()
            write_whole(path, _packed(known))
    return known


def reference_digest(reference: Reference | None) -> str:
    """Which float model, in which library; "" for none."""
    return f"{reference.name} {reference.digest}" if reference is not None else ""


@functools.cache
def _code() -> str:
    """SHA-256, hex, over the sources and the versions of the packages that compute answers."""
    root = Path(__file__).parent
    total = hashlib.sha256()
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            total.update(f"{package} {metadata.version(package)}\0".encode())
    for name in _SOURCES:
        found = root / name
        for file in sorted(found.rglob("*.py")) if found.is_dir() else [found]:
            total.update(f"{file.relative_to(root)}\0".encode() + file.read_bytes())
    return total.hexdigest()


def _packed(known: Expectation) -> bytes:
    arrays = {f"output_{index}": values for index, values in enumerate(known.outputs)}
    for sample, layers in enumerate(known.layers):
        arrays |= {f"layer_{sample}_{index}": values for index, values in enumerate(layers)}
    if known.reference is not None:
        arrays["reference"] = known.reference
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def _read(
    path: Path, inputs: list[Array], dataset: Dataset, reference: Reference | None
) -> Expectation | None:
    """The stored answers to these inputs; None when there are none, or they cannot be read."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
        return None
    layers: dict[int, dict[int, Array]] = {}
    for name in arrays:
        if name.startswith("layer_"):
            sample, index = (int(part) for part in name.split("_")[1:])
            layers.setdefault(sample, {})[index] = arrays[name]
    outputs = sorted(name for name in arrays if name.startswith("output_"))
    return Expectation(
        inputs=tuple(inputs),
        outputs=tuple(arrays[f"output_{index}"] for index in range(len(outputs))),
        layers=tuple(tuple(layers[n][index] for index in sorted(layers[n])) for n in sorted(layers)),
        reference=arrays.get("reference"),
        reference_name=reference.name if reference is not None else "none",
        labels=dataset.labels,
        data_source=dataset.source,
        data_digest=dataset.digest,
    )
