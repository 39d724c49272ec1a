"""farm.toml: what it may say, and the line named when it says something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.boards import Attachment
from harness.errors import UsageError
from harness.farm.file import find_farm, place_key, read_farm
from harness.farm.power import HttpPlug, HubPort
from harness.farm.shelf import Shelf, Wish
from harness.targets import get_target

WHOLE = """\
[[board]]
name = "s3-left"
target = "esp32s3"
location = "1-2.3"
tags = ["psram", "flash=16MB", "rev0.2"]
max_baud = 921600
power = { hub = "1-2", port = 3 }

[[board]]
name = "c3-far"
target = "esp32c3"
port = "rfc2217://shelf:4000"
baud = 460800
reset = "none"
[board.power]
on = "http://plug/relay/0?turn=on"
off = "http://plug/relay/0?turn=off"

[[board]]
name = "c6"
target = "esp32c6"
mac = "7c:df:a1:00:11:22"

[[board]]
name = "c3-emulated"
target = "esp32c3"
emulator = "qemu"
"""


def written(directory: Path, text: str) -> Path:
    path = directory / "farm.toml"
    path.write_text(text)
    return path


def test_a_whole_file(tmp_path: Path) -> None:
    farm = read_farm(written(tmp_path, WHOLE))
    left, far, by_mac, emulated = farm.boards
    assert (left.kind, left.attachment.location, left.max_baud) == ("serial", "1-2.3", 921600)
    assert left.tags == {"psram", "flash=16MB", "rev0.2"}
    assert left.power == HubPort("1-2", 3)
    assert (far.attachment.port, far.attachment.baud, far.attachment.reset) == (
        "rfc2217://shelf:4000",
        460800,
        "none",
    )
    assert isinstance(far.power, HttpPlug)
    assert "turn=" not in str(far.power), "addresses carry passwords"
    assert (by_mac.attachment.mac, by_mac.power) == ("7c:df:a1:00:11:22", None)
    assert (emulated.kind, emulated.place) == ("qemu", "emulator qemu")


LINES = WHOLE.splitlines()


@pytest.mark.parametrize(
    ("line", "instead", "said"),
    [
        (2, "", "farm.toml:1: name: expected text, got nothing"),
        (2, 'name = "auto"', "farm.toml:2: name: expected letters, digits,"),
        (2, 'name = "c6"', "farm.toml:20: name: expected a name no other board has, got 'c6'"),
        (3, 'target = "esp33"', "farm.toml:3: target: expected one of esp32, "),
        (
            4,
            "",
            "farm.toml:1: port: expected one of port, location, mac, emulator, labgrid, and only one",
        ),
        (4, 'location = "1"\nmac = "7c"', "farm.toml:5: mac: expected one of port, location, mac, emulator"),
        (
            4,
            'port = "rfc2217://shelf:4000"',
            "farm.toml:12: port: expected a place of its own; s3-left is there",
        ),
        (5, "tags = [3]", "farm.toml:5: tags: expected text, got 3"),
        (6, "max_bauds = 1", "farm.toml:6: unknown key max_bauds in [board]. Did you mean max_baud?"),
        (6, 'max_baud = "fast"', "farm.toml:6: max_baud: expected a whole number"),
        (
            6,
            "max_baud = 9600\nbaud = 115200",
            "farm.toml:7: baud: expected at most max_baud, 9600, got 115200",
        ),
        (7, "power = { hub = 3, port = 3 }", "farm.toml:7: hub: expected text, got 3"),
        (7, "power = { hub = '1' }", "farm.toml:7: port: expected a whole number of at least 1, got nothing"),
        (7, "power = {}", "farm.toml:7: power: expected hub and port (uhubctl), or on and off (addresses)"),
        (7, "power = true", "farm.toml:7: power: expected a table"),
        (12, 'port = "telnet://x:1"', "farm.toml:12: port: expected a device path, rfc2217://HOST:PORT or"),
        (12, 'port = "socket://x"', "farm.toml:12: port: expected a device path, rfc2217://HOST:PORT or"),
        (14, 'reset = "hard"', "farm.toml:14: reset: expected one of dtr-rts, usb-jtag, watchdog, none"),
        (16, 'on = "plug"', "farm.toml:16: on: expected http://HOST/… without user:password@, got 'plug'"),
        (17, "", "farm.toml:15: off: expected text, got nothing"),
        (22, 'mac = "7c"', "farm.toml:22: mac: expected a MAC such as 7c:df:a1:00:11:22, got '7c'"),
        (26, 'target = "himax_we1"', "farm.toml:26: target: expected a target that something here emulates"),
        (27, 'emulator = "bochs"', "farm.toml:27: emulator: expected one of qemu, host, esp_qemu, espemu"),
        (
            27,
            'emulator = "qemu"\nbaud = 1',
            "farm.toml:28: baud: expected nothing: an emulator has none, got 1",
        ),
        (1, "[[bord]]", "farm.toml:1: unknown key bord. Did you mean board?"),
        (1, "[[board", "farm.toml:1: expected TOML"),
    ],
)
def test_what_cannot_be_meant_is_named_with_its_line(
    line: int, instead: str, said: str, tmp_path: Path
) -> None:
    text = "\n".join([*LINES[: line - 1], instead, *LINES[line:]])
    with pytest.raises(UsageError) as caught:
        read_farm(written(tmp_path, text))
    assert said in str(caught.value)


def test_an_empty_file_is_no_farm(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected at least one \[\[board\]\] or \[labgrid\], got none"):
        read_farm(written(tmp_path, ""))


def test_where_the_file_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_FARM", raising=False)
    assert find_farm("", tmp_path).boards == ()
    written(tmp_path, WHOLE)
    assert len(find_farm("", tmp_path).boards) == 4
    other = tmp_path / "other.toml"
    other.write_text(WHOLE.partition("\n\n")[0])
    monkeypatch.setenv("HARNESS_FARM", str(other))
    assert len(find_farm("", tmp_path).boards) == 1
    assert len(find_farm(str(tmp_path / "farm.toml"), tmp_path).boards) == 4
    with pytest.raises(UsageError, match="cannot be read"):
        find_farm(str(tmp_path / "absent.toml"), tmp_path)


def test_a_board_has_one_lock_however_its_port_is_written(tmp_path: Path) -> None:
    (tmp_path / "ttyUSB0").write_text("")
    (tmp_path / "by-id").symlink_to(tmp_path / "ttyUSB0")
    ways = (Attachment(port=str(tmp_path / name)) for name in ("ttyUSB0", "by-id"))
    assert len({place_key(way) for way in ways}) == 1


@pytest.mark.parametrize(
    ("target", "wish", "kind"),
    [
        ("esp32s3", {}, "serial"),
        ("esp32c3", {}, "serial"),
        ("esp32c3", {"board": "qemu"}, "qemu"),
        ("esp32c3", {"board": "c3-emulated"}, "qemu"),
        ("esp32c3", {"board": "host"}, "host"),
        ("esp32s3", {"tags": frozenset({"psram"})}, "serial"),
        ("esp32", {}, "auto"),
    ],
)
def test_real_boards_come_before_emulators(
    target: str, wish: dict[str, object], kind: str, tmp_path: Path
) -> None:
    shelf = Shelf(read_farm(written(tmp_path, WHOLE)), Wish(**wish))  # type: ignore[arg-type]
    shelf.check(get_target(target))
    assert shelf.kind(get_target(target)) == kind


@pytest.mark.parametrize(
    ("target", "wish", "said"),
    [
        ("esp32s3", {"board": "c3-far"}, "no c3-far that is an esp32s3 in "),
        ("esp32c3", {"tags": frozenset({"psram"})}, "no esp32c3 with psram in "),
        (
            "esp32c3",
            {"board": "nemo"},
            "or a board of the farm (s3-left, c3-far, c6, c3-emulated), got 'nemo'",
        ),
    ],
)
def test_what_the_farm_has_not_is_said(
    target: str, wish: dict[str, object], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        Shelf(read_farm(written(tmp_path, WHOLE)), Wish(**wish)).check(get_target(target))  # type: ignore[arg-type]
    assert said in str(caught.value)
