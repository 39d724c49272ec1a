"""The build cache: one folder per image, named by the digest of what it was built from.

A folder appears by rename when it is whole, so readers never see half a build and
two processes that build the same thing end with one folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from harness.errors import DISK_FULL, OutputError
from harness.toolchains.base import Image

ELF = "firmware.elf"
MAP = "firmware.map"
LOG = "build.log"
_IMAGE = "image.json"
# Paths, which change when the folder moves, and what is known only of this use of the image.
_NOT_SAVED = ("elf", "map_file", "build_log", "cached", "flash")


def save_image(image: Image, directory: Path) -> None:
    """Writes image.json beside the files; paths are left out, so the folder may move."""
    fields = {key: value for key, value in asdict(image).items() if key not in _NOT_SAVED}
    fields["elf_sha256"] = _sha256(directory / ELF)
    (directory / _IMAGE).write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")


def load_image(directory: Path) -> Image | None:
    """The image in `directory`; None if there is none, or not the one that was saved."""
    try:
        fields = json.loads((directory / _IMAGE).read_text(encoding="utf-8"))
        if fields.pop("elf_sha256") != _sha256(directory / ELF):
            return None
        fields["flags"] = tuple(fields["flags"])
        return Image(
            elf=directory / ELF, map_file=directory / MAP, build_log=directory / LOG, cached=True, **fields
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def building(directory: Path) -> Iterator[Path]:
    """A scratch folder that becomes `directory` when the block ends without an exception.

    Raises OutputError when the cache cannot be written.
    """
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".building-", dir=directory.parent))
    except OSError as error:
        raise OutputError(
            f"cannot write the build directory {directory.parent}: {error.strerror}",
            "Name another: HARNESS_BUILD_ROOT=DIR",
        ) from error
    try:
        yield scratch
        scratch.chmod(0o755)  # mkdtemp makes it private
        _publish(scratch, directory)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise OutputError(
            f"cannot write the build directory {directory.parent}: {error.strerror}",
            "Free some space, or name another: HARNESS_BUILD_ROOT=DIR",
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _publish(scratch: Path, directory: Path) -> None:
    try:
        os.rename(scratch, directory)
    except OSError:
        if load_image(directory) is not None:
            return  # another process was first, with the same content
        shutil.rmtree(directory, ignore_errors=True)
        os.rename(scratch, directory)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
