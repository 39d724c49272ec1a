"""Which firmware an item gets, for which board, and why: ESP-IDF there or not, boards attached or not.

Espressif's programs are played by stand-ins on PATH; nothing is started of them.
"""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from serial.tools import list_ports

from harness.bench import Bench
from harness.boards.base import Board
from harness.boards.esp_emulators import qemu_machines
from harness.doctor import diagnose
from harness.errors import MissingError, PortError, UnsupportedError, UsageError
from harness.farm.shelf import Shelf
from harness.firmware import Firmware
from harness.items import Item, load_artifact
from harness.model.spec import load_model
from harness.settings import Settings, settings_from
from harness.targets import get_target
from harness.toolchains.base import Image
from harness.toolchains.esp_idf.partitions import Layout
from harness.toolchains.esp_idf.project import IdfProject, write_project
from tests.stand_in.attached_board import AttachedBoard
from tests.stand_in.flash_images import boots
from tests.stand_in.idf_builds import active_idf, idf_calls
from tests.usb_listing import UsbInfo

Choose = Callable[..., Settings]
CHIP = "esp32c3"
MACHINES = "Supported machines are:\nesp32c3   Espressif\nvirt   RISC-V"


@pytest.fixture
def choose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Choose:
    """Settings of a run with these options; the build directory is the test's own."""
    monkeypatch.setenv("HARNESS_BUILD_ROOT", str(tmp_path / "build"))
    monkeypatch.delenv("IDF_PATH", raising=False)

    def chosen(*, port: str | None = None, skip_autoflash: str | None = None, **given: str) -> Settings:
        given = {"model": "mnist_mlp", "runtime": "tflm", **given}
        return settings_from(
            lambda option: given.get(option.field, option.default),
            target=CHIP, port=port, baud=None, root=tmp_path, skip_autoflash=skip_autoflash,
        )  # fmt: skip

    return chosen


@pytest.fixture
def idf(choose: Choose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: ARG001 - which clears it
    for name, value in active_idf(tmp_path).items():
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory first on PATH, for Espressif's emulators."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")
    qemu_machines.cache_clear()
    yield directory
    qemu_machines.cache_clear()


@pytest.fixture
def attached(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], AttachedBoard]]:
    """Attaches a blank chip by USB."""
    boards: list[AttachedBoard] = []

    def attach(chip: str) -> AttachedBoard:
        board = AttachedBoard(chip, boots())
        boards.append(board.__enter__())
        for name, value in board.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(list_ports, "comports", lambda: [UsbInfo(board.path) for board in boards])
        return board

    yield attach
    for board in boards:
        board.__exit__()


def program(directory: Path, name: str) -> None:
    path = directory / name
    path.write_text(f"#!{sys.executable}\nprint({MACHINES!r})\n")
    path.chmod(0o755)


def firmware_of(settings: Settings) -> Firmware:
    return Firmware(settings, Shelf(settings.farm, settings.wish))


def made(settings: Settings) -> tuple[Image | None, Board, str]:
    """The stations from project to board."""
    firmware = firmware_of(settings)
    item = Item(get_target(CHIP), load_model("mnist_mlp"), "tflm", settings.kernels)
    artifact = load_artifact(item.model, item.runtime, item.target)
    image = firmware.image(item, artifact, firmware.project(item, artifact))
    return image, *firmware.board(item, image)


def test_without_esp_idf_nothing_attached_is_asked(choose: Choose, attached, programs: Path) -> None:
    program(programs, "esp-emu")
    there = attached(CHIP)
    image, board, reason = made(choose())
    assert image is not None
    assert (image.platform, board.info.kind) == ("qemu_riscv32", "qemu")
    assert reason.endswith("as no --port is given")
    assert there.loader.commands == []


