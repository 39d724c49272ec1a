"""What is installed and attached, what is missing, and the command that mends it. It installs nothing.

Asking an attached board which chip it is restarts it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from harness.boards.detect import UsbPort, usb_ports
from harness.boards.esp_emulators import (
    ESP_EMU_REMEDY,
    ESP_QEMU_REMEDY,
    ESP_QEMU_TARGETS,
    find_esp_qemu,
    qemu_machines,
)
from harness.boards.esptool import Esptool
from harness.boards.port_faults import may_open, permission_remedy
from harness.boards.qemu import MACHINES, qemu_version
from harness.build_cache import described
from harness.errors import HarnessError, MissingError
from harness.extras import EXTRAS, install_command
from harness.farm.labgrid import INSTALL, find_client
from harness.settings import build_root_under
from harness.targets import TARGETS
from harness.toolchains.bare_metal import required_programs
from harness.toolchains.esp_idf.engines import IDF_VERSIONS, OLDER_IDF
from harness.toolchains.esp_idf.installation import read_version
from harness.toolchains.programs import install_line

_IDF_REMEDY = (
    "git clone --recursive https://github.com/espressif/esp-idf && esp-idf/install.sh && . esp-idf/export.sh"
)


@dataclass(frozen=True)
class Check:
    """One thing looked for: `found` says where it is, or None; `remedy` is a shell line."""

    name: str
    found: str | None
    remedy: str
    required: bool


def diagnose() -> Iterator[Check]:
    """What the emulated targets need (required), then what boards of the chips need, then the extras."""
    platforms = sorted({target.isa_platform for target in TARGETS.values() if target.isa_platform})
    for program in [name for platform in platforms for name in required_programs(platform)]:
        yield Check(program, shutil.which(program), install_line([program]), required=True)
    for platform in platforms:
        yield _upstream_qemu(platform)
    yield Check("gcc", shutil.which("gcc"), install_line(["gcc"]), required=False)
    yield Check("esptool", f"version {metadata.version('esptool')}", "pip install esptool", required=False)
    yield from _idf()
    yield from _esp_emulators()
    yield from _boards()
    for target in TARGETS.values():
        if target.isa_platform is None:
            yield Check(
                target.id, "generate only: no emulator, and its SDK is not looked for", "", required=False
            )
    yield _labgrid()
    yield Check("build cache", described(build_root_under(Path.cwd())), "", required=False)
    for extra, modules in EXTRAS.items():
        absent = [module for module in modules if importlib.util.find_spec(module) is None]
        found = None if absent else f"extra, brings {', '.join(modules)}"
        yield Check(f"[{extra}]", found, install_command(extra), required=False)


def _upstream_qemu(platform: str) -> Check:
    machine = MACHINES[platform]
    name = machine.arguments[machine.arguments.index("-M") + 1]
    program = shutil.which(machine.program)
    remedy = install_line([machine.program])
    if program is not None and name not in qemu_machines(program):
        return Check(machine.program, None, f"{program} has no machine {name}; {remedy}", required=True)
    found = f"{program}, version {qemu_version(program)}, machine {name}" if program else None
    return Check(machine.program, found, remedy, required=True)


def _esp_emulators() -> Iterator[Check]:
    programs = {target: find_esp_qemu(target) for target in ESP_QEMU_TARGETS}
    found = ", ".join(f"{target}: {program}" for target, program in programs.items() if program)
    yield Check("Espressif's QEMU", found or None, ESP_QEMU_REMEDY, required=False)
    yield Check("esp-emu", shutil.which("esp-emu"), ESP_EMU_REMEDY, required=False)


def _idf() -> Iterator[Check]:
    """ESP-IDF as `export.sh` leaves it, of a version that firmware here is made for; esp-dl v1's checkout."""
    path, program = os.environ.get("IDF_PATH"), shutil.which("idf.py")
    version = read_version(Path(path)) if path else None
    found: str | None = None
    remedy = _IDF_REMEDY
    if path and version is None:
        remedy = f"IDF_PATH={path} holds no ESP-IDF; {_IDF_REMEDY}"
    elif path and program is None:
        remedy = f". {path}/export.sh"
    elif version:
        text = f"version {'.'.join(map(str, version))} in {path}"
        if version in IDF_VERSIONS:
            found = text
        elif version in OLDER_IDF:
            found = f"{text}: for esp-dl v1 alone, all else needs {IDF_VERSIONS}"
        else:
            remedy = f"{text}, expected {IDF_VERSIONS}: git -C {path} checkout {IDF_VERSIONS.example}"
    yield Check("ESP-IDF", found, remedy, required=False)
    v1 = os.environ.get("ESP_DL_PATH")
    if v1 or (version and version in OLDER_IDF):
        remedy = "git clone -b idfv4.4 https://github.com/espressif/esp-dl && export ESP_DL_PATH=$PWD/esp-dl"
        yield Check("esp-dl v1", v1 if v1 and Path(v1).is_dir() else None, remedy, required=False)


def _labgrid() -> Check:
    """Its client, for farms of several hosts: in an environment of its own."""
    if importlib.util.find_spec("labgrid") is not None:
        remedy = f"labgrid overwrites pyserial here: pip uninstall labgrid pyserial-labgrid, then {INSTALL}"
        return Check(
            "labgrid-client", None, f"{remedy}; pip install --force-reinstall pyserial", required=False
        )
    try:
        return Check("labgrid-client", find_client(), INSTALL, required=False)
    except MissingError as error:
        return Check("labgrid-client", None, f"{error.message}: {INSTALL}", required=False)


def _boards() -> Iterator[Check]:
    ports = usb_ports()
    if not ports:
        yield Check(
            "attached boards", None, "none: attach one by a USB cable that carries data", required=False
        )
    for port in ports:
        yield _board(port)


def _board(port: UsbPort) -> Check:
    name = f"board {port.device}"
    if not may_open(port.device):
        return Check(name, None, permission_remedy(port.device), required=False)
    try:
        chip = Esptool(port.device).identify()
    except HarnessError as error:
        return Check(name, None, str(error), required=False)
    flash = f"{chip.flash_bytes >> 20} MB flash" if chip.flash_bytes else "flash not recognised"
    found = f"{chip.description}, MAC {chip.mac}, {flash}, {port.vendor} USB at {port.location or '?'}"
    return Check(name, found, "", required=False)
