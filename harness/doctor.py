"""What is installed, what is missing, and the command that mends it. It installs nothing."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from dataclasses import dataclass

from harness.extras import EXTRAS, install_command
from harness.targets import TARGETS
from harness.toolchains.bare_metal import required_programs
from harness.toolchains.programs import install_line


@dataclass(frozen=True)
class Check:
    """One thing looked for: `found` says where it is, or None; `remedy` is a shell line."""

    name: str
    found: str | None
    remedy: str
    required: bool


def diagnose() -> Iterator[Check]:
    """Programs that the emulated targets need (required), then the optional Python extras."""
    platforms = sorted({target.isa_platform for target in TARGETS.values() if target.isa_platform})
    programs = [name for platform in platforms for name in required_programs(platform)]
    emulators = [platform.replace("qemu_", "qemu-system-") for platform in platforms]
    for program in [*programs, *emulators]:
        yield Check(program, shutil.which(program), install_line([program]), required=True)
    yield Check("gcc", shutil.which("gcc"), install_line(["gcc"]), required=False)
    for target in TARGETS.values():
        if target.isa_platform is None:
            yield Check(
                target.id, "generate only: no emulator, and its SDK is not looked for", "", required=False
            )
    for extra, modules in EXTRAS.items():
        absent = [module for module in modules if importlib.util.find_spec(module) is None]
        found = None if absent else f"extra, brings {', '.join(modules)}"
        yield Check(f"[{extra}]", found, install_command(extra), required=False)
