"""The texts that make a folder an ESP-IDF project: CMake lists and the component manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# What is set of a component that a minimal build has not is dropped, and nothing is said: of PSRAM in ESP-IDF
# 5.5.0 to 5.5.2 without esp_psram, of a core dump (--sdkconfig) in all without espcoredump.
# vfs: the drivers have what takes over the console only where it is in the build.
REQUIRES = (
    *("esp_driver_uart", "esp_driver_usb_serial_jtag", "esp_hw_support", "esp_partition", "esp_psram"),
    *("esp_rom", "esp_system", "esp_timer", "espcoredump", "heap", "spi_flash", "vfs"),
)
# Of ESP-IDF 4.4 and 5.0. Partitions are of spi_flash in the one and required by it in the other.
OLDER_REQUIRES = (
    "driver",
    "esp_hw_support",
    "esp_rom",
    "esp_system",
    "esp_timer",
    "heap",
    "spi_flash",
    "vfs",
)
SERIAL_UART = "firmware/platforms/esp_idf/serial_uart.c"
SERIAL_USB = "firmware/platforms/esp_idf/serial_usb.c"
MODEL_IN_APP = "firmware/platforms/esp_idf/model_in_app.S"


@dataclass(frozen=True)
class Main:
    """What the component `main` is built of; all paths are below the project.

    `definitions`: macros of the engine. `model_image`: a file for the model's partition, or for the app.
    """

    sources: Sequence[str]
    include_dirs: Sequence[str]
    kernels: str
    definitions: Sequence[str]
    model_image: str | None
    digest: str
    checkout: tuple[str, str] | None = None


def project_lists(checkout: tuple[str, str] | None) -> str:
    """The top CMakeLists.txt; `checkout`: the variable that names a component's folder, and its name."""
    lines = ["cmake_minimum_required(VERSION 3.16)"]
    if checkout:
        variable, component = checkout
        lines += [
            f"if(NOT DEFINED ENV{{{variable}}})",
            f'    message(FATAL_ERROR "Set {variable} to a checkout of {component}, in a folder so named")',
            "endif()",
            f"set(EXTRA_COMPONENT_DIRS $ENV{{{variable}}})",
        ]
    lines += [
        "include($ENV{IDF_PATH}/tools/cmake/project.cmake)",
        "idf_build_set_property(MINIMAL_BUILD ON)",
        "project(firmware)",
    ]
    return _text(lines)


def main_lists(main: Main) -> str:
    """main/CMakeLists.txt."""
    common = [source for source in main.sources if source not in (SERIAL_UART, SERIAL_USB)]
    lines = ["set(sources", *(f"    ../{source}" for source in common)]
    lines[-1] += ")"
    lines += [
        "if(CONFIG_HARNESS_SERIAL_USB)",
        f"    list(APPEND sources ../{SERIAL_USB})",
        "else()",
        f"    list(APPEND sources ../{SERIAL_UART})",
        "endif()",
    ]
    if main.model_image:
        lines += [
            "if(CONFIG_HARNESS_MODEL_IN_APP)",
            f"    list(APPEND sources ${{CMAKE_CURRENT_LIST_DIR}}/../{MODEL_IN_APP})",
            "endif()",
        ]
    lines += [
        "",
        "idf_component_register(",
        "    SRCS ${sources}",
        "    INCLUDE_DIRS . " + " ".join(f"../{folder}" for folder in main.include_dirs),
        "    PRIV_REQUIRES "
        + " ".join((*OLDER_REQUIRES, main.checkout[1]) if main.checkout else REQUIRES)
        + ")",
        "",
        "# `harness build` gives the digest of these sources; built by hand the firmware has none.",
        "if(NOT DEFINED FIRMWARE_DIGEST)",
        f"    set(FIRMWARE_DIGEST {main.digest})",
        "endif()",
        "target_compile_definitions(${COMPONENT_LIB} PRIVATE",
        '    FIRMWARE_TARGET="${IDF_TARGET}"',
        '    FIRMWARE_DIGEST="${FIRMWARE_DIGEST}"',
        f'    ENGINE_KERNELS="{main.kernels}"',
        *(f"    {definition}" for definition in main.definitions),
    ]
    lines[-1] += ")"
    if main.model_image:
        lines += _model(main.model_image)
    return _text(lines)


def _model(image: str) -> list[str]:
    return [
        "",
        f"set(model ${{CMAKE_CURRENT_LIST_DIR}}/../{image})",
        "if(CONFIG_HARNESS_MODEL_IN_APP)",
        f"    set_source_files_properties(${{CMAKE_CURRENT_LIST_DIR}}/../{MODEL_IN_APP} PROPERTIES",
        '        COMPILE_DEFINITIONS MODEL_IMAGE_FILE="${model}"',
        "        OBJECT_DEPENDS ${model})",
        "elseif(EXISTS ${model})",
        '    esptool_py_flash_to_partition(flash "model" "${model}")',
        "endif()",
    ]


def component_manifest(components: Mapping[str, str]) -> str:
    """main/idf_component.yml: ESP-IDF itself and what the component registry has."""
    return _text(["dependencies:", *(f'  {name}: "{versions}"' for name, versions in components.items())])


def _text(lines: Sequence[str]) -> str:
    return "\n".join([*lines, ""])
