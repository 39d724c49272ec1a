"""What a build yields, whichever toolchain made it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.toolchains.flash_image import FlashImage


@dataclass(frozen=True)
class Image:
    """A linked firmware: the files a board runs, sizes from its ELF, digests, provenance.

    `digest` is the SHA-256 over everything the image was built from (sources, flags,
    compiler version); the firmware reports it as `firmware` in IDENTIFY. `flash` is what goes
    onto a chip; None for firmware that only QEMU's own machines or this host run. `size_table` is what
    the toolchain's own tool says of the sizes, as text; "" where it has none.
    """

    elf: Path
    map_file: Path
    build_log: Path
    target: str
    platform: str
    digest: str
    compiler: str
    flags: tuple[str, ...]
    text_bytes: int
    rodata_bytes: int
    data_bytes: int
    bss_bytes: int
    cached: bool
    flash: FlashImage | None = None
    size_table: str = ""

    @property
    def flash_bytes(self) -> int:
        """Code, constants and initial values: what would occupy flash."""
        return self.text_bytes + self.rodata_bytes + self.data_bytes

    @property
    def ram_bytes(self) -> int:
        """Static RAM: initialised and zeroed data, the arena included, stack excluded."""
        return self.data_bytes + self.bss_bytes
