"""Where a figure comes from: commit, versions, digests, machine. Plain text pairs for the records."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import harness
from harness.boards.base import Board
from harness.link.messages import Identity
from harness.runtimes.base import Artifact
from harness.toolchains.base import Image

_PACKAGES = ("numpy", "onnxruntime", "tflite-micro", "pytest", "pytest-embedded", "tensorflow-cpu")


@functools.cache
def _host() -> dict[str, str]:
    facts = {
        "name": platform.node(),
        "harness": harness.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": str(os.cpu_count()),
    }
    commit = _git_commit(Path(harness.__file__).parents[1])
    if commit:
        facts["commit"] = commit
    for package in _PACKAGES:
        try:
            facts[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return facts


def host_facts() -> dict[str, str]:
    """This machine, this commit, the versions of what computes the figures."""
    return dict(_host())


def _git_commit(directory: Path) -> str | None:
    """The checkout's commit, "+" appended when files differ from it; None outside a checkout."""
    if not (directory / ".git").exists():
        return None
    command = ["git", "-C", str(directory), "describe", "--always", "--abbrev=12", "--dirty=+"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def item_facts(
    artifact: Artifact | None,
    image: Image | None,
    board: Board | None,
    identity: Identity | None,
    data_digest: str | None,
) -> dict[str, str]:
    """What one item was made of; a station that was not reached adds nothing."""
    facts: dict[str, str] = {}
    if artifact is not None:
        facts["artifact"] = artifact.digest
    if data_digest is not None:
        facts["data"] = data_digest
    if image is not None:
        facts["firmware"] = image.digest
        facts["compiler"] = image.compiler
        facts["flags"] = " ".join(image.flags)
        facts["platform"] = image.platform
    if board is not None:
        facts.update({f"board_{key}": value for key, value in board.info.details.items()})
    if identity is not None:
        known = set(facts) | {"artifact", "firmware", "model", "runtime", "kernels", "target"}
        facts.update({f"device_{key}": text for key, text in identity.values.items() if key not in known})
    return facts
