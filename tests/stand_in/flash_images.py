"""Flash images for the stand-in: files at offsets, and the emulated firmware that they boot.

No ESP-IDF is needed: bootloader, partition table and app are bytes without meaning, the model's
partition is the model file. The stand-in boots an image's ELF only when flash holds every byte of
it. The ELFs of several models say the same firmware digest, as one app that reads its model from a
partition would.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import random
from pathlib import Path

from harness.items import Item, load_artifact
from harness.model.spec import load_model
from harness.runtimes import get_runtime
from harness.runtimes.base import Artifact, Project
from harness.targets import get_target
from harness.toolchains.bare_metal import build
from harness.toolchains.base import Image
from harness.toolchains.flash_image import FlashImage, FlashPart
from tests.stand_in.attached_board import BLANK, Boot

FIRMWARE = hashlib.sha256(b"one app for all models").hexdigest()
_APP_PARTS = (("bootloader", 0x0, 18_000), ("partition-table", 0x8000, 3072), ("app", 0x10000, 90_000))
_MODEL_OFFSET = 0x110000


def flashable(build_root: Path, item: Item, artifact: Artifact, project: Project) -> Image:
    """The item's emulated firmware as an image to flash; the same bytes whoever makes it."""
    image = build(project, item.target, item.target.isa_platform, build_root=build_root / "images")
    directory = build_root / "flash" / item.key
    elf = directory / "firmware.elf"
    _write(elf, image.elf.read_bytes().replace(image.digest.encode(), FIRMWARE.encode()))
    flash = FlashImage(
        target=item.target.id,
        parts=app_parts(directory),
        model=FlashPart("model", _MODEL_OFFSET, artifact.path),
        firmware=FIRMWARE,
        artifact=artifact.digest,
        elf=elf,
        flash_bytes=4 << 20,
    )
    return dataclasses.replace(image, elf=elf, digest=FIRMWARE, flash=flash)


def app_parts(directory: Path) -> tuple[FlashPart, ...]:
    parts = []
    for name, offset, size_bytes in _APP_PARTS:
        _write(directory / f"{name}.bin", random.Random(name).randbytes(size_bytes))
        parts.append(FlashPart(name, offset, directory / f"{name}.bin"))
    return tuple(parts)


def zoo_image(build_root: Path, target: str, model: str) -> FlashImage:
    """The flash image of a zoo model in runtime tflm."""
    item = Item(get_target(target), load_model(model), "tflm", "portable")
    artifact = load_artifact(item.model, "tflm")
    directory = build_root / "projects" / item.key
    project = get_runtime("tflm").generate(artifact, "portable", directory)
    flash = flashable(build_root, item, artifact, project).flash
    assert flash is not None
    return flash


def boots(*images: FlashImage) -> Boot:
    """Boots the image that the flash holds whole; else the chip finds nothing to run."""

    def boot(flash: bytes) -> Path | bytes:
        for image in images:
            contents = [(part.offset, part.file.read_bytes()) for part in image.all_parts]
            if all(flash[offset : offset + len(data)] == data for offset, data in contents):
                return image.elf
        return BLANK

    return boot


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(f".{os.getpid()}")
    beside.write_bytes(data)
    beside.rename(path)
