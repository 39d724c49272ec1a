"""Which of several attached boards is meant: by chip, MAC and USB place. Two stand-ins are attached."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from serial.tools import list_ports

from harness.boards import Attachment, choose_board
from harness.boards.detect import find_port, usb_ports
from harness.doctor import Check, diagnose
from harness.errors import IdentityError, PortError, UsageError
from harness.targets import get_target
from tests.stand_in.attached_board import AttachedBoard
from tests.stand_in.flash_images import boots
from tests.usb_listing import UsbInfo

C3_MAC, S3_MAC = "7c:df:a1:00:00:c3", "7c:df:a1:00:00:53"


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[AttachedBoard, AttachedBoard]]:
    """An ESP32-C3 at 1-1.1 and an ESP32-S3 at 1-1.2, beside a port that is none of ours."""
    with (
        AttachedBoard("esp32c3", boots(), mac=C3_MAC) as c3,
        AttachedBoard("esp32s3", boots(), mac=S3_MAC) as s3,
    ):
        for name, value in c3.environment.items():
            monkeypatch.setenv(name, value)
        listed = [
            UsbInfo(c3.path, location="1-1.1"),
            UsbInfo(s3.path, location="1-1.2:1.0"),
            UsbInfo("/dev/ttyS0", vid=None, location=None),
            UsbInfo("/dev/ttyACM9", vid=0x2341),
        ]
        monkeypatch.setattr(list_ports, "comports", lambda: listed)
        yield c3, s3


def test_by_chip(two: tuple[AttachedBoard, AttachedBoard]) -> None:
    c3, s3 = two
    assert find_port(Attachment(), "esp32s3") == s3.path
    board, reason = choose_board(get_target("esp32c3"), None, kind="silicon")
    assert (board.info.name, board.info.fidelity) == (c3.path, "silicon")
    assert reason == f"esp32c3: real silicon on {c3.path}, the first that has this chip"
    with pytest.raises(PortError) as caught:
        find_port(Attachment(), "esp32p4")
    assert str(caught.value) == (
        f"no esp32p4 is attached (boards here: {c3.path} esp32c3 {C3_MAC}, {s3.path} esp32s3 {S3_MAC}). "
        "Attach one, or give --port"
    )


def test_by_mac_and_by_place(two: tuple[AttachedBoard, AttachedBoard]) -> None:
    c3, s3 = two
    assert find_port(Attachment(mac=S3_MAC.upper().replace(":", "-")), "esp32s3") == s3.path
    before = c3.boots, s3.boots
    assert find_port(Attachment(location="1-1.2"), "esp32s3") == s3.path
    assert (c3.boots, s3.boots) == before, "a place needs no chip to be asked"
    assert find_port(Attachment(port=c3.path, mac=C3_MAC), "esp32c3") == c3.path
    with pytest.raises(IdentityError, match=rf"expected MAC {S3_MAC} on {c3.path}, found {C3_MAC}"):
        find_port(Attachment(port=c3.path, mac=S3_MAC), "esp32c3")
    with pytest.raises(PortError, match=rf"no attached board has MAC 00:00:00:00:00:01 .*{C3_MAC}.*{S3_MAC}"):
        find_port(Attachment(mac="00:00:00:00:00:01"), "esp32c3")
    with pytest.raises(PortError, match=r"no board at USB location 2-1 \(boards here: .* at 1-1.1,"):
        find_port(Attachment(location="2-1"), "esp32c3")
    with pytest.raises(UsageError, match="expected a MAC such as"):
        choose_board(get_target("esp32c3"), None, attachment=Attachment(mac="c3"))


def test_the_mac_that_a_chips_own_usb_shows_needs_no_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = [UsbInfo("/dev/ttyACM1", vid=0x303A, serial_number="7C:DF:A1:00:00:C3")]
    monkeypatch.setattr(list_ports, "comports", lambda: listed)
    assert find_port(Attachment(mac=C3_MAC), "esp32c3") == "/dev/ttyACM1"
    assert [port.vendor for port in usb_ports()] == ["Espressif"]


def test_doctor_names_the_boards(two: tuple[AttachedBoard, AttachedBoard]) -> None:
    c3, s3 = two
    boards = {check.name: check for check in diagnose() if check.name.startswith("board ")}
    assert set(boards) == {f"board {c3.path}", f"board {s3.path}"}
    found = boards[f"board {s3.path}"]
    assert found.found is not None
    assert found.found.startswith(f"ESP32-S3 (QFN56) (revision v0.0), MAC {S3_MAC}, 4 MB flash, Silicon Labs")


def test_doctor_says_what_keeps_a_board_from_use(
    two: tuple[AttachedBoard, AttachedBoard], monkeypatch: pytest.MonkeyPatch
) -> None:
    c3, _ = two

    def checks() -> dict[str, Check]:
        return {check.name: check for check in diagnose()}

    monkeypatch.setattr("harness.boards.port_faults.may_open", lambda _: False)
    monkeypatch.setattr("harness.doctor.may_open", lambda _: False)
    check = checks()[f"board {c3.path}"]
    assert check.found is None
    assert "/etc/udev/rules.d/60-esp32.rules" in check.remedy or "usermod -aG" in check.remedy


def test_a_board_that_does_not_answer_is_named_with_the_others(
    two: tuple[AttachedBoard, AttachedBoard], monkeypatch: pytest.MonkeyPatch
) -> None:
    c3, s3 = two
    monkeypatch.delenv("LD_PRELOAD")
    # Whether esptool hears silence or what the firmware says is a matter of when it listens.
    silent = "(no ROM loader answers on {0}|the chip on {0} ran its firmware, not the ROM loader)"
    with pytest.raises(PortError, match=f"{silent.format(c3.path)}.*{silent.format(s3.path)}"):
        find_port(Attachment(), "esp32c3")