@pytest.mark.usefixtures("idf")
def test_auto_takes_the_attached_board_then_the_chips_emulator_then_qemu(
    choose: Choose, attached, programs: Path, tmp_path: Path
) -> None:
    image, board, reason = made(choose())
    assert image is not None
    assert (image.platform, board.info.kind) == ("qemu_riscv32", "qemu")
    assert reason.endswith("as no board is attached and no emulator of the chip is on PATH")

    other = attached("esp32s3")
    image, board, reason = made(choose())
    assert board.info.kind == "qemu"
    assert f"as no esp32c3 is attached (boards here: {other.path} esp32s3" in reason

    program(programs, "esp-emu")
    image, board, reason = made(choose())
    assert image is not None
    assert (image.platform, board.info.kind) == ("esp_idf", "espemu")
    assert reason.startswith("esp32c3: esp-emu stands in (fidelity soc")
    assert "as no esp32c3 is attached" in reason

    program(programs, "qemu-system-riscv32")
    qemu_machines.cache_clear()
    assert made(choose())[1].info.kind == "esp_qemu"

    own = attached(CHIP)
    image, board, reason = made(choose())
    assert image is not None
    assert image.flash is not None
    assert (image.platform, board.info.name) == ("esp_idf", own.path)
    assert reason == f"esp32c3: the board on {own.path}, the first that has this chip"
    assert [call["arguments"][-1] for call in idf_calls(tmp_path)] == ["build", "size"], "built once for all"


@pytest.mark.usefixtures("idf")
def test_what_cannot_run_it_is_said_before_the_build(choose: Choose, tmp_path: Path) -> None:
    with pytest.raises(PortError, match="no such port: /dev/ttyUSB9"):
        made(choose(port="/dev/ttyUSB9"))
    with pytest.raises(MissingError, match="esp-emu is not on PATH"):
        made(choose(board="espemu"))
    with pytest.raises(MissingError, match="no QEMU on PATH has a machine esp32c3"):
        made(choose(board="esp_qemu"))
    assert idf_calls(tmp_path) == []


