"""The files a build reads: by which names they go, which headers a source can include, their digests.

No name or digest depends on where the files lie. Includes are read from the text, both sides of every
`#if`: a digest may cover a header too many, never one too few.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"\n]+)"|<([^>\n]+)>|(\w))', re.MULTILINE)


class SourceTree:
    """Sources, include directories and further files (the linker script) of one build.

    Args:
        roots: directories and the names that stand for them.
        header_trees: include directories whose headers count with all below them.
    """

    def __init__(
        self,
        roots: Sequence[tuple[Path, str]],
        sources: Iterable[Path],
        include_dirs: Iterable[Path],
        header_trees: Iterable[Path] = (),
        further: Iterable[Path] = (),
    ) -> None:
        self.roots = tuple(roots)
        self.sources = sorted(sources, key=self.label)
        self.include_dirs = [path for path in dict.fromkeys(include_dirs) if path.is_dir()]
        self._header_trees = tuple(header_trees)
        self._further = tuple(further)
        self._digests: dict[Path, str] = {}
        self._includes: dict[Path, frozenset[Path]] = {}

    def label(self, path: Path) -> str:
        for root, name in self.roots:
            if path.is_relative_to(root):
                return f"{name}/{path.relative_to(root)}"
        return f"elsewhere/{path.name}"

    def digest(self, settings: Iterable[str]) -> str:
        """SHA-256, hex, over the settings and over every file by name and content."""
        return self._digest_of({*self.sources, *self._headers(), *self._further}, settings)

    def object_digest(self, source: Path, settings: Iterable[str]) -> str:
        """The same over one source and the headers it can include, directly or not."""
        files, queue = {source}, [source]
        while queue:
            found = self._included_by(queue.pop()) - files
            files |= found
            queue += found
        return self._digest_of(files, (self.label(source), *settings))

    def _headers(self) -> set[Path]:
        headers = {path for folder in self.include_dirs for path in folder.glob("*.h")}
        for folder in self._header_trees:
            headers |= {path for path in folder.rglob("*") if _is_header(path, folder)}
        return headers

    def _included_by(self, file: Path) -> frozenset[Path]:
        if file not in self._includes:
            found: set[Path] = set()
            for quoted, angled, macro in _INCLUDE.findall(file.read_text(encoding="utf-8", errors="replace")):
                if macro:  # a name that only the preprocessor knows
                    found |= self._headers()
                    continue
                folders = ([file.parent] if quoted else []) + self.include_dirs
                paths = [folder / (quoted or angled) for folder in folders]
                found |= set([path for path in paths if path.is_file()][:1])
            self._includes[file] = frozenset(found)
        return self._includes[file]

    def _digest_of(self, files: set[Path], settings: Iterable[str]) -> str:
        total = hashlib.sha256("\0".join(settings).encode())
        for path in sorted(files, key=self.label):
            if path not in self._digests:
                self._digests[path] = hashlib.sha256(path.read_bytes()).hexdigest()
            total.update(f"\0{self.label(path)}\0{self._digests[path]}".encode())
        return total.hexdigest()


def _is_header(path: Path, folder: Path) -> bool:
    """Not of what is being written there, or was when a run was killed: a hidden folder."""
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return path.suffix in (".h", ".inc") and not hidden
