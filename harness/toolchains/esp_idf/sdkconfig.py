"""The sdkconfig defaults of a generated project: settings under which a latency means something.

`chips.toml` holds what differs by chip. The names are ESP-IDF's, which passes over a default it does not know
or that another setting rules out; so a build is asked what it took (`not_taken`).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from harness.errors import UnsupportedError, UsageError
from harness.targets import Target
from harness.toolchains.esp_idf.partitions import Layout, flash_megabytes

CHIPS = tomllib.loads((files(__package__) / "chips.toml").read_text(encoding="utf-8"))

_LINE = re.compile(r'CONFIG_[A-Z0-9_]+=(y|n|-?\d+|0x[0-9a-fA-F]+|"[^"]*")')
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


def defaults(target: Target, layout: Layout, engine: Sequence[str]) -> str:
    """sdkconfig.defaults, but for the chip's name the same for all; `engine`: lines of the kernels chosen."""
    size = f"ESPTOOLPY_FLASHSIZE_{flash_megabytes(layout)}MB=y"
    lines = [f'IDF_TARGET="{target.id}"', *_COMMON, size, *engine]
    if layout.model_in_app:
        lines.append("HARNESS_MODEL_IN_APP=y")
    if layout.usb_serial:
        lines.append("HARNESS_SERIAL_USB=y")
    return _text(lines)


def chip_defaults(target: Target, own: Sequence[str] = (), *, older: bool = False) -> str:
    """sdkconfig.defaults.<chip>, which ESP-IDF reads after the other; `own`: the user's lines, which come
    last; `older`: with the names of 4.4 too.

    Raises UnsupportedError for what is no ESP chip.
    """
    if target.id not in CHIPS:
        raise UnsupportedError(f"ESP-IDF does not know {target.id}", f"It knows {', '.join(CHIPS)}")
    lines = CHIPS[target.id]["sdkconfig"]
    if older:
        lines = [*lines, *(_older(line, target.id.upper()) for line in lines if line.startswith(_RENAMED))]
    return _text(lines) + "".join(f"{line}\n" for line in own)


def read_own(path: str) -> tuple[str, ...]:
    """The settings in the file of --sdkconfig; none where the path is empty.

    Raises UsageError: it cannot be read, or a line is no setting.
    """
    if not path:
        return ()
    try:
        lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise UsageError(f"--sdkconfig: cannot read {path}: {reason}") from error
    for number, line in enumerate(lines, 1):
        if line and not line.startswith("#") and not _LINE.fullmatch(line):
            raise UsageError(
                f"--sdkconfig: expected a setting in {path}, line {number}, got '{line}'",
                "e.g. CONFIG_SPIRAM_MODE_QUAD=y",
            )
    return tuple(line for line in lines if line and not line.startswith("#"))


def not_taken(asked: Sequence[str], settled: str) -> list[str]:
    """Which lines of `asked` do not stand in `settled`, the sdkconfig that ESP-IDF made of them.

    What is asked to be off may be missing: it is off.
    """
    found = set(settled.splitlines())

    def taken(line: str) -> bool:
        name, _, value = line.partition("=")
        return f"{name}=y" not in found if value == "n" else line in found

    return [line for line in asked if not taken(line)]


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
