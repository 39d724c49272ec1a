"""Espressif's emulators as boards: their command lines, images and eFuses, seen by programs that record
them and then run the firmware another way. Where the real ones are on PATH, they are started too.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pytest_embedded_qemu.qemu import QEMU_TARGETS

from harness.boards import Attachment, choose_board, esp_emulators
from harness.boards.esp_emulators import (
    ESP_EMU_REMEDY,
    ESP_QEMU_REMEDY,
    ESP_QEMU_TARGETS,
    EspEmuBoard,
    EspQemuBoard,
    default_efuses,
    find_esp_qemu,
    find_espemu,
    qemu_machines,
)
from harness.errors import BuildError, IdentityError, MissingError, PortError, UsageError
from harness.link.client import Link
from harness.targets import get_target
from harness.toolchains.base import Image
from harness.toolchains.esp_idf.build import build
from harness.toolchains.flash_image import FlashImage, FlashPart
from tests.bench_runs import run_pytest
from tests.firmware_demo import build_demo, demo_layers
from tests.idf_projects import idf_project
from tests.stand_in.flash_images import app_parts
from tests.stand_in.idf_builds import active_idf

# Records its arguments and the files named in them, then becomes {real}.
RECORDER = """#!{python}
import json, os, re, shutil, sys
from pathlib import Path
arguments = sys.argv[1:]
if arguments[-1:] == ["help"]:
    sys.exit(print("Supported machines are:\\n{machine}   Espressif\\nnone   empty machine"))
if arguments == ["--version"]:
    sys.exit(print("QEMU emulator version 9.0.0 (esp_develop_9.0.0_20240606)"))
Path("{record}").write_text(json.dumps(arguments))
for path in re.findall(r"(?:file=|^)(/[^,]*[.]bin)", "\\n".join(arguments), re.MULTILINE):
    shutil.copy(path, "{directory}")
{become}
"""
# All that concerns the chip is left out; how it talks to us stays.
AS_ISA = (
    'os.execv("{real}", ["{real}", "-M", "virt", "-cpu", "lowrisc-ibex", "-m", "32M", "-bios", "none", '
    '"-kernel", "{elf}", *arguments[arguments.index("-display"):]])'
)
# As esp-emu does: UART 0 is for whoever connects.
AS_HOST = """
import socket
host, port = arguments[arguments.index("--uart-tcp") + 1].split(":")
with socket.create_server((host, int(port))) as server:
    connection, _ = server.accept()
os.dup2(connection.fileno(), 0)
os.execv("{elf}", ["{elf}", "0"])
"""


@pytest.fixture(scope="module")
def riscv(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return build_demo("qemu_riscv32", tmp_path_factory.mktemp("images"))


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory first on PATH."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")
    return directory


@pytest.fixture(autouse=True)
def forget_machines() -> Iterator[None]:
    qemu_machines.cache_clear()
    yield
    qemu_machines.cache_clear()


def recorder(
    directory: Path, name: str, become: str, machine: str = "esp32c3", keep: Path | None = None
) -> Path:
    """`keep`: where what it sees is left; beside itself when None."""
    keep = keep or directory
    record = keep / "arguments.json"
    program = directory / name
    program.write_text(
        RECORDER.format(python=sys.executable, machine=machine, record=record, directory=keep, become=become)
    )
    program.chmod(0o755)
    return record


def flash_image(directory: Path, target: str = "esp32c3", flash_bytes: int = 4 << 20) -> FlashImage:
    return FlashImage(
        target, app_parts(directory), None, "f" * 64, "a" * 64, directory / "x.elf", flash_bytes, "dio", "80m"
    )


def test_esp_qemu_boots_a_padded_image_with_efuses(riscv: Image, programs: Path, tmp_path: Path) -> None:
    real = next(
        path for directory in os.get_exec_path() if (path := Path(directory) / "qemu-system-riscv32").exists()
    )
    record = recorder(programs, "qemu-system-riscv32", AS_ISA.format(real=real, elf=riscv.elf))
    image = flash_image(tmp_path)
    board = EspQemuBoard("esp32c3", image)
    assert (board.info.kind, board.info.fidelity) == ("esp_qemu", "soc")
    assert board.info.details["emulator"] == "9.0.0 (esp_develop_9.0.0_20240606)"
    with board as port:
        link = Link(port)
        link.connect()
        data = bytes(range(8))
        assert link.infer(data).output == demo_layers(data)[2]
        board.reset()
        link.connect()
        with pytest.raises(IdentityError, match=r"expected a chip's firmware on esp_qemu-esp32c3, .* isa"):
            board.identified(link.identify().values)
    board.identified({"fidelity": "silicon"})
    assert board.info.fidelity == "soc", "an image for the chip cannot know that the chip is emulated"

    arguments = json.loads(record.read_text())
    assert arguments[:2] == ["-M", "esp32c3"]
    drives = [arguments[i + 1] for i, word in enumerate(arguments) if word == "-drive"]
    assert [drive.split(",", 1)[1] for drive in drives] == [
        "if=mtd,format=raw",
        "if=none,format=raw,id=efuse",
    ]
    assert "driver=nvram.esp32c3.efuse,property=drive,value=efuse" in arguments
    assert not any("strap_mode" in word for word in arguments), "with it, QEMU waits for a download"
    flash = (programs / "flash.bin").read_bytes()
    assert len(flash) == 4 << 20
    for part in image.parts:
        assert flash[part.offset :].startswith(part.file.read_bytes())
    assert (programs / "efuse.bin").read_bytes() == default_efuses("esp32c3")


def test_esp_emu_has_its_uart_on_a_tcp_port(programs: Path, tmp_path: Path) -> None:
    native = build_demo("host", tmp_path / "images")
    record = recorder(programs, "esp-emu", AS_HOST.format(elf=native.elf))
    board = EspEmuBoard("esp32c3", flash_image(tmp_path))
    with board as port:
        link = Link(port)
        link.connect()
        board.reset()
        link.connect()
        assert link.hello.frames_seen <= 3, "a reset starts it anew"
        assert "esp-emu is running" in board.state()
    arguments = json.loads(record.read_text())
    assert arguments[:3] == ["--chip", "esp32c3", "--firmware"]
    assert re.fullmatch(r"--uart-tcp 127\.0\.0\.1:\d+", " ".join(arguments[4:]))
    flash = (programs / "flash.bin").read_bytes()
    assert len(flash) == 0x10000 + 90_000, "esp-emu wants no padding"
    assert board.state() == "esp-emu is not started"


SERVICES = """
import pytest

