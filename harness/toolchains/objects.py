"""The object cache: a source is compiled once for all images that take the same object.

An object is named by the digest of all that decides its bytes: what the compiler reads, the flags, its
version. Of processes that want the same one at once, one compiles. Nothing here links.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.exclusive import exclusive
from harness.toolchains.source_tree import SourceTree

FOLDER = ".objects"


@dataclass(frozen=True)
class Compiled:
    """What came of one source: its object, or the compiler's complaint. `log` begins with the command."""

    source: Path
    object_file: Path
    succeeded: bool
    log: str


@dataclass(frozen=True)
class ObjectCache:
    """The objects of one compiler, below `directory`."""

    directory: Path
    compiler: Path
    version: str

    def compile(self, tree: SourceTree, source: Path, flags: Sequence[str]) -> Compiled:
        """The object of `source`, made where it is not there yet. Raises OutputError as `exclusive` does."""
        digest = tree.object_digest(source, (self.version, *flags))
        object_file = self.directory / f"{digest}.o"
        fresh = object_file.with_suffix(".new")
        command = [str(self.compiler), *flags, *(f"-I{path}" for path in tree.include_dirs)]
        # Not -ffile-prefix-map, which is both: GCC hands only the first of these on to the assembler.
        for root, name in (*tree.roots, (self.directory, ".")):
            command += [f"-fdebug-prefix-map={root}={name}", f"-fmacro-prefix-map={root}={name}"]
        command += ["-c", str(source), "-o", str(fresh)]
        log = f"$ {' '.join(command)}\n"
        with exclusive(object_file):
            if object_file.is_file():
                return Compiled(source, object_file, True, log)
            code, said = call(command, self.directory)
            if code == 0:
                fresh.replace(object_file)
        return Compiled(source, object_file, code == 0, log + said)


def call(command: list[str], directory: Path) -> tuple[int, str]:
    """Runs a tool in `directory`, in English; its exit code and all it said."""
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(
        command, cwd=directory, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return done.returncode, done.stdout
