"""Stock esptool flashes a stand-in for a board; what it wrote then boots in QEMU and infers.

The stand-in (tests/stand_in) is a ROM loader, a reset circuit and modem lines of ours. It proves our
side and esptool's: commands, order, decisions, messages. It proves nothing about silicon.
"""

from __future__ import annotations

import dataclasses
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.boards.esptool import Esptool
from harness.boards.serial_port import SerialBoard
from harness.errors import FlashError, IdentityError, PortError, UsageError
from harness.flashing import install
from harness.link.client import Link
from harness.toolchains.flash_image import FlashImage
from tests.bench_runs import CHECKOUT, run_pytest
from tests.stand_in.attached_board import AttachedBoard
from tests.stand_in.flash_images import app_parts, boots, zoo_image
from tests.stand_in.rom_loader import Flash

CONFTEST = """
import pytest
from tests.stand_in.flash_images import flashable

@pytest.fixture
def image(bench, harness_item, artifact, project):
    return flashable(bench.settings.build_root, harness_item, artifact, project)
"""
TEST = """
def test_model(result):
    assert result.runtime_gap.max_lsb == 0
    assert result.failures == ()
"""


Plug = Callable[[AttachedBoard], AttachedBoard]


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> Plug:
    """Makes the stand-in's modem lines seen by the esptool that is started here."""

    def plug(board: AttachedBoard) -> AttachedBoard:
        for name, value in board.environment.items():
            monkeypatch.setenv(name, value)
        return board

    return plug


def plain_image(directory: Path, target: str = "esp32c3", flash_bytes: int = 4 << 20) -> FlashImage:
    """An image that nothing can boot, for tests of writing alone."""
    elf = directory / "none.elf"
    return FlashImage(target, app_parts(directory), None, "f" * 64, "a" * 64, elf, flash_bytes)


def test_blank_chip_then_another_model(tmp_path: Path) -> None:
    target = "esp32s3"
    build_root = tmp_path / "build"
    first, second = (zoo_image(build_root, target, name) for name in ("mnist_mlp", "himax_cnn"))
    assert first.firmware == second.firmware
    project = tmp_path / "project"
    project.mkdir()
    (project / "conftest.py").write_text(CONFTEST)
    (project / "test_mine.py").write_text(TEST)

    with AttachedBoard(target, boots(first, second)) as board:
        environment = {
            **board.environment,
            "PYTHONPATH": str(CHECKOUT),
            "HARNESS_BUILD_ROOT": str(build_root),
        }
        run = run_pytest(
            tmp_path / "r", "--target", target, "--model", "mnist_mlp,himax_cnn", "--samples", "20",
            "--runtime", "tflm", "--reference", "none", f"--port={board.path}",
            cwd=project, environment=environment,
        )  # fmt: skip
        written = board.flash.written_bytes
    assert run.code == 0, run.output
    items = run.items()
    assert (
        f"flashed onto {board.path}: bootloader, partition-table, app, model; "
        "what it held before did not answer"
    ) in items[f"{target}-mnist_mlp"]["notes"]
    assert (f"flashed onto {board.path}: model; the same firmware ran there, with another model") in items[
        f"{target}-himax_cnn"
    ]["notes"]
    assert second.model
    least = sum(part.size_bytes for part in first.all_parts) + second.model.size_bytes
    # The last block of each file is padded to 16 KiB.
    assert least <= written <= least + 5 * 0x4000
    for item in items.values():
        assert item["runtime_gap"]["max_lsb"] == 0
        assert item["fidelity"] == "isa", "the firmware says that it is emulated"
        assert item["provenance"]["board_mac"] == "7c:df:a1:00:11:22"


def test_what_a_chip_is(plugged: Plug) -> None:
    with plugged(AttachedBoard("esp32s3", boots(), flash=Flash(8 << 20))) as board:
        chip = Esptool(board.path).identify()
    assert (chip.target, chip.mac, chip.flash_bytes) == ("esp32s3", "7c:df:a1:00:11:22", 8 << 20)
    assert chip.description.startswith("ESP32-S3 (QFN56)")


