"""The optional packages, imported only where they are needed.

Says which pip line installs a missing one. It installs nothing itself, and the versions
stand in pyproject.toml alone.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

from harness.errors import MissingError

EXTRAS: dict[str, tuple[str, ...]] = {
    "keras": ("tensorflow", "keras", "mlxtend"),
    "espdl": ("torch", "esp_ppq"),
    "tvm": ("tvm",),
    "farm": ("xdist",),
    "history": ("psycopg", "pyarrow"),
}
"""Extra of pyproject.toml -> the top-level modules it brings."""


def require(module: str, extra: str) -> ModuleType:
    """Imports `module`, which the optional dependency group `extra` brings.

    Raises:
        MissingError: not installed, or installed but its import fails; carries the pip line.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise _missing(module, extra, str(error)) from error


def require_installed(module: str, extra: str) -> None:
    """As `require`, without importing: for modules that only a child process will load."""
    if importlib.util.find_spec(module.partition(".")[0]) is None:
        raise _missing(module, extra, f"No module named '{module}'")


def available(extra: str) -> bool:
    """Whether all modules of an extra are installed; "" needs none."""
    return all(importlib.util.find_spec(module) is not None for module in EXTRAS.get(extra, ()))


def install_command(extra: str) -> str:
    """The shell line that installs `extra`; in a checkout it installs the checkout."""
    # esp-ppq does not list torch, and an unpinned torch brings gigabytes of CUDA: torch goes first.
    first = "torch==2.13.0" if extra == "espdl" else ""
    if (Path(__file__).parents[1] / "pyproject.toml").is_file():
        pip, package = ".venv/bin/pip install", f"-e '.[{extra}]'"
    else:
        pip, package = "pip install", f"'esp32-nn-harness[{extra}]'"
    return f"{pip} {first} && {pip} {package}" if first else f"{pip} {package}"


def _missing(module: str, extra: str, cause: str) -> MissingError:
    return MissingError(
        f"This needs the Python package '{module}' of the extra '{extra}': {cause}",
        f"Install it: {install_command(extra)}",
    )
