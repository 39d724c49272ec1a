"""The table of chips, from targets.toml. What a board can do or has installed is asked elsewhere."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from importlib.resources import files

from harness.errors import UsageError


@dataclass(frozen=True)
class Target:
    """One chip. `clock_hz` is its fastest CPU clock, `sram_bytes` its on-chip data RAM,
    `flash_bytes` the flash of its usual small module, 0 where none is known,
    `isa_platform` the firmware platform that runs its instruction set without a board; None where
    there is none, so that firmware can only be generated for it. `regions` are the bytes of its
    SDK's linker regions, where a generator needs them. `static_ram_bytes` and `heap_regions`: what a plain
    application of the SDK leaves for static data, and of heap, region by region.
    """

    id: str
    name: str
    isa: str
    core: str
    clock_hz: int
    sram_bytes: int
    flash_bytes: int = 0
    isa_platform: str | None = None
    static_ram_bytes: int = 0
    heap_regions: tuple[int, ...] = ()
    regions: dict[str, int] = field(default_factory=dict, hash=False)


def _load() -> dict[str, Target]:
    table = tomllib.loads((files("harness") / "targets.toml").read_text(encoding="utf-8"))
    for fields in table.values():
        fields["heap_regions"] = tuple(fields.get("heap_regions", ()))
    return {key: Target(id=key, **fields) for key, fields in table.items()}


TARGETS = _load()


def get_target(name: str) -> Target:
    """The chip called `name` (`esp32c3`). Raises UsageError that lists the known ones."""
    if name not in TARGETS:
        # Only as it is otherwise written, ESP32-C3: a chip of a name that is near is another chip.
        same = re.sub(r"[\W_]", "", name).lower()
        hint = f"Did you mean {same}? " if same in TARGETS else ""
        raise UsageError(f"unknown target {name!r}", f"{hint}Known targets: {', '.join(TARGETS)}")
    return TARGETS[name]
