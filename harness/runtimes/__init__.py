"""The runtimes by name. A new one is one folder here and one line in `RUNTIMES`."""

from __future__ import annotations

from harness.errors import UsageError, did_you_mean
from harness.runtimes.base import Runtime
from harness.runtimes.espdl import Espdl
from harness.runtimes.espdl_v1 import EspdlV1
from harness.runtimes.tflm import Tflm
from harness.runtimes.tvm import Tvm

RUNTIMES: dict[str, type[Runtime]] = {
    "tflm": Tflm,
    "espdl": Espdl,
    "espdl-v1": EspdlV1,
    "tvm": Tvm,
}


def get_runtime(name: str) -> Runtime:
    """The runtime called `name`: `espdl`, or `espdl:int16` for one of its other quantisation schemes.

    Raises:
        UsageError: there is none; the message lists them.
    """
    family, _, scheme = name.partition(":")
    if family not in RUNTIMES:
        hint = f"Known: {', '.join(RUNTIMES)}. {did_you_mean(family, RUNTIMES)}"
        raise UsageError(f"unknown runtime '{family}'", hint.rstrip(". "))
    runtime = RUNTIMES[family]
    if scheme and scheme not in runtime.schemes:
        raise UsageError(f"runtime {family} has no scheme '{scheme}'", f"Known: {', '.join(runtime.schemes)}")
    return runtime(scheme)
