"""Writes a plan's sources into a directory, whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from harness.bundled import firmware_dir
from harness.errors import OutputError
from harness.portable.plan import Plan
from harness.portable.source import (
    Identity,
    Placement,
    arena_bytes,
    headers,
    model_source,
    weights_header,
    weights_source,
)
from harness.runtimes.base import Project


def write_project(
    plan: Plan,
    identity: Identity,
    directory: Path,
    kernels: Mapping[str, str] | None = None,
    placement: Placement | None = None,
) -> Project:
    """Writes the engine for `plan`; the same plan gives the same bytes.

    `kernels` are further sources and headers by name, where the steps call functions written elsewhere;
    model.c includes the headers. `placement` is where the activations lie; None: in one static arena.

    The directory gets model.c, model_weights.c/.h and the shared headers the kernels use;
    other files in it are left alone. Each file appears whole.

    Raises:
        OutputError: the directory cannot be written.
    """
    shared = firmware_dir() / "runtimes" / "portable"
    kernels = kernels or {}
    shared_headers = [*headers(plan), *(placement.headers if placement else ())]
    own_headers = [name for name in kernels if name.endswith(".h")]
    files = {
        **kernels,
        "model.c": model_source(plan, identity, own_headers, placement),
        "model_weights.c": weights_source(plan, identity),
        "model_weights.h": weights_header(plan),
    }
    for name in _with_includes(shared, shared_headers):
        files[name] = (shared / name).read_text(encoding="utf-8")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".writing-", dir=directory))
        try:
            for name, text in files.items():
                (staging / name).write_text(text, encoding="utf-8", newline="\n")
            for name in files:
                os.replace(staging / name, directory / name)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise OutputError(
            f"cannot write the project into {directory}: {error.strerror}", "Choose another directory"
        ) from error
    return Project(
        directory=directory,
        sources=tuple(directory / name for name in sorted(files) if name.endswith(".c")),
        include_dirs=(directory, firmware_dir()),
        arena_bytes=arena_bytes(plan),
    )


def _with_includes(shared: Path, names: list[str]) -> list[str]:
    """`names` and the headers beside them that they include."""
    found: list[str] = []
    queue = list(names)
    while queue:
        name = queue.pop(0)
        if name in found:
            continue
        found.append(name)
        for line in (shared / name).read_text(encoding="utf-8").splitlines():
            if line.startswith('#include "'):
                queue.append(line.split('"')[1])
    return sorted(found)
