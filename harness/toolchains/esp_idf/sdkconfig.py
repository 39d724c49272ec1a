"""The sdkconfig defaults of a generated project: settings under which a latency means something.

`chips.toml` holds what differs by chip. The names are ESP-IDF's; whether they exist is checked where
ESP-IDF's Kconfig files are.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from importlib.resources import files

from harness.errors import UnsupportedError
from harness.targets import Target
from harness.toolchains.esp_idf.partitions import Layout, flash_megabytes

CHIPS = tomllib.loads((files(__package__) / "chips.toml").read_text(encoding="utf-8"))

_RENAMED = ("ESP_DEFAULT_CPU_FREQ_MHZ", "SPIRAM=y")
_COMMON = (
    "COMPILER_OPTIMIZATION_PERF=y",
    "ESPTOOLPY_FLASHMODE_QIO=y",
    "PARTITION_TABLE_CUSTOM=y",
    'PARTITION_TABLE_CUSTOM_FILENAME="partitions.csv"',
    # An inference may keep a core for seconds; the interrupt watchdog stays.
    "ESP_TASK_WDT_INIT=n",
    "FREERTOS_HZ=1000",
    # For the stacks of all tasks, in MEMORY.
    "FREERTOS_USE_TRACE_FACILITY=y",
    "LOG_DEFAULT_LEVEL_WARN=y",
)


def defaults(layout: Layout, engine: Sequence[str]) -> str:
    """sdkconfig.defaults, the same for all chips; `engine`: lines of the kernels chosen."""
    lines = [*_COMMON, f"ESPTOOLPY_FLASHSIZE_{flash_megabytes(layout)}MB=y", *engine]
    if layout.model_in_app:
        lines.append("HARNESS_MODEL_IN_APP=y")
    if layout.usb_serial:
        lines.append("HARNESS_SERIAL_USB=y")
    return _text(lines)


def chip_defaults(target: Target, *, older: bool = False) -> str:
    """sdkconfig.defaults.<chip>, which ESP-IDF reads after the other; `older`: with the names of 4.4 too.

    Raises UnsupportedError for what is no ESP chip.
    """
    if target.id not in CHIPS:
        raise UnsupportedError(f"ESP-IDF does not know {target.id}", f"It knows {', '.join(CHIPS)}")
    lines = CHIPS[target.id]["sdkconfig"]
    if older:
        lines = [*lines, *(_older(line, target.id.upper()) for line in lines if line.startswith(_RENAMED))]
    return _text(lines)


def _older(line: str, chip: str) -> str:
    """4.4 has the chip in these names: ESP32S3_DEFAULT_CPU_FREQ_240, ESP32S3_SPIRAM_SUPPORT."""
    if line.startswith("SPIRAM=y"):
        return f"{chip}_SPIRAM_SUPPORT=y"
    return line.replace("ESP_DEFAULT_CPU_FREQ_MHZ", f"{chip}_DEFAULT_CPU_FREQ")


def has_psram(target: Target) -> bool:
    """Whether the chip's firmware is set up for PSRAM."""
    return "SPIRAM=y" in CHIPS[target.id]["sdkconfig"] if target.id in CHIPS else False


def _text(lines: Sequence[str]) -> str:
    return "".join(f"CONFIG_{line}\n" for line in lines)