@pytest.mark.parametrize("embedded_services", ["idf,qemu", "idf,espemu"], indirect=True)
def test_started(dut):
    dut.expect_exact("recorded")
"""


def test_both_are_started_as_pytest_embeddeds_own_services_start_them(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stock pytest-embedded reads the same build, and starts the same recorders."""
    for name, value in active_idf(tmp_path).items():
        monkeypatch.setenv(name, value)
    artifact, project = idf_project(tmp_path / "project", kernels="portable")
    image = build(project, artifact, build_root=tmp_path / "images")
    assert image.flash is not None
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_services.py").write_text(SERVICES)
    path = os.pathsep.join((str(programs), str(Path(sys.executable).parent), os.environ["PATH"]))
    become = "print('recorded', flush=True)"
    records = {}
    for who in ("theirs", "ours"):
        for program in ("qemu-system-riscv32", "esp-emu"):
            (tmp_path / who / program).mkdir(parents=True)
            records[who, program] = recorder(programs, program, become, keep=tmp_path / who / program)
        if who == "theirs":
            run = run_pytest(
                *(tmp_path / "r", tmp_path / "tests", "--app-path", image.elf.parent, "--build-dir", "flash"),
                *("--target", "esp32c3", "--qemu-efuse-path", tmp_path / "efuse.bin"),
                cwd=tmp_path,
                environment={"PATH": path},
            )
            assert run.code == 0, run.output
        else:
            qemu_machines.cache_clear()
            for board in (EspQemuBoard("esp32c3", image.flash), EspEmuBoard("esp32c3", image.flash)):
                with pytest.raises(PortError, match=r"ended at its start: .*: recorded"):
                    board.open()

    theirs, ours = (json.loads(records[who, "esp-emu"].read_text()) for who in ("theirs", "ours"))
    assert theirs[:3] == ours[:3] == ["--chip", "esp32c3", "--firmware"]
    assert theirs[4:] == [], "its UART is on standard input and output, for lines of text"
    theirs, ours = (json.loads(records[who, "qemu-system-riscv32"].read_text()) for who in ("theirs", "ours"))
    assert theirs[theirs.index("-machine") + 1] == ours[ours.index("-M") + 1] == "esp32c3"
    assert given(theirs, "-drive") == given(ours, "-drive")
    strap = "driver=esp32c3.gpio,property=strap_mode,value=0x02"
    assert given(theirs, "-global") == {*given(ours, "-global"), strap}
    for program in ("qemu-system-riscv32", "esp-emu"):
        theirs, ours = (sorted((tmp_path / who / program).glob("*.bin")) for who in ("theirs", "ours"))
        assert len(ours) == (2 if program != "esp-emu" else 1)
        assert sorted(file.read_bytes() for file in theirs) == sorted(file.read_bytes() for file in ours)


def given(arguments: list[str], option: str) -> set[str]:
    """Its values, without the names of files."""
    values = [arguments[i + 1] for i, word in enumerate(arguments) if word == option]
    return {re.sub("file=[^,]*", "file", value) for value in values}


def test_efuses_are_those_of_pytest_embedded() -> None:
    assert tuple(QEMU_TARGETS) == ESP_QEMU_TARGETS
    for target, known in QEMU_TARGETS.items():
        assert default_efuses(target) == known.default_efuse


def test_efuses_are_as_large_as_qemu_wants_them() -> None:
    assert [len(default_efuses(target)) for target in ("esp32", "esp32c3", "esp32s3")] == [124, 1024, 1024]


