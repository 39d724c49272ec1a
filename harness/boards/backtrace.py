"""Addresses of a panic to functions and source lines, by Espressif's panic decoder and addr2line."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.boards.console_watch import Decode
from harness.targets import Target

# ESP-IDF's own programs first; Debian's read the same ELF files.
_PREFIXES = {
    "xtensa": ("xtensa-{target}-elf-", "xtensa-esp-elf-", "xtensa-lx106-elf-"),
    "riscv32": ("riscv32-esp-elf-", "riscv64-unknown-elf-"),
}


def decoder(elf: Path, target: Target) -> Decode:
    """Decodes with the first addr2line on PATH that knows the chip's instruction set."""
    prefixes = [prefix.format(target=target.id) for prefix in _PREFIXES[target.isa]]
    prefix = next((name for name in prefixes if shutil.which(f"{name}addr2line")), None)

    def decode(lines: list[str]) -> list[str]:
        if prefix is None:
            return [f"(not decoded: none of {', '.join(f'{name}addr2line' for name in prefixes)} on PATH)"]
        if not elf.is_file():
            return [f"(not decoded: {elf} is gone)"]
        from esp_idf_panic_decoder import PcAddressDecoder  # with elftools: no start-up needs it

        located = PcAddressDecoder(prefix, str(elf)).translate_addresses("\n".join(lines))
        return [
            f"{address}: " + ", inlined in ".join(f"{at.func} at {at.path}:{at.line}" for at in trace)
            for address, trace in located
        ]

    return decode
