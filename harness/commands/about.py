"""`harness list` and `harness doctor`: what there is, and what is missing."""

from __future__ import annotations

import argparse
from typing import Any

from harness.doctor import diagnose
from harness.model.spec import load_model, zoo
from harness.runtimes import RUNTIMES
from harness.targets import TARGETS

Parsers = Any  # argparse's own type of `add_subparsers` is private


def add_command(commands: Parsers) -> None:
    """Adds `list` and `doctor` to the command line."""
    listing = commands.add_parser("list", help="the zoo, the targets and the runtimes")
    listing.set_defaults(run=_list)

    doctor = commands.add_parser("doctor", help="what is installed, what is missing and how to get it")
    doctor.set_defaults(run=_doctor)


def _list(parsed: argparse.Namespace) -> int:  # noqa: ARG001 - every command takes the parsed arguments
    print("models")
    width = max(map(len, zoo())) + 2
    for name in zoo():
        print(f"  {name:<{width}}{load_model(name).description}")
    print("targets")
    for target in TARGETS.values():
        emulated = f"without a board: {target.isa_platform}, fidelity isa"
        print(f"  {target.id:<14}{target.core}; {emulated if target.isa_platform else 'generate only'}")
    print("runtimes")
    for runtime in RUNTIMES.values():
        others = [f"{runtime.name}:{scheme}" for scheme in runtime.schemes[1:]]
        also = f"; also {', '.join(others)}" if others else ""
        print(
            f"  {runtime.name:<14}takes .{runtime.artifact_kind}; kernels {', '.join(runtime.kernels)}{also}"
        )
    return 0


def _doctor(parsed: argparse.Namespace) -> int:  # noqa: ARG001
    complete = True
    for check in diagnose():
        mark = "ok     " if check.found else "missing" if check.required else "absent "
        print(f"{mark}  {check.name:<26}{check.found or check.remedy}")
        complete = complete and (check.found is not None or not check.required)
    return 0 if complete else 1
