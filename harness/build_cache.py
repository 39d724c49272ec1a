"""What lies under `build/`: how much of it there is, and what goes when it is more than --build-limit.

Everything here is made again when it is needed. Quantised models are not touched: to make one again can take
minutes and an extra.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.exclusive import discard, last_used_s

FOLDERS = ("conversions", "expectations", "images", "images/.objects", "projects")
KEPT_S = 24 * 3600.0
"""What was used within a day stays, however large it is: a run may be using it still."""


@dataclass(frozen=True)
class Cached:
    """One entry: an image's folder, an object, the answers of an oracle."""

    path: Path
    folder: str
    size_bytes: int
    used_s: float


def entries(build_root: Path) -> Iterator[Cached]:
    """All there is, but for what disappears meanwhile."""
    for folder in FOLDERS:
        with contextlib.suppress(FileNotFoundError):
            for found in os.scandir(build_root / folder):
                path = Path(found.path)
                if found.name.endswith(".lock") or f"{folder}/{found.name}" in FOLDERS:
                    continue
                with contextlib.suppress(FileNotFoundError):
                    yield Cached(path, folder, _size_bytes(path), last_used_s(path))


def prune(build_root: Path, limit_bytes: int) -> tuple[int, int]:
    """Removes what was used least recently until the rest is within `limit_bytes`; entries and bytes removed.

    Safe beside other processes: nothing goes that one is making or was using within `KEPT_S`.
    """
    known = sorted(entries(build_root), key=lambda entry: entry.used_s)
    over = sum(entry.size_bytes for entry in known) - limit_bytes
    removed = freed = 0
    for entry in known:
        if freed >= over or entry.used_s > time.time() - KEPT_S:
            break
        with contextlib.suppress(OSError):
            if discard(entry.path, entry.used_s):
                removed += 1
                freed += entry.size_bytes
    return removed, freed


def pruned(build_root: Path, limit_bytes: int) -> str:
    """`prune`, and what it did in a sentence; "" for nothing."""
    removed, freed = prune(build_root, limit_bytes)
    if not removed:
        return ""
    what = "entry" if removed == 1 else "entries"
    return (
        f"{build_root}: {removed} {what} used least recently removed, {megabytes(freed)}: "
        f"it was above --build-limit {megabytes(limit_bytes)}"
    )


def described(build_root: Path) -> str:
    """Sizes by folder, the largest first."""
    sizes: dict[str, int] = {}
    for entry in entries(build_root):
        sizes[entry.folder] = sizes.get(entry.folder, 0) + entry.size_bytes
    if not sizes:
        return f"{build_root}: empty"
    parts = [f"{name} {megabytes(size)}" for name, size in sorted(sizes.items(), key=lambda part: -part[1])]
    return f"{build_root}: {megabytes(sum(sizes.values()))} ({', '.join(parts)})"


def megabytes(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):,.1f} MB"


def _size_bytes(path: Path) -> int:
    if not path.is_dir():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
