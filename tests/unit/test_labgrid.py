"""What the client of labgrid prints, what farm.toml says of it, and a client that is not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.errors import MissingError, PortError, UsageError
from harness.farm import labgrid
from harness.farm.exporter import exporter_configuration
from harness.farm.file import read_farm
from harness.farm.labgrid import CLIENT_VARIABLE, Coordinator, Place, find_client
from harness.farm.leases import STATE_VARIABLE, Leases
from harness.farm.places import HeldPlace

# As labgrid-client 26.0.1 prints them.
PLACES = """\
Place 's3-left':
  aliases: old
  comment: on the left: acquired
  tags: psram=octal, spare=yes, target=esp32s3
  matches:
    shelf/s3-left/*
  acquired: shelf-host/anna
  acquired resources:
    shelf/s3-left/NetworkSerialPort/NetworkSerialPort
  created: 2026-11-21 14:08:50.554061
  changed: 2026-11-21 14:08:58.583256
  reservation: YPUHM16WA4
Place 'empty':
  matches:
  acquired: None
  acquired resources:
  created: 2026-11-21 14:08:50.554061
  changed: 2026-11-21 14:08:50.554061
"""
SHOWN = """\
Place 's3-left':
  acquired: shelf-host/anna
Orphaned resource 'NetworkPowerPort' (far/s3-left/NetworkPowerPort/NetworkPowerPort)
Acquired resource 'console' (shelf/s3-left/NetworkSerialPort/USBSerialPort):
  {'acquired': 's3-left',
   'avail': True,
   'cls': 'NetworkSerialPort',
   'params': {'extra': {'path': '/dev/ttyUSB0', 'proxy_required': False},
              'host': 'shelf-host',
              'port': 35123,
              'speed': 115200}}
"""
CLIENT = """\
#!/bin/sh
cat "{said}"
exit {code}
"""


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A client that says what stands in `said`: for texts that a real one gives only after much ado."""
    program = tmp_path / "labgrid-client"
    program.write_text(CLIENT.format(said=tmp_path / "said", code=0))
    program.chmod(0o755)
    monkeypatch.setenv(CLIENT_VARIABLE, str(program))
    return tmp_path / "said"


def test_places_are_read(client: Path) -> None:
    client.write_text(PLACES)
    states = Coordinator("lab:20408").places()
    left, empty = states["s3-left"], states["empty"]
    assert left.tags == {"psram": "octal", "spare": "yes", "target": "esp32s3"}
    assert (left.acquired, left.reservation) == ("shelf-host/anna", "YPUHM16WA4")
    assert (empty.acquired, empty.reservation, empty.tags) == ("", "", {})
    holder = Place(Coordinator("lab:20408"), "s3-left").holder(left)
    assert str(holder).startswith("anna on shelf-host, since ")
    assert "14:08" in str(holder)
    with pytest.raises(PortError, match=r"has no place s3 \(there: empty, s3-left\)"):
        Place(Coordinator("lab:20408"), "s3").state()


def test_resources_are_read(client: Path) -> None:
    client.write_text(SHOWN)
    power, console = Place(Coordinator("lab:20408"), "s3-left").resources()
    assert (power.kind, power.exporter, power.params) == ("NetworkPowerPort", "far", None)
    assert (console.name, console.kind) == ("console", "NetworkSerialPort")
    assert console.params is not None
    assert console.params["port"] == 35123


def test_tagged_places_are_boards(client: Path, tmp_path: Path) -> None:
    client.write_text(PLACES)
    (tmp_path / "farm.toml").write_text('[labgrid]\ncoordinator = "lab"\ntags = ["spare"]\n')
    (board,) = read_farm(tmp_path / "farm.toml").boards
    assert (board.name, board.target, board.kind, board.present) == ("s3-left", "esp32s3", "serial", True)
    assert board.tags == {"psram=octal", "spare=yes", "spare", "target=esp32s3"}
    assert board.key == "labgrid:lab/s3-left"


BOARD = '[[board]]\nname = "b"\ntarget = "esp32s3"\nlabgrid = "s3-left"\n'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[labgrid]\ncoordinator = "a:b:c"\n', "farm.toml:2: coordinator: expected HOST or HOST:PORT, got"),
        ('[labgrid]\ncoordinater = "a"\n', "farm.toml:2: unknown key coordinater in .labgrid.. Did you"),
        ('[labgrid]\ntags = ["nowhere=yes"]\n', "farm.toml:1: labgrid at .* has no place with a tag target="),
        (BOARD + 'port = "/dev/x"\n', "farm.toml:4: labgrid: expected one of port, location, mac, emul"),
        (BOARD + BOARD.replace('"b"', '"c"'), "farm.toml:8: labgrid: expected a place of its own; b is"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_named(client: Path, tmp_path: Path, text: str, complaint: str) -> None:
    client.write_text(PLACES)
    (tmp_path / "farm.toml").write_text(text)
    with pytest.raises(UsageError, match=complaint):
        read_farm(tmp_path / "farm.toml")


def test_a_named_place_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CLIENT_VARIABLE, "/nowhere/labgrid-client")
    monkeypatch.setenv("LG_COORDINATOR", "other:1")
    (tmp_path / "farm.toml").write_text(BOARD)
    (board,) = read_farm(tmp_path / "farm.toml").boards
    assert board.labgrid == Place(Coordinator("other:1"), "s3-left")
    with pytest.raises(MissingError, match=r"no program /nowhere/labgrid-client.*pipx install labgrid"):
        find_client()


@pytest.mark.usefixtures("client")
def test_a_client_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "labgrid-client"
    program.write_text("#!/bin/sh\necho 'labgrid-client: Error: Match a/b has none' >&2\nexit 1\n")
    with pytest.raises(PortError, match=r"^labgrid at lab: Match a/b has none"):
        Coordinator("lab").run("acquire", place="p")
    program.write_text("#!/bin/sh\necho 'Server error: Could not connect to coordinator' >&2\nexit 1\n")
    with pytest.raises(PortError, match=r"^no labgrid coordinator answers at lab. Start labgrid-coordinator"):
        Coordinator("lab").places()
    program.write_text("#!/bin/sh\nsleep 60\n")
    monkeypatch.setattr(labgrid, "CLIENT_TIMEOUT_S", 0.1)
    with pytest.raises(PortError, match=r"sent nothing for 0.1 s"):
        Coordinator("lab").places()


@pytest.mark.usefixtures("client")
def test_a_place_is_released_once_by_its_holder_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forked child that ends releases nothing, and keeps nothing from being released."""
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    log = tmp_path / "log"
    (tmp_path / "labgrid-client").write_text(f'#!/bin/sh\necho "$@" >> {log}\n')
    lease = Leases().take("k", 60)
    assert lease is not None
    held = HeldPlace(Place(Coordinator("lab"), "p"), lease)
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    assert log.read_text() == "-x lab -p p acquire\n"
    idle = os.fork()
    if idle == 0:
        os.read(os.pipe()[0], 1)
    held.release()
    os.kill(idle, 9)
    os.waitpid(idle, 0)
    held.release()
    assert log.read_text().splitlines()[1:] == [f"-x lab -p p release-from {labgrid.our_name()}"]
    lease.release()
    assert Leases().holder("k") is None


SHELF = """\
[[board]]
name = "c3"
target = "esp32c3"
location = "1-2.3"
power = { hub = "1-2", port = 3 }
[[board]]
name = "c6"
target = "esp32c6"
mac = "7c:df:a1:00:11:22"
power = { on = "http://plug/1", off = "http://plug/0" }
[[board]]
name = "s2"
target = "esp32s2"
port = "/dev/ttyS9"
power = { on = "http://plug/on", off = "http://plug/off" }
"""


def test_what_an_exporter_is_told(tmp_path: Path) -> None:
    (tmp_path / "farm.toml").write_text(SHELF)
    text = exporter_configuration(read_farm(tmp_path / "farm.toml"), "ser2net")
    assert '"c3":\n  USBSerialPort:\n    match: {"@sys_name": "1-2.3"}\n' in text
    assert 'USBPowerPort:\n    match: {"sys_name": "1-2:1.0"}\n    index: 3\n' in text
    assert 'match: {"ID_SERIAL_SHORT": "7C:DF:A1:00:11:22"}' in text
    assert 'model: "simplerest"\n    host: "http://plug/{value}"' in text
    assert "## Its plug at plug: choose a model" in text
    remarks = [line.strip() for line in text.splitlines() if line.strip().startswith("#")]
    assert all(line.startswith("##") for line in remarks), "labgrid takes a single # for Jinja's"


def test_esptools_server_needs_a_device(tmp_path: Path) -> None:
    (tmp_path / "farm.toml").write_text(SHELF)
    with pytest.raises(UsageError, match=r"c3 \(USB 1-2.3\) is not attached, so esp_rfc2217_server cannot"):
        exporter_configuration(read_farm(tmp_path / "farm.toml"), "esptool")
    (tmp_path / "farm.toml").write_text(SHELF[SHELF.index('[[board]]\nname = "s2"') :])
    text = exporter_configuration(read_farm(tmp_path / "farm.toml"), "esptool")
    assert "## esp_rfc2217_server -p 4000 /dev/ttyS9\n" in text
    assert 'host: "{{ hostname }}"\n    port: 4000\n    protocol: "rfc2217"' in text


def test_emulators_are_not_exported(tmp_path: Path) -> None:
    (tmp_path / "farm.toml").write_text('[[board]]\nname = "e"\ntarget = "esp32c3"\nemulator = "qemu"\n')
    with pytest.raises(UsageError, match="has no attached board to export"):
        exporter_configuration(read_farm(tmp_path / "farm.toml"), "ser2net")
