"""Where the files lie that are not Python: the firmware's sources and the zoo.

Beside `harness/` in a checkout, inside the package when it is installed from a wheel.
"""

from __future__ import annotations

from pathlib import Path

from harness.errors import MissingError

PACKAGE = Path(__file__).resolve().parent


def firmware_dir() -> Path:
    """The folder with engine.h. Raises MissingError when the installation is incomplete."""
    return _find("firmware", "engine.h")


def zoo_directory() -> Path:
    """The folder with one folder per model. Raises MissingError when the installation is incomplete."""
    return _find("models", "*/model.toml")


def _find(name: str, sign: str) -> Path:
    for candidate in (PACKAGE / "_bundled" / name, PACKAGE.parent / name):
        if next(candidate.glob(sign), None) is not None:
            return candidate
    raise MissingError(
        f"the folder {name}/ is neither in {PACKAGE} nor beside it",
        "Install the package again, or run from a checkout",
    )
