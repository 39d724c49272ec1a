"""The firmware with the demo engine of tests/firmware, built and started: for tests that need a device
and no network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from harness.boards.base import Board
from harness.boards.host import HostBoard
from harness.boards.qemu import QemuBoard
from harness.runtimes.base import Project
from harness.targets import get_target
from harness.toolchains.bare_metal import build
from harness.toolchains.base import Image
from tests.firmware_wire import Device

SOURCES = Path(__file__).parent / "firmware"
DEMO = Project(SOURCES, (SOURCES / "demo_engine.c",), (), 36)
TARGETS = {"host": "esp32c3", "qemu_riscv32": "esp32c3", "qemu_xtensa": "esp32s3"}


def build_demo(platform: str, build_root: Path, defines: Mapping[str, str] | None = None) -> Image:
    """The demo firmware; with sanitizers on the host."""
    target = get_target(TARGETS[platform])
    return build(
        DEMO,
        target,
        platform,
        build_root=build_root,
        sanitize=platform == "host",
        defines=defines,
        mlperf_dialect=True,
    )


@contextmanager
def running(image: Image) -> Iterator[tuple[Board, Device]]:
    """The image on its board, READY not yet read."""
    board: Board
    if image.platform == "host":
        board = HostBoard(image.target, image.elf)
    else:
        board = QemuBoard(image.target, image.platform, image.elf)
    with board as port:
        yield board, Device(port)


def demo_layers(data: bytes) -> list[bytes]:
    """The demo network's layer outputs for 8 input bytes, as demo_engine.c documents them."""
    signed = [byte - 256 if byte > 127 else byte for byte in data]
    added = [(value + index + 128) % 256 - 128 for index, value in enumerate(signed)]
    doubled = [2 * value for value in added]
    total = (1000 + sum(value * 65537 for value in doubled)) % 2**32
    return [
        bytes(value % 256 for value in added),
        b"".join((value % 65536).to_bytes(2, "little") for value in doubled),
        total.to_bytes(4, "little"),
    ]
