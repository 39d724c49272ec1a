"""ESP-IDF projects of zoo models, and what CMake finds in one, for tests that look at what is generated."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from harness.items import Workshop, load_artifact
from harness.model.spec import load_model
from harness.runtimes.base import Artifact
from harness.targets import get_target
from harness.toolchains.esp_idf.partitions import Layout
from harness.toolchains.esp_idf.project import IdfProject, write_project
from tests.stand_in.idf_builds import STAND_IN

# Headers of ESP-IDF 5.5 and 6.0 by the component whose include folder has them.
COMPONENTS = {
    "esp_driver_uart": ("driver/uart.h", "driver/uart_vfs.h"),
    "esp_driver_usb_serial_jtag": ("driver/usb_serial_jtag.h", "driver/usb_serial_jtag_vfs.h"),
    "esp_hw_support": ("esp_chip_info.h", "esp_cpu.h", "esp_mac.h", "esp_private/esp_clk.h"),
    "esp_partition": ("esp_partition.h",),
    "esp_rom": ("esp_rom_sys.h",),
    "esp_system": ("esp_system.h",),
    "esp_timer": ("esp_timer.h",),
    "heap": ("esp_heap_caps.h",),
    "spi_flash": ("esp_flash.h",),
    "vfs": ("esp_vfs_dev.h",),
}
# Every component has these (ESP-IDF's tools/cmake/build.cmake), and the build directory sdkconfig.h.
ALWAYS = ("esp_err.h", "esp_idf_version.h", "sdkconfig.h")
# Of ESP-IDF 4.4 and 5.0, whose older names they are: `driver` has both drivers, spi_flash the partitions.
OLDER = {
    "esp_driver_uart": "driver",
    "esp_driver_usb_serial_jtag": "driver",
    "esp_partition": "spi_flash",
}
HEADERS, SOURCES = (".h", ".hpp", ".inc"), (".c", ".cc", ".cpp")
LIBRARIES = re.compile(r"dl_\w+\.hpp|(tensorflow|freertos|esp_nn)/.*")


def idf_project(
    directory: Path,
    model: str = "mnist_mlp",
    runtime: str = "tflm",
    kernels: str = "vendor",
    chip: str = "esp32c3",
    layout: Layout | None = None,
) -> tuple[Artifact, IdfProject]:
    """The artifact and its project, written into `directory`."""
    target = get_target(chip)
    artifact = load_artifact(load_model(model), runtime, target, Workshop(directory.parent / "artifacts"))
    return artifact, write_project(artifact, target, kernels, directory, layout or Layout())


def configured(project: Path, directory: Path, *options: str) -> tuple[set[Path], list[str]]:
    """The sources CMake would compile, and what the lists asked of ESP-IDF, over its stand-in."""
    cmake, made = directory / "esp-idf/tools/cmake", directory / "made"
    cmake.mkdir(parents=True)
    shutil.copy(STAND_IN / "project.cmake", cmake)
    known = [f"-DCMAKE_{language}_COMPILER_WORKS=1" for language in ("C", "CXX")]
    done = subprocess.run(
        ["cmake", "-S", str(project), "-B", str(made), *known, *options],
        env={**os.environ, "IDF_PATH": str(directory / "esp-idf"), "ESP_DL_PATH": str(directory)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    commands = json.loads((made / "compile_commands.json").read_text(encoding="utf-8"))
    asked = (made / "asked.txt").read_text(encoding="utf-8").splitlines()
    return {Path(command["file"]).resolve() for command in commands}, asked


def not_required(project: Path, directory: Path) -> list[str]:
    """Headers that a source includes and no component in the CMake lists of its own has."""
    _, asked = configured(project, directory)
    words = (re.split("[; ]+", line) for line in asked if line.startswith("requires "))
    required = {name.removeprefix("__idf_"): {*others} for _, name, *others in words}
    owners = {header: name for name, headers in COMPONENTS.items() for header in headers}
    own = {path.name: _component(path, project) for path in project.rglob("*") if path.suffix in HEADERS}
    found = []
    for source in sorted(path for path in project.rglob("*") if path.suffix in (*SOURCES, ".h")):
        component = _component(source, project)
        for header in re.findall(r'^\s*#\s*include "([^"]+)"', source.read_text(encoding="utf-8"), re.M):
            owner = own.get(Path(header).name) or owners.get(header, "no component")
            if header in ALWAYS or LIBRARIES.fullmatch(header) or owner == component:
                continue
            if not {owner, OLDER.get(owner)} & required[component]:
                found.append(f"{source.relative_to(project)}: {header} is of {owner}")
    return found


def _component(path: Path, project: Path) -> str:
    """`components/NAME` is one; `main` has all else, its sources lie beside it."""
    parts = path.relative_to(project).parts
    return parts[1] if parts[0] == "components" else "main"
