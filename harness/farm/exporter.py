"""A shelf of farm.toml as the configuration of labgrid-exporter, and the commands that go with it.

Only text is made here: nothing is opened, and labgrid is not asked.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from urllib.parse import urlsplit

from harness.boards.detect import UsbPort, normal_mac, usb_ports
from harness.errors import UsageError
from harness.farm.file import Farm, FarmBoard
from harness.farm.labgrid import DEFAULT_COORDINATOR
from harness.farm.power import HttpPlug, HubPort, Power

SERVERS = ("ser2net", "esptool")
_FIRST_PORT = 4000
_BY_PATH = Path("/dev/serial/by-path")
_SHELLY = re.compile(r"(https?://[^/]+)/relay/(\d+)\?turn=(on|off)")
Values = dict[str, object]


def exporter_configuration(farm: Farm, server: str) -> str:
    """The YAML text.

    Args:
        server: of `SERVERS`: what serves the lines of boards that are attached to this host.

    Raises:
        UsageError: no board of the file can be exported, or esptool's server needs one that is not attached.
    """
    boards = [board for board in farm.boards if board.kind == "serial" and board.labgrid is None]
    if not boards:
        raise UsageError(
            f"{farm.path} has no attached board to export: emulators and places of labgrid are none",
            "Add a [[board]] with port, location or mac",
        )
    groups, servers = [], []
    for number, board in enumerate(boards, start=_FIRST_PORT):
        resources, device = _line(board, number if server == "esptool" else 0)
        if device:
            servers.append(f"esp_rfc2217_server -p {number} {shlex.quote(device)}")
        power, remark = _power(board.power)
        groups.append(_yaml(board.name, {**resources, **power}, remark))
    return "\n".join([*(f"## {line}".rstrip() for line in _commands(boards, servers)), "", *groups])


def _commands(boards: list[FarmBoard], servers: list[str]) -> list[str]:
    """What to run, as comments; `##`, since labgrid takes lines with one # for Jinja statements."""
    client = "labgrid-client -x HOST"
    lines = [
        "Written by: harness farm export. On this host, with HOST where the coordinator runs (port "
        f"{DEFAULT_COORDINATOR.partition(':')[2]}):",
        *servers,
        'labgrid-exporter -c HOST -n "$(hostname)" exporter.yaml',
        "Once, from anywhere, with EXPORTER as `hostname` says here:",
    ]
    for board in boards:
        name = shlex.quote(board.name)
        tags = [
            f"target={board.target}",
            *(tag if "=" in tag else f"{tag}=yes" for tag in sorted(board.tags)),
        ]
        lines += [
            f"{client} -p {name} create",
            f"{client} -p {name} set-tags {' '.join(map(shlex.quote, tags))}",
            f"{client} -p {name} add-match {shlex.quote(f'EXPORTER/{board.name}/*')}",
        ]
    return lines


def _line(board: FarmBoard, server_port: int) -> tuple[dict[str, Values], str]:
    """The resource for its line; and its device where a server of `server_port` is to be started for it."""
    where = board.attachment
    speed: Values = {"speed": where.baud} if where.baud else {}
    parts = urlsplit(where.port or "")
    if parts.scheme:
        protocol = "raw" if parts.scheme == "socket" else "rfc2217"
        remote: Values = {"host": parts.hostname, "port": parts.port, "protocol": protocol}
        return {"NetworkSerialPort": {**remote, **speed}}, ""
    if server_port:
        own: Values = {"host": "{{ hostname }}", "port": server_port, "protocol": "rfc2217"}
        return {"NetworkSerialPort": {**own, **speed}}, _device(board)
    if where.port:
        return {"RawSerialPort": {"port": where.port, **speed}}, ""
    match: Values = {"@sys_name": where.location.partition(":")[0]} if where.location else _by_mac(board)
    return {"USBSerialPort": {"match": match, **speed}}, ""


def _by_mac(board: FarmBoard) -> Values:
    """By the serial number of the chip's own USB, which is its MAC; a bridge has another."""
    assert board.attachment.mac is not None
    found = _attached(board)
    digits = normal_mac(board.attachment.mac).upper()
    written = ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))
    return {"ID_SERIAL_SHORT": found.serial_number if found else written}


def _device(board: FarmBoard) -> str:
    """The device path that stays: by its USB place, where udev makes such names."""
    if board.attachment.port:
        return board.attachment.port
    found = _attached(board)
    if found is None:
        raise UsageError(
            f"{board.name} ({board.place}) is not attached, so esp_rfc2217_server cannot be told its device",
            "Attach it, or export with --server ser2net",
        )
    if _BY_PATH.is_dir():
        for link in sorted(_BY_PATH.iterdir()):
            if link.resolve() == Path(found.device).resolve():
                return str(link)
    return found.device


def _attached(board: FarmBoard) -> UsbPort | None:
    where = board.attachment
    for port in usb_ports():
        if where.location and port.location.partition(":")[0] == where.location.partition(":")[0]:
            return port
        if where.mac and port.serial_number.replace(":", "").lower() == normal_mac(where.mac):
            return port
    return None


def _power(power: Power | None) -> tuple[dict[str, Values], str]:
    """The resource for its supply; or none, and a remark on one that labgrid has to be told by hand."""
    if isinstance(power, HubPort):
        # labgrid wants the hub's interface; its parent, whose name uhubctl shows, has other hubs below it.
        return {"USBPowerPort": {"match": {"sys_name": f"{power.hub}:1.0"}, "index": power.port}}, ""
    if isinstance(power, HttpPlug):
        on, off = _SHELLY.fullmatch(power.on), _SHELLY.fullmatch(power.off)
        if on and off and on[1] == off[1] and on[2] == off[2]:
            return {"NetworkPowerPort": {"model": "shelly_gen1", "host": on[1], "index": int(on[2])}}, ""
        pattern = _one_and_zero(power.on, power.off)
        if pattern:
            return {"NetworkPowerPort": {"model": "simplerest", "host": pattern, "index": 0}}, ""
        return {}, f"Its {power}: choose a model of labgrid's NetworkPowerPort for it"
    return {}, ""


def _one_and_zero(on: str, off: str) -> str:
    """The address with {value} where `on` has a 1 and `off` a 0, if that is all; labgrid fills it in."""
    places = [index for index, (one, zero) in enumerate(zip(on, off, strict=False)) if one != zero]
    if len(on) == len(off) and len(places) == 1 and (on[places[0]], off[places[0]]) == ("1", "0"):
        return on[: places[0]] + "{value}" + on[places[0] + 1 :]
    return ""


def _yaml(name: str, resources: dict[str, Values], remark: str) -> str:
    """One group. JSON is YAML, so values need no rules of their own."""
    lines = [f"{json.dumps(name)}:"]
    for kind, values in resources.items():
        lines += [f"  {kind}:", *(f"    {key}: {json.dumps(value)}" for key, value in values.items())]
    return "\n".join([*lines, *([f"  ## {remark}"] if remark else []), ""])
