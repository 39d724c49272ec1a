"""What an idf.py log says went wrong, as one line and the command that mends it."""

from __future__ import annotations

import re
from pathlib import Path

from harness.errors import BuildError
from harness.toolchains.esp_idf.partitions import kib

# ESP-IDF's check_sizes.py and the component manager, versions 5.5 and 3.1.
_TOO_SMALL = re.compile(
    r"app partition.* too small for binary \S+ size (0x[0-9a-f]+):\s*"
    r"- .* size (0x[0-9a-f]+) \(overflow (0x[0-9a-f]+)\)"
)
_NO_RAM = re.compile(r"region [`']?(\w*(?:dram|iram|sram)\w*)'? overflowed by (\d+) bytes")
_NO_REGISTRY = "Cannot establish a connection to the component registry"
_NO_VERSION = re.compile(r"no versions of (\S+) match (\S+)", re.IGNORECASE)
_ERRORS = ("error:", "undefined reference", "overflowed", "will not fit", "CMake Error")
_APP_STEP = 256 << 10


def explain(log: str, log_file: Path, title: str) -> BuildError:
    """The error to raise for a build that failed."""
    whole = f"The whole log: {log_file}"
    if found := _TOO_SMALL.search(log):
        size, partition, overflow = (int(number, 16) for number in found.groups())
        larger = -(-size // _APP_STEP) * _APP_STEP
        return BuildError(
            f"{title}: the app takes {kib(size)}, its partition has {kib(partition)}: {kib(overflow)} too "
            "much (the '300 000 parameters' of the tutorials are this and no limit of the runtime: weights "
            "in the app, in ESP-IDF's default partition of 1 MB)",
            f"Give it --app-size {larger >> 10}K, with a larger --flash-size if need be, or keep the model "
            f"in its own partition: --model-in partition. {whole}",
        )
    if beyond := _NO_RAM.search(log):
        return BuildError(
            f"{title}: code and static data go {kib(int(beyond[2]))} beyond the chip's RAM ({beyond[1]})",
            f"Use --kernels vendor on a chip with PSRAM, or a smaller model. {whole}",
        )
    if _NO_REGISTRY in log:
        return BuildError(
            f"{title}: the ESP component registry cannot be reached",
            "Check the network or proxy, or name a mirror: export IDF_COMPONENT_STORAGE_URL=...; what was "
            f"fetched once is in the component manager's cache. {whole}",
        )
    if missing := _NO_VERSION.search(log):
        name, wanted = missing.groups()
        return BuildError(
            f"{title}: the component registry has no {name} {wanted}",
            f"Run idf.py update-dependencies, or another ESP-IDF. {whole}",
        )
    lines = [line.strip() for line in log.splitlines() if any(mark in line for mark in _ERRORS)]
    said = "; ".join(lines[:3]) or (log.strip().splitlines() or ["it said nothing"])[-1]
    return BuildError(f"{title} does not build: {said}", whole)
