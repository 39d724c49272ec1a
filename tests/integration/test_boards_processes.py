"""Boards that are processes: how they start, how they end, and that none outlives us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.boards import Attachment, choose_board
from harness.boards.host import HostBoard
from harness.boards.qemu import QemuBoard
from harness.errors import MissingError, PortError, UsageError
from harness.link.client import Link
from harness.targets import get_target
from harness.toolchains.base import Image
from tests.firmware_demo import build_demo

DEADLINE_S = 20.0
CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def riscv(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return build_demo("qemu_riscv32", tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return build_demo("host", tmp_path_factory.mktemp("images"))


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_until_dead(pid: int) -> bool:
    give_up_s = time.monotonic() + DEADLINE_S
    while alive(pid):
        if time.monotonic() > give_up_s:
            return False
        os.sched_yield()
    return True


PARENT = """
import sys
from pathlib import Path
from harness.boards.{module} import {board} as Board
board = Board({arguments})
board.open()
print(board._process.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("kind", ["qemu", "host"])
def test_the_board_dies_with_a_parent_that_is_killed(kind: str, riscv: Image, native: Image) -> None:
    if kind == "qemu":
        arguments = f"'esp32c3', 'qemu_riscv32', Path({str(riscv.elf)!r})"
        script = PARENT.format(module="qemu", board="QemuBoard", arguments=arguments)
    else:
        script = PARENT.format(module="host", board="HostBoard", arguments=f"'x', Path({str(native.elf)!r})")
    parent = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
    )
    assert parent.stdout
    pid = int(parent.stdout.readline())
    assert alive(pid)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert parent.stdin
    parent.stdin.close()
    assert wait_until_dead(pid)


def test_close_leaves_no_process_and_may_be_called_twice(riscv: Image) -> None:
    board = QemuBoard("esp32c3", "qemu_riscv32", riscv.elf)
    board.open()
    pid = board.pid
    assert pid
    assert board.state().startswith("QEMU is running at pc 0x8000")
    board.close()
    board.close()
    assert not alive(pid)
    assert board.state() == "QEMU is not started"


def test_qemu_that_ends_at_its_start_says_why(tmp_path: Path) -> None:
    elf = tmp_path / "firmware.elf"
    elf.write_bytes(b"\x7fELF of something else")
    board = QemuBoard("esp32s3", "qemu_xtensa", elf)
    with pytest.raises(
        PortError, match=r"QEMU ended at its start: qemu-system-xtensa exited with code 1: .+"
    ):
        board.open()
    with pytest.raises(PortError, match="no firmware at"):
        QemuBoard("esp32s3", "qemu_xtensa", tmp_path / "absent.elf").open()


def test_qemu_not_installed(monkeypatch: pytest.MonkeyPatch, riscv: Image) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(
        MissingError, match=r"qemu-system-riscv32 is not installed.*apt-get install qemu-system"
    ):
        choose_board(get_target("esp32c3"), riscv)


@pytest.mark.parametrize("kind", ["qemu", "host"])
def test_a_board_that_is_killed_in_mid_run(kind: str, riscv: Image, native: Image) -> None:
    image = riscv if kind == "qemu" else native
    board, _ = choose_board(get_target("esp32c3"), image, kind=kind)
    with board as port:
        link = Link(port, board_state=board.state)
        link.connect()
        os.kill(board._process.pid, signal.SIGKILL)  # type: ignore[attr-defined]
        with pytest.raises(PortError, match=r"the board is gone: .* was killed by SIGKILL"):
            link.identify()


def test_what_a_crashing_process_wrote_is_in_the_error(tmp_path: Path) -> None:
    program = tmp_path / "crash"
    source = tmp_path / "crash.c"
    source.write_text("int main(int n, char **v) { int a[1] = {0}; (void)v; return a[n]; }")
    subprocess.run(["gcc", "-g", "-fsanitize=address", str(source), "-o", str(program)], check=True)
    with (
        pytest.raises(PortError, match=r"(?s)exited with code 1: .*AddressSanitizer: stack-buffer-overflow"),
        HostBoard("esp32c3", program) as port,
    ):
        Link(port).connect()


def test_nothing_falls_back(riscv: Image, native: Image) -> None:
    c3 = get_target("esp32c3")
    for kind in ("silicon", "serial"):
        with pytest.raises(UsageError, match="needs an attached board"):
            choose_board(c3, riscv, kind=kind)
    with pytest.raises(UsageError, match=r"one of auto, qemu, host, .*, got 'qemo'"):
        choose_board(c3, riscv, kind="qemo")
    with pytest.raises(UsageError, match="--board qemu does not use a port"):
        choose_board(c3, riscv, kind="qemu", attachment=Attachment(port="/dev/ttyUSB0"))
    with pytest.raises(UsageError, match="not for host"):
        choose_board(c3, native, kind="qemu")
    board, reason = choose_board(c3, riscv)
    assert (board.info.kind, board.info.fidelity) == ("qemu", "isa")
    assert "QEMU stands in" in reason
    assert "not the chip" in reason
    board, reason = choose_board(c3, None, attachment=Attachment(port="/dev/ttyUSB9"))
    assert (board.info.kind, board.info.fidelity, reason) == (
        "serial",
        "unknown",
        "esp32c3: the board on /dev/ttyUSB9",
    )