def test_what_cannot_be_emulated(programs: Path, tmp_path: Path) -> None:
    recorder(programs, "qemu-system-riscv32", "")
    with pytest.raises(UsageError, match="Espressif's QEMU emulates esp32, esp32c3, esp32s3, not esp32c6"):
        EspQemuBoard("esp32c6", flash_image(tmp_path, "esp32c6"))
    with pytest.raises(UsageError, match=r"esp-emu emulates esp32c3, .* not esp32s3"):
        EspEmuBoard("esp32s3", flash_image(tmp_path, "esp32s3"))
    with pytest.raises(MissingError, match=r"no QEMU on PATH has a machine esp32s3.*idf_tools.py install"):
        EspQemuBoard("esp32s3", flash_image(tmp_path, "esp32s3"))
    with pytest.raises(MissingError, match="esp-emu is not on PATH"):
        EspEmuBoard("esp32c3", flash_image(tmp_path))
    with pytest.raises(BuildError, match="has flashes of 2, 4, 8, 16 MB, the image is for 32768 KB"):
        EspQemuBoard("esp32c3", flash_image(tmp_path, flash_bytes=32 << 20)).open()
    image = flash_image(tmp_path)
    overlapping = replace(image, parts=(*image.parts, FlashPart("model", 0x10010, image.parts[0].file)))
    with pytest.raises(BuildError, match=r"the app \(90000 bytes at 0x10000\) goes beyond 0x10010, where"):
        EspQemuBoard("esp32c3", overlapping).open()


def test_esp_emu_that_does_not_listen(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder(programs, "esp-emu", "import time; time.sleep(60)")
    monkeypatch.setattr(esp_emulators, "_START_TIMEOUT_S", 1.0)
    board = EspEmuBoard("esp32c3", flash_image(tmp_path))
    with pytest.raises(PortError, match=r"esp-emu did not open 127\.0\.0\.1:\d+ within 1 s.*esp-emu update"):
        board.open()
    assert board.state() == "esp-emu is not started"


def test_esp_qemu_that_ends_at_its_start_says_why(programs: Path, tmp_path: Path) -> None:
    recorder(programs, "qemu-system-riscv32", 'sys.exit("no such drive")')
    with pytest.raises(PortError, match=r"QEMU ended at its start: .* exited with code 1: no such drive"):
        EspQemuBoard("esp32c3", flash_image(tmp_path)).open()


def test_auto_takes_a_board_then_the_chips_emulator_then_the_instruction_set(
    riscv: Image, programs: Path, tmp_path: Path
) -> None:
    c3 = get_target("esp32c3")
    both = replace(riscv, flash=flash_image(tmp_path))
    board, reason = choose_board(c3, both, attachment=Attachment(port="/dev/ttyUSB9"))
    assert (board.info.kind, reason) == ("serial", "esp32c3: the board on /dev/ttyUSB9")
    board, reason = choose_board(c3, both)
    assert board.info.fidelity == "isa"
    assert reason.endswith("as no board is attached and no emulator of the chip is on PATH")
    with pytest.raises(
        UsageError, match=r"not for esp_idf \(as no board is attached and no emulator of the chip is on PATH"
    ):
        choose_board(c3, replace(both, platform="esp_idf"))

    recorder(programs, "esp-emu", "")
    assert choose_board(c3, both)[0].info.kind == "espemu"
    recorder(programs, "qemu-system-riscv32", "")
    qemu_machines.cache_clear()
    board, reason = choose_board(c3, both)
    assert (board.info.kind, board.info.fidelity) == ("esp_qemu", "soc")
    assert reason == (
        "esp32c3: Espressif's QEMU stands in (fidelity soc: the chip emulated, its flash image booted), "
        "as no board is attached"
    )
    with pytest.raises(UsageError, match="--board esp_qemu boots a flash image, and this firmware"):
        choose_board(c3, riscv, kind="esp_qemu")
    for kind in ("silicon", "serial"):
        with pytest.raises(UsageError, match="needs an attached board"):
            choose_board(c3, both, kind=kind)


def test_what_esptool_says_about_an_image_it_cannot_merge(programs: Path, tmp_path: Path) -> None:
    recorder(programs, "esp-emu", "")
    image = replace(flash_image(tmp_path), target="esp99")
    with pytest.raises(BuildError, match=r"esptool cannot merge the parts of the image: .*esp99"):
        EspEmuBoard("esp32c3", image).open()


@pytest.mark.parametrize(
    ("board", "find", "name"),
    [
        (EspQemuBoard, find_esp_qemu, f"Espressif's QEMU: {ESP_QEMU_REMEDY}"),
        (EspEmuBoard, find_espemu, f"esp-emu: {ESP_EMU_REMEDY}"),
    ],
)
def test_the_real_one_starts_and_says_that_flash_is_blank(
    board: type[EspQemuBoard] | type[EspEmuBoard],
    find: Callable[[str], Path | None],
    name: str,
    tmp_path: Path,
) -> None:
    if find("esp32c3") is None:
        pytest.skip(f"not on PATH: {name}")
    with board("esp32c3", flash_image(tmp_path)) as port:
        said = b""
        while b"invalid header" not in said:
            chunk = port.read(10.0)
            assert chunk, said
            said += chunk