@pytest.mark.usefixtures("idf")
def test_silicon_falls_back_to_nothing(choose: Choose, attached, programs: Path) -> None:
    program(programs, "esp-emu")
    with pytest.raises(UsageError, match="--board silicon needs an attached board, and no USB port"):
        made(choose(board="silicon"))
    attached("esp32s3")
    with pytest.raises(PortError, match="no esp32c3 is attached"):
        made(choose(board="silicon"))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({}, "ESP-IDF is not active: IDF_PATH is not set"),
        ({"skip_autoflash": "y"}, "as asked: --skip-autoflash"),
        ({"dialect": "himax"}, "firmware that prints is not ours to build"),
    ],
)
def test_an_attached_board_keeps_its_firmware(
    options: dict[str, str], why: str, choose: Choose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if options:
        for name, value in active_idf(tmp_path).items():
            monkeypatch.setenv(name, value)
    settings = choose(port="/dev/ttyUSB9", **options)
    image, board, reason = made(settings)
    assert (image, board.info.name) == (None, "/dev/ttyUSB9")
    assert reason == f"esp32c3: the board on /dev/ttyUSB9; it keeps its firmware ({why})"
    assert firmware_of(settings).one_firmware_only(get_target(CHIP))


def test_every_runtime_where_the_board_can_be_flashed(
    choose: Choose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def runtimes(**options: str) -> tuple[str, ...]:
        settings = choose(port="/dev/ttyUSB9", runtime="all", report_dir=str(tmp_path / "r"), **options)
        bench = Bench(settings, reports_root=tmp_path, command="")
        items = bench.items()
        bench.finish()
        return tuple(item.runtime for item in items)

    assert runtimes() == ("tflm",)
    assert runtimes(kernels="vendor") == ("tflm",), "firmware somebody else has flashed"
    for name, value in active_idf(tmp_path).items():
        monkeypatch.setenv(name, value)
    assert runtimes()[:3] == ("tflm", "espdl", "espdl-v1")
    assert runtimes(kernels="vendor") == ("tflm", "espdl")
    assert runtimes(kernels="vendor-ansi") == ("tflm",)
    assert runtimes(skip_autoflash="yes") == ("tflm",)
    with pytest.raises(UsageError, match="--skip-autoflash expects y or n, got 'maybe'"):
        runtimes(skip_autoflash="maybe")


def test_a_vendors_kernels_need_the_chip(
    choose: Choose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MissingError, match="ESP-IDF is not active"):
        made(choose(kernels="vendor"))
    for name, value in active_idf(tmp_path).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(
        UsageError, match=r"kernels vendor run on the chip or an emulator of it, and .*no board is"
    ):
        made(choose(kernels="vendor"))
    with pytest.raises(UsageError, match=r"kernels vendor run on .* a native process on this machine"):
        made(choose(kernels="vendor", board="host"))
    active_idf(tmp_path, (5, 3))
    with pytest.raises(MissingError, match=r"expected ESP-IDF >=5.4,<6.1, .* is 5\.3\.1"):
        made(choose(kernels="vendor"))


@pytest.mark.usefixtures("idf")
def test_bytes_go_by_the_usb_that_the_board_is_attached_by(
    choose: Choose, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = [UsbInfo("/dev/ttyACM7", vid=0x303A, pid=0x1001), UsbInfo("/dev/ttyUSB7", vid=0x10C4)]
    monkeypatch.setattr(list_ports, "comports", lambda: listed)
    item = Item(get_target(CHIP), load_model("mnist_mlp"), "tflm", "vendor")
    artifact = load_artifact(item.model, item.runtime, item.target)
    said = {}
    for port in ("/dev/ttyACM7", "/dev/ttyUSB7"):
        project = firmware_of(choose(kernels="vendor", port=port)).project(item, artifact)
        assert isinstance(project, IdfProject)
        said[port] = (project.directory / "sdkconfig.defaults").read_text(encoding="utf-8")
    assert "CONFIG_HARNESS_SERIAL_USB=y" in said["/dev/ttyACM7"]
    assert "HARNESS_SERIAL_USB" not in said["/dev/ttyUSB7"]


@pytest.mark.parametrize(
    ("chip", "kernels", "said"),
    [
        ("esp32c3", "vendor", r"firmware for esp32c3 uses the chip's own 4 KiB and no PSRAM"),
        ("esp32s3", "portable", r"the portable kernels use the chip's own 4 KiB and no PSRAM"),
        ("esp32s3", "vendor", ""),
    ],
)
def test_activations_that_need_psram(chip: str, kernels: str, said: str, tmp_path: Path) -> None:
    target = dataclasses.replace(get_target(chip), sram_bytes=4096)
    artifact = load_artifact(load_model("himax_cnn"), "tflm")
    if said:
        with pytest.raises(UnsupportedError, match=rf"himax_cnn needs 7 KiB of RAM for activations, {said}"):
            write_project(artifact, target, kernels, tmp_path / "p", Layout())
        assert not (tmp_path / "p").exists()
    else:
        assert write_project(artifact, target, kernels, tmp_path / "p", Layout()).psram_bytes > 4096


@pytest.mark.parametrize(
    ("version", "found", "remedy"),
    [
        ((5, 5), "version 5.5.1 in ", ""),
        ((4, 4), "version 4.4.1 in .*: for esp-dl v1 alone, all else needs >=5.4,<6.1", ""),
        ((5, 3), "", r"version 5.3.1 in .*, expected >=5.4,<6.1: git -C .* checkout v5.5.1"),
    ],
)
def test_doctor_says_what_the_active_esp_idf_is_good_for(
    version: tuple[int, int], found: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in active_idf(tmp_path, version).items():
        monkeypatch.setenv(name, value)
    checks = {check.name: check for check in diagnose()}
    assert re.match(found, checks["ESP-IDF"].found or "")
    assert bool(checks["ESP-IDF"].found) == bool(found)
    assert re.match(remedy, checks["ESP-IDF"].remedy)
    assert ("esp-dl v1" in checks) == (version == (4, 4))
