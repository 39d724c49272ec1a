"""The runtimes by name. A new one is one folder here and one line in `RUNTIMES`."""

from __future__ import annotations

from harness.errors import UsageError
from harness.runtimes.base import Runtime
from harness.runtimes.espdl import Espdl
from harness.runtimes.tflm import Tflm

RUNTIMES: dict[str, type[Runtime]] = {"espdl": Espdl, "tflm": Tflm}


def get_runtime(name: str) -> Runtime:
    """The runtime called `name`.

    Raises:
        UsageError: there is none; the message lists them.
    """
    if name not in RUNTIMES:
        raise UsageError(f"unknown runtime '{name}'", f"Known: {', '.join(RUNTIMES)}")
    return RUNTIMES[name]()
