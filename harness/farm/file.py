"""`farm.toml`: the boards of a shelf, as their owner describes them. Read and checked; nothing is opened."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from harness.boards.choose import KINDS
from harness.boards.detect import Attachment, normal_mac, usb_ports
from harness.boards.esptool import RESETS
from harness.errors import UsageError
from harness.farm.labgrid import COORDINATOR_VARIABLE, DEFAULT_COORDINATOR, Coordinator, Place, words
from harness.farm.power import HttpPlug, HubPort, Power
from harness.targets import TARGETS
from harness.toml_file import Table, load

VARIABLE = "HARNESS_FARM"
FILE_NAME = "farm.toml"
EMULATORS = ("qemu", "host", "esp_qemu", "espemu")
_PLACES = ("port", "location", "mac", "emulator", "labgrid")
_SCHEMES = ("", "rfc2217", "socket")


@dataclass(frozen=True)
class FarmBoard:
    """One board of a shelf.

    `kind` is serial, or which emulator; `attachment` says where a serial one is. One in a place of labgrid
    has its port only once the place is acquired. `max_baud` is what its line can do, 0 for no limit. `scope`
    tells emulators of different files apart.
    """

    name: str
    target: str
    kind: str = "serial"
    attachment: Attachment = field(default_factory=Attachment)
    tags: frozenset[str] = frozenset()
    max_baud: int = 0
    power: Power | None = None
    scope: str = ""
    labgrid: Place | None = None

    @property
    def place(self) -> str:
        """Where it is, as a reader of the file knows it."""
        where = self.attachment
        if self.labgrid:
            return str(self.labgrid)
        if where.port:
            return where.port
        if where.location:
            return f"USB {where.location}"
        return f"MAC {where.mac}" if where.mac else f"emulator {self.kind}"

    @property
    def present(self) -> bool:
        """False for a board whose port is surely not there; nothing is opened for it."""
        where = self.attachment
        if where.location:
            key = _usb_key(where.location)
            return any(_usb_key(port.location) == key for port in usb_ports())
        return not where.port or bool(urlsplit(where.port).scheme) or os.path.exists(where.port)

    @property
    def key(self) -> str:
        """What its lock is called: the same for everyone who means the same board."""
        if self.kind != "serial":
            return f"emulator:{self.scope}:{self.name}"
        if self.labgrid:
            return self.labgrid.key
        return place_key(self.attachment)


def place_key(attachment: Attachment) -> str:
    """One name for a place, however it is written: the USB location where it has one."""
    ports = usb_ports()
    if attachment.mac and not attachment.port:
        wanted = normal_mac(attachment.mac)
        # A chip's own USB says its MAC; behind a bridge only the chip knows, and is not asked for this.
        ports = [port for port in ports if port.serial_number.replace(":", "").lower() == wanted]
        if not ports:
            return f"mac:{wanted}"
        return _usb_key(ports[0].location) or ports[0].device
    if attachment.location:
        return _usb_key(attachment.location)
    port = attachment.port or ""
    if urlsplit(port).scheme:
        return port
    device = os.path.realpath(port)
    found = next((usb.location for usb in ports if os.path.realpath(usb.device) == device), "")
    return _usb_key(found) or device


def _usb_key(location: str) -> str:
    place = location.partition(":")[0]
    return f"usb:{place}" if place else ""


@dataclass(frozen=True)
class Farm:
    """The boards of one file; `path` None where there is no file, and so no boards."""

    boards: tuple[FarmBoard, ...] = ()
    path: Path | None = None

    def board(self, name: str) -> FarmBoard | None:
        return next((board for board in self.boards if board.name == name), None)


def find_farm(explicit: str, root: Path) -> Farm:
    """The farm asked for (`--farm`), else $HARNESS_FARM, else `root`/farm.toml, else none.

    Raises:
        UsageError: with file and line, for what cannot be meant.
    """
    named = explicit or os.environ.get(VARIABLE, "")
    path = Path(named) if named else root / FILE_NAME
    return read_farm(path) if named or path.is_file() else Farm()


def read_farm(path: Path) -> Farm:
    """Raises UsageError, with file and line, for what cannot be meant; as `Coordinator.run` for [labgrid]."""
    top = load(path)
    top.known({"board", "labgrid"})
    tables = top.tables("board")
    if not tables and "labgrid" not in top:
        raise UsageError(
            f"{path}: expected at least one [[board]] or [labgrid], got none", "See docs/farm.md"
        )
    coordinator = _coordinator(top)
    scope = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:8]
    boards: list[FarmBoard] = []
    for table in tables:
        board = _board(table, scope, coordinator)
        for other in boards:
            if other.name == board.name:
                raise table.error("name", "a name no other board has")
            if other.place == board.place and board.kind == "serial":
                key = next(key for key in _PLACES if key in table)
                raise table.error(key, f"a place of its own; {other.name} is there")
        boards.append(board)
    if "labgrid" in top and not any(board.labgrid for board in boards):
        boards += _tagged_places(top.table("labgrid"), coordinator, {board.name for board in boards})
    return Farm(tuple(boards), path)


def _coordinator(top: Table) -> Coordinator:
    """As labgrid-client: the one named, else $LG_COORDINATOR, else the usual port here."""
    table = top.table("labgrid") if "labgrid" in top else Table(top.path, (), {}, {})
    table.known({"coordinator", "client", "tags"})
    usual = os.environ.get(COORDINATOR_VARIABLE) or DEFAULT_COORDINATOR
    address = table.text("coordinator", usual)
    if not re.fullmatch(r"[^\s/:]+(:\d+)?", address):
        raise table.error("coordinator", "HOST or HOST:PORT")
    return Coordinator(address, table.text("client") if "client" in table else "")


def _tagged_places(table: Table, coordinator: Coordinator, taken: set[str]) -> list[FarmBoard]:
    """The places whose tag `target` is a chip, and that have all `tags`."""
    wanted = set(table.texts("tags", ()))
    boards = []
    for name, state in sorted(coordinator.places().items()):
        tags, target = frozenset(words(state.tags)), state.tags.get("target", "")
        if target not in TARGETS or not wanted <= tags:
            continue
        if name in taken or name in KINDS:
            raise table.error(
                "coordinator", f"no place called {name}, which means something else here already"
            )
        boards.append(FarmBoard(name, target, tags=tags, labgrid=Place(coordinator, name)))
    if not boards:
        raise UsageError(
            f"{table.path}:{table.line()}: labgrid at {coordinator.address} has no place with "
            f"{', '.join(['a tag target=CHIP', *sorted(wanted)])}",
            f"labgrid-client -x {coordinator.address} -p PLACE set-tags target=esp32s3",
        )
    return boards


def _board(table: Table, scope: str, coordinator: Coordinator) -> FarmBoard:
    table.known({"name", "target", *_PLACES, "baud", "max_baud", "reset", "tags", "power"})
    name = table.text("name")
    if name in KINDS or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise table.error("name", f"letters, digits, '-', '_' and '.', and none of {', '.join(KINDS)}")
    target = table.choice("target", tuple(TARGETS))
    kind = _kind(table)
    if kind != "serial" and TARGETS[target].isa_platform is None:
        raise table.error("target", "a target that something here emulates")
    max_baud = table.whole("max_baud", 0)
    attachment = Attachment()
    if kind == "serial":
        attachment = Attachment(
            port=_port(table) if "port" in table else None,
            mac=_mac(table) if "mac" in table else None,
            location=table.text("location") if "location" in table else None,
            baud=table.whole("baud", minimum=1) if "baud" in table else None,
            reset=table.choice("reset", tuple(RESETS), "dtr-rts"),
        )
        if max_baud and (attachment.baud or 0) > max_baud:
            raise table.error("baud", f"at most max_baud, {max_baud}")
    else:
        for key in ("baud", "max_baud", "reset", "power"):
            if key in table:
                raise table.error(key, "nothing: an emulator has none")
    tags = frozenset(table.texts("tags", ()))
    place = Place(coordinator, table.text("labgrid")) if "labgrid" in table else None
    return FarmBoard(name, target, kind, attachment, tags, max_baud, _power(table), scope, place)


def _kind(table: Table) -> str:
    given = [key for key in _PLACES if key in table]
    if len(given) != 1:
        key = given[1] if given else "port"
        raise table.error(key, f"one of {', '.join(_PLACES)}, and only one")
    return table.choice("emulator", EMULATORS) if given == ["emulator"] else "serial"


def _port(table: Table) -> str:
    port = table.text("port")
    parts = urlsplit(port)
    try:
        complete = not parts.scheme or bool(parts.hostname and parts.port)
    except ValueError:
        complete = False
    if parts.scheme not in _SCHEMES or not complete:
        raise table.error("port", "a device path, rfc2217://HOST:PORT or socket://HOST:PORT")
    return port


def _mac(table: Table) -> str:
    mac = table.text("mac")
    try:
        normal_mac(mac)
    except UsageError:
        raise table.error("mac", "a MAC such as 7c:df:a1:00:11:22") from None
    return mac


def _power(table: Table) -> Power | None:
    if "power" not in table:
        return None
    power = table.table("power")
    power.known({"hub", "port", "on", "off"})
    if "hub" in power:
        power.known({"hub", "port"})
        return HubPort(power.text("hub"), power.whole("port", minimum=1))
    if not {"on", "off"} & set(power.values):
        raise table.error("power", "hub and port (uhubctl), or on and off (addresses)")
    power.known({"on", "off"})
    return HttpPlug(_address(power, "on"), _address(power, "off"))


def _address(power: Table, key: str) -> str:
    address = power.text(key)
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise power.error(key, "http://HOST/… without user:password@")
    return address
