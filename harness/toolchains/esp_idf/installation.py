"""The ESP-IDF on this machine, as its export.sh leaves it. Installs nothing."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from harness.errors import MissingError
from harness.toolchains.esp_idf.engines import IDF_VERSIONS, IdfVersions

PROGRAM = "idf.py"


@dataclass(frozen=True)
class Installation:
    """`version`: `5.5.1`; `command`: idf.py, with ESP-IDF's own Python where export.sh names one: the first
    Python on PATH is that of the environment we run in.
    """

    path: Path
    version: str
    command: tuple[str, ...]


def find_installation(versions: IdfVersions = IDF_VERSIONS) -> Installation:
    """The active ESP-IDF, of a version that the generated project is made for.

    Raises:
        MissingError: none is active, or it is too old or too new.
    """
    path, program = os.environ.get("IDF_PATH"), shutil.which(PROGRAM)
    if path is None or program is None:
        what = "IDF_PATH is not set" if path is None else f"{PROGRAM} is not on PATH"
        raise MissingError(
            f"ESP-IDF is not active: {what}",
            f"Install ESP-IDF {versions}, then: . $IDF_PATH/export.sh; harness doctor says what is there",
        )
    version = read_version(Path(path))
    if version is None:
        raise MissingError(f"IDF_PATH={path} holds no ESP-IDF", "Set it to the folder with export.sh")
    if version not in versions:
        raise MissingError(
            f"expected ESP-IDF {versions}, {path} is {'.'.join(map(str, version))}",
            f"Check out another release there: git checkout {versions.example} && "
            "git submodule update --init --recursive && ./install.sh",
        )
    python = Path(os.environ.get("IDF_PYTHON_ENV_PATH", ""), "bin/python")
    own = (str(python),) if python.is_absolute() and python.exists() else ()
    return Installation(Path(path), ".".join(map(str, version)), (*own, program))


def read_version(path: Path) -> tuple[int, ...] | None:
    """Major, minor and patch from tools/cmake/version.cmake; None if there is none."""
    try:
        text = (path / "tools" / "cmake" / "version.cmake").read_text(encoding="utf-8")
    except OSError:
        return None
    found = dict(re.findall(r"set\(IDF_VERSION_(MAJOR|MINOR|PATCH) (\d+)\)", text))
    if len(found) != 3:
        return None
    return tuple(int(found[part]) for part in ("MAJOR", "MINOR", "PATCH"))
