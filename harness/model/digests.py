"""SHA256SUMS beside the zoo's binary files: what was committed is what runs.

The format is that of `sha256sum`, so `sha256sum -c SHA256SUMS` checks it too.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from harness.errors import ModelError

SUMS_NAME = "SHA256SUMS"


def file_digest(path: Path) -> str:
    """SHA-256 of the file's bytes, lower-case hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def data_digest(path: Path) -> str:
    """Of a file as `file_digest`; of a folder over the names and contents of all files in it."""
    if path.is_file():
        return file_digest(path)
    total = hashlib.sha256()
    for file in sorted(each for each in path.rglob("*") if each.is_file()):
        total.update(f"{file.relative_to(path).as_posix()}\0{file_digest(file)}\0".encode())
    return total.hexdigest()


def read_sums(directory: Path) -> dict[str, str]:
    """File name -> digest as SHA256SUMS in `directory` lists them; empty where there is none."""
    path = directory / SUMS_NAME
    if not path.is_file():
        return {}
    sums = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        if len(digest) != 64 or not name:
            raise ModelError(f"{path}: expected 'digest  file', came {line!r}", f"git checkout -- {path}")
        sums[name] = digest
    return sums


def write_sums(directory: Path, names: list[str]) -> None:
    """Writes SHA256SUMS for `names`, files of `directory`."""
    lines = [f"{file_digest(directory / name)}  {name}\n" for name in sorted(names)]
    (directory / SUMS_NAME).write_text("".join(lines), encoding="utf-8")


def verify(path: Path) -> None:
    """Checks a file against the SHA256SUMS beside it; a file that is not listed passes.

    Raises:
        ModelError: the digest differs.
    """
    expected = read_sums(path.parent).get(path.name)
    if expected is None:
        return
    found = file_digest(path)
    if found != expected:
        raise ModelError(
            f"{path}: {SUMS_NAME} says SHA-256 {expected[:16]}..., the file has {found[:16]}...",
            f"Restore it: git checkout -- {path}, or if the change is meant: "
            f"(cd {path.parent} && sha256sum {' '.join(sorted(read_sums(path.parent)))} > {SUMS_NAME})",
        )
