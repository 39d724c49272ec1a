"""Boots what the stand-in for idf.py built: emulated firmware that answers as the build would.

The app in flash says its digest and kernels; the model is the app's own, or lies in the model's partition,
whose place the partition table says and whose header the harness wrote. Portable kernels run in QEMU under
that digest and those kernels' name. A flash that is not whole boots nothing.
"""

from __future__ import annotations

import json
import os
import re
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

from harness.items import load_artifact
from harness.model.spec import load_model
from harness.runtimes import get_runtime
from harness.targets import get_target
from harness.toolchains.bare_metal import build
from harness.toolchains.esp_idf.model_image import MAGIC
from tests.stand_in.attached_board import BLANK, Boot

STAND_IN = Path(__file__).parents[1] / "idf_stand_in"
_VERSION = "set(IDF_VERSION_MAJOR {})\nset(IDF_VERSION_MINOR {})\nset(IDF_VERSION_PATCH 1)\n"
_APP, _TABLE = 0x10000, 0x8000


def active_idf(directory: Path, version: tuple[int, int] = (5, 5)) -> dict[str, str]:
    """The environment of an active ESP-IDF, made below `directory`: idf.py is the stand-in."""
    cmake = directory / "esp-idf/tools/cmake"
    cmake.mkdir(parents=True, exist_ok=True)
    (cmake / "version.cmake").write_text(_VERSION.format(*version), encoding="utf-8")
    return {
        "IDF_PATH": str(directory / "esp-idf"),
        "PATH": f"{STAND_IN}{os.pathsep}{os.environ['PATH']}",
        "IDF_STAND_IN_RECORD": str(directory / "idf.jsonl"),
    }


def idf_calls(directory: Path) -> list[dict[str, list[str]]]:
    """How idf.py was called so far: its arguments, and the files it found."""
    record = directory / "idf.jsonl"
    lines = record.read_text(encoding="utf-8").splitlines() if record.exists() else []
    return [json.loads(line) for line in lines]


def idf_builds(directory: Path, chip: str, items: Iterable[tuple[str, str]]) -> Boot:
    """For a chip, whose firmware may run these models (name, runtime) and no others."""
    target = get_target(chip)
    known: dict[str, tuple[str, bytes]] = {}
    for name, runtime in items:
        artifact = load_artifact(load_model(name), runtime, target)
        project = get_runtime(runtime).generate(artifact, "portable", directory / f"{name}-{runtime}")
        image = build(project, target, str(target.isa_platform), build_root=directory / "images")
        known[artifact.digest] = image.digest, image.elf.read_bytes()

    def boot(flash: bytes) -> Path | bytes:
        if flash[_APP : _APP + 1] != b"{":
            return BLANK
        app = json.loads(flash[_APP:].partition(b"\0")[0])
        digest = app["artifact"] or _model(flash)
        if digest is None:
            return BLANK
        own, elf = known[digest]
        path = directory / f"{app['digest'][:12]}-{digest[:12]}.elf"
        kernels = app["kernels"].encode().ljust(len("portable"), b"\0")
        path.write_bytes(elf.replace(own.encode(), app["digest"].encode()).replace(b"portable", kernels))
        return path

    return boot


def _model(flash: bytes) -> str | None:
    """The artifact's digest from the model image, if its check sum is right."""
    table = flash[_TABLE : _TABLE + 0xC00].decode("ascii", "replace")
    found = re.search(r"^model, data, \w+, (0x\w+), (0x\w+)$", table, re.MULTILINE)
    if found is None:
        return None
    image = flash[int(found[1], 16) :][: int(found[2], 16)]
    size, crc = struct.unpack_from("<II", image, 8)
    if not image.startswith(MAGIC) or size > len(image) or zlib.crc32(image[16:size]) != crc:
        return None
    (name_at,) = struct.unpack_from("<I", image, 32)
    return image[name_at:].partition(b"\0")[0].decode()