def test_unchanged_parts_are_not_written_again(plugged: Plug, tmp_path: Path) -> None:
    image, log = plain_image(tmp_path), tmp_path / "flash.log"
    seen: list[tuple[int, int]] = []
    with plugged(AttachedBoard("esp32c3", boots())) as board:
        esptool = Esptool(board.path, log=log)
        esptool.write(image, image.parts, lambda done, total: seen.append((done, total)))
        total = sum(part.size_bytes for part in image.parts)
        assert seen[-1] == (total, total)
        assert [done for done, _ in seen] == sorted(done for done, _ in seen)
        for part in image.parts:
            assert board.flash.content[part.offset :].startswith(part.file.read_bytes())
        written = board.flash.written_bytes
        image.parts[1].file.write_bytes(b"another partition table".ljust(3072, b"\xff"))
        esptool.write(image, image.parts)
        assert 3072 <= board.flash.written_bytes - written <= 0x4000
    assert log.read_text().count("$ ") == 4, "each run of esptool is in the log, with its command line"


def test_the_wrong_chip_is_refused_before_anything_is_written(plugged: Plug, tmp_path: Path) -> None:
    image = plain_image(tmp_path, "esp32s3")
    with plugged(AttachedBoard("esp32c3", boots())) as board:
        with pytest.raises(
            IdentityError, match=r"expected ESP32-S3 on .*, the chip there is ESP32-C3; nothing"
        ):
            Esptool(board.path).write(image, image.parts)
        assert board.flash.written_bytes == 0


def test_a_flash_smaller_than_the_image_is_refused(plugged: Plug, tmp_path: Path) -> None:
    image = plain_image(tmp_path, flash_bytes=8 << 20)
    with plugged(AttachedBoard("esp32c3", boots(), flash=Flash(4 << 20))) as board:
        with pytest.raises(FlashError, match=r"needs 8 MB of flash, the ESP32-C3 .* has 4 MB; nothing was"):
            Esptool(board.path).write(image, image.parts)
        assert board.flash.written_bytes == 0


def test_firmware_for_another_revision_of_the_chip_is_refused(plugged: Plug, tmp_path: Path) -> None:
    image = plain_image(tmp_path)
    (bootloader,) = (part for part in image.parts if part.name == "bootloader")
    bootloader.file.write_bytes(esp32c3_image(min_revision=301, max_revision=399))
    with plugged(AttachedBoard("esp32c3", boots())) as board:
        with pytest.raises(
            FlashError,
            match=r"is for chip revision in range v3\.1 - v3\.99, the chip on .* is v0\.0; nothing",
        ):
            Esptool(board.path).write(image, image.parts)
        assert board.flash.written_bytes == 0


def esp32c3_image(min_revision: int, max_revision: int) -> bytes:
    """The smallest that esptool reads: header, one segment of 16 bytes, checksum."""
    header = struct.pack("<4BI", 0xE9, 1, 2, 0x20, 0x40380000)
    header += struct.pack("<4BHBHH4xB", 0xEE, 0, 0, 0, 5, 0, min_revision, max_revision, 0)
    segment = struct.pack("<II", 0x40380000, 16) + bytes(16)
    body = header + segment
    return body + bytes(-(len(body) + 1) % 16) + b"\xef"


