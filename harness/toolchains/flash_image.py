"""What is written to a chip's flash, and where: the files of one firmware and the model beside them.

A toolchain that builds for the chip makes this value, `harness.boards` writes it. It says what a
device that runs it answers to IDENTIFY, so that only what differs need be written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import BuildError

_UNITS = {"KB": 1 << 10, "MB": 1 << 20}


@dataclass(frozen=True)
class FlashPart:
    """One file at one offset. `name` is what messages call it: bootloader, app, model."""

    name: str
    offset: int
    file: Path

    @property
    def size_bytes(self) -> int:
        return self.file.stat().st_size


@dataclass(frozen=True)
class FlashImage:
    """Everything on the flash of one chip.

    `model` is the part in a partition of its own that holds the model; None where the model is
    linked into the app. `firmware` and `artifact` are the digests the device gives in IDENTIFY
    once this is on it. `flash_bytes` is the flash size the image is laid out for, `psram_bytes` what it
    cannot run without; `flash_mode` and `flash_freq` are esptool's words, `keep` leaves what the
    bootloader's header says.
    """

    target: str
    parts: tuple[FlashPart, ...]
    model: FlashPart | None
    firmware: str
    artifact: str
    elf: Path
    flash_bytes: int
    flash_mode: str = "keep"
    flash_freq: str = "keep"
    psram_bytes: int = 0

    @property
    def all_parts(self) -> tuple[FlashPart, ...]:
        return self.parts if self.model is None else (*self.parts, self.model)

    def check_layout(self) -> None:
        """Raises BuildError when parts overlap or do not fit the flash they are laid out for."""
        ordered = sorted(self.all_parts, key=lambda part: part.offset)
        limits = [*((part.offset, part.name) for part in ordered[1:]), (self.flash_bytes, "")]
        for part, (limit, following) in zip(ordered, limits, strict=True):
            if part.offset + part.size_bytes > limit:
                what = f"where {following} begins" if following else "the end of the flash"
                raise BuildError(
                    f"the {part.name} ({part.size_bytes} bytes at {part.offset:#x}) goes beyond "
                    f"{limit:#x}, {what}",
                    "Make its partition larger in partitions.csv",
                )

    def changed_parts(self, device: Mapping[str, str] | None) -> tuple[FlashPart, ...]:
        """What must be written to a device that gave this in IDENTIFY; None: it gave nothing.

        Same firmware and model: nothing. Same firmware, another model: the model's partition.
        """
        same = ("target", self.target), ("firmware", self.firmware)
        if device is None or any(device.get(key) != value for key, value in same):
            return self.all_parts
        if device.get("artifact") == self.artifact:
            return ()
        return self.all_parts if self.model is None else (self.model,)


def read_idf_build(
    build: Path, elf: Path, *, firmware: str, artifact: str, model_partition: str | None = None
) -> FlashImage:
    """The flash image of an ESP-IDF build directory, from the `flasher_args.json` that IDF writes.

    Args:
        model_partition: the name under which flasher_args.json lists the model's file.

    Raises:
        BuildError: no such file, or it does not name chip, flash size and files.
    """
    path = build / "flasher_args.json"
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        settings = said["flash_settings"]
        names = {
            str(entry["file"]): name
            for name, entry in said.items()
            if isinstance(entry, dict) and {"offset", "file"} <= entry.keys()
        }
        parts = tuple(
            FlashPart(names.get(file, Path(file).stem), int(offset, 0), build / file)
            for offset, file in sorted(said["flash_files"].items(), key=lambda item: int(item[0], 0))
        )
        image = FlashImage(
            target=said["extra_esptool_args"]["chip"],
            parts=tuple(part for part in parts if part.name != model_partition),
            model=next((part for part in parts if part.name == model_partition), None),
            firmware=firmware,
            artifact=artifact,
            elf=elf,
            flash_bytes=flash_size_bytes(settings["flash_size"]),
            flash_mode=settings["flash_mode"],
            flash_freq=settings["flash_freq"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BuildError(
            f"expected an ESP-IDF build in {build}, its flasher_args.json cannot be used: {error!r}",
            "Build it again: idf.py build",
        ) from error
    for part in image.all_parts:
        if not part.file.is_file():
            raise BuildError(f"{path} names {part.file}, which is not there", "Build it again: idf.py build")
    return image


def flash_size_bytes(text: str) -> int:
    """`4MB` or `512KB` in bytes. Raises ValueError for anything else, such as `detect`."""
    number, unit = text[:-2], text[-2:]
    if unit not in _UNITS or not number.isdecimal():
        raise ValueError(f"expected a flash size such as 4MB, got {text!r}")
    return int(number) * _UNITS[unit]