def test_a_psram_smaller_than_the_model_needs_is_refused(
    plugged: Plug, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = dataclasses.replace(plain_image(tmp_path), psram_bytes=3 << 20)
    with plugged(AttachedBoard("esp32c3", boots())) as board:
        esptool = Esptool(board.path)
        features = "Wi-Fi, BT 5 (LE), Embedded PSRAM 2MB (AP_3v3)"
        chip = dataclasses.replace(esptool.identify(), features=features)
        monkeypatch.setattr(esptool, "identify", lambda _: chip)
        with pytest.raises(FlashError, match=r"needs 3\.0 MB of PSRAM for activations, .* has 2 MB; nothing"):
            esptool.write(image, image.parts)
        assert board.flash.written_bytes == 0


def test_the_cable_pulled_in_the_middle_of_a_write(plugged: Plug, tmp_path: Path) -> None:
    image, log = plain_image(tmp_path), tmp_path / "flash.log"
    with (
        plugged(AttachedBoard("esp32c3", boots(), unplug_after=60_000)) as board,
        pytest.raises(
            FlashError, match=rf"{board.path} went away .*; its flash is incomplete \(.*flash\.log"
        ),
    ):
        Esptool(board.path, log=log).write(image, image.parts)
    assert "Writing at 0x" in log.read_text()


def test_a_chip_that_restarts_in_the_middle_of_a_write(plugged: Plug, tmp_path: Path) -> None:
    image = plain_image(tmp_path)
    with (
        plugged(AttachedBoard("esp32c3", boots(), brown_out_after=60_000)) as board,
        pytest.raises(FlashError, match=r"stopped answering .*; its flash is incomplete\. .*brown-out"),
    ):
        Esptool(board.path).write(image, image.parts)


def test_flash_that_does_not_keep_what_is_written(plugged: Plug, tmp_path: Path) -> None:
    image = plain_image(tmp_path)
    with (
        plugged(AttachedBoard("esp32c3", boots(), flash=Flash(4 << 20, stuck=(0x10010,)))) as board,
        pytest.raises(FlashError, match=r"verify mismatch: the flash on .* does not hold what was written"),
    ):
        Esptool(board.path).write(image, image.parts)


def test_no_rom_loader_and_a_port_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = plain_image(tmp_path)
    # Without its modem lines the stand-in cannot be brought into the loader.
    with AttachedBoard("esp32c3", boots()) as board:
        with pytest.raises(FlashError, match=r"no ROM loader answers on .*; nothing was written.*Hold BOOT"):
            Esptool(board.path).write(image, image.parts)
        script = "import serial, sys; p = serial.Serial(sys.argv[1], exclusive=True); print(1, flush=True)"
        script += "; input()"
        with subprocess.Popen(
            [sys.executable, "-c", script, board.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as holder:
            assert holder.stdin
            assert holder.stdout
            holder.stdout.readline()
            with pytest.raises(PortError, match=rf"{board.path} is busy, held by pid {holder.pid} \("):
                Esptool(board.path).identify()
            holder.stdin.write(b"\n")
    # As on a slow computer, where esptool takes longer to start.
    monkeypatch.setattr("harness.boards.esptool._REAPPEAR_S", 0.0)
    with pytest.raises(PortError, match=r"no such port: /dev/ttyNONE"):
        Esptool("/dev/ttyNONE").identify()
    with pytest.raises(PortError, match=r"cannot reach socket://127.0.0.1:1: .*refused"):
        Esptool("socket://127.0.0.1:1").identify()
    with pytest.raises(UsageError, match="expected --reset to be one of dtr-rts, usb-jtag, watchdog, none"):
        Esptool("/dev/ttyNONE", reset="jtag")


@pytest.mark.parametrize("reset", ["dtr-rts", "usb-jtag", "watchdog"])
def test_reset_strategies_lead_from_the_loader_to_the_first_frame(
    reset: str,
    plugged: Plug,
    tmp_path: Path,
    image: FlashImage,
) -> None:
    with plugged(AttachedBoard("esp32c3", boots(image), native_usb=reset == "usb-jtag")) as standin:
        board = SerialBoard("esp32c3", standin.path, reset=reset)
        said = install(board, image, tmp_path)
        assert said.startswith(f"flashed onto {standin.path}: bootloader,")
        boots_before = standin.boots
        with board as port:
            link = Link(port)
            link.connect()
            assert link.identify().firmware == image.firmware
        assert standin.boots == boots_before, "esptool restarted it, and nothing else"
        written = standin.flash.written_bytes
        said = install(board, image, tmp_path)
        assert said == f"nothing flashed: {standin.path} already runs this firmware and model"
        assert standin.flash.written_bytes == written


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> FlashImage:
    return zoo_image(tmp_path_factory.mktemp("zoo"), "esp32c3", "mnist_mlp")
