"""`harness boards`: who holds which board since when, how healthy it is; ends a holder, lifts a quarantine.

Nothing is opened and no chip is asked: only the farm file, the locks, what earlier runs left and, for places
of labgrid, their coordinator are read.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from harness.boards import Attachment
from harness.boards.detect import usb_ports
from harness.errors import HarnessError, LeaseError, UsageError
from harness.farm.file import VARIABLE, Farm, FarmBoard, find_farm
from harness.farm.health import Health, load_health, save_health
from harness.farm.labgrid import Place, our_name
from harness.farm.leases import Leases, clock
from harness.farm.places import PlaceQueue
from harness.report.figures import many

_CLEAR_S = 10.0
# Wide enough for a sentence about each board, where the output is no terminal.
_WIDTH = 160
Parsers = Any  # argparse's own type of `add_subparsers` is private


def add_command(commands: Parsers) -> None:
    """Adds `boards` to the command line."""
    parser = commands.add_parser(
        "boards",
        help="the boards of the farm: who holds which since when, health, quarantine",
        description="The boards of farm.toml, or without one the USB ports that may be boards: who holds "
        "each since when, how it has done lately, and why it is in quarantine. Opens no port.",
        epilog="harness boards; harness boards release s3-left (ends the process that holds it); "
        "harness boards clear s3-left (out of quarantine, health forgotten)",
    )
    parser.add_argument("action", nargs="?", choices=("release", "clear"), help="default: list them")
    parser.add_argument("name", nargs="?", metavar="NAME", help="the board to release or clear")
    parser.add_argument(
        "--farm", default="", metavar="FILE", help=f"default: ${VARIABLE}, else farm.toml where you are"
    )
    parser.set_defaults(run=_run)


def _run(parsed: argparse.Namespace) -> int:
    farm, leases = find_farm(parsed.farm, Path.cwd()), Leases()
    boards = farm.boards or _attached()
    if parsed.action is None:
        _show(farm, boards, leases)
        return 0
    if parsed.name is None:
        raise UsageError(
            f"expected the name of a board, e.g. harness boards {parsed.action} NAME", _known(boards)
        )
    board = next((board for board in boards if board.name == parsed.name), None)
    if board is None:
        raise UsageError(f"no board is called '{parsed.name}'", _known(boards))
    print(_release(board, leases) if parsed.action == "release" else _clear(board, leases))
    return 0


def _attached() -> tuple[FarmBoard, ...]:
    """What may be a board, by its port; which chip it has, only asking would tell."""
    return tuple(FarmBoard(port.device, "?", attachment=Attachment(port=port.device)) for port in usb_ports())


def _known(boards: tuple[FarmBoard, ...]) -> str:
    return f"There are: {', '.join(board.name for board in boards) or 'none'}"


def _show(farm: Farm, boards: tuple[FarmBoard, ...], leases: Leases) -> None:
    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH
    if not boards:
        print(
            "No farm.toml and no USB port that may be a board: runs use emulators, as many as are asked for."
        )
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("board", "target", "where", "tags", "power", "state", "health"):
        table.add_column(title, overflow="fold")
    places = PlaceQueue()
    for board in boards:
        health = load_health(leases, board.key)
        tags, power = ", ".join(sorted(board.tags)), str(board.power or "")
        state = _state(board, health, leases, places)
        table.add_row(*map(_plain, (board.name, board.target, board.place, tags, power, state, str(health))))
    console.print(table)
    print(
        f"{many(len(boards), 'board')} of {farm.path}"
        if farm.path
        else "No farm.toml: the ports that may be boards."
    )


def _plain(text: str) -> str:
    """Rich takes brackets for mark-up."""
    return text.replace("[", "\\[")


def _state(board: FarmBoard, health: Health, leases: Leases, places: PlaceQueue) -> str:
    holder = leases.holder(board.key)
    states = []
    if board.labgrid and not holder:
        try:
            holder = places.holder(board.labgrid)
        except HarnessError as error:
            states.append(error.message)
    if holder:
        states.append(f"held by {holder}")
    if not board.present:
        states.append("not attached")
    if health.quarantined:
        states.append(f"in quarantine until {clock(health.quarantined_until)}: {health.reason}")
    return "; ".join(states) or "free"


def _release(board: FarmBoard, leases: Leases) -> str:
    ended = leases.end_holder(board.key)
    if ended:
        return f"{board.name} is free; it was held by {ended}"
    return _release_place(board, board.labgrid) if board.labgrid else f"{board.name} is free already"


def _release_place(board: FarmBoard, place: Place) -> str:
    """A place that no process of this host has: ours by hand or from before a power cut, or another's."""
    state = place.state()
    if not state.acquired:
        return f"{board.name} is free already"
    if state.acquired != our_name():
        raise LeaseError(
            f"{board.name} is held by {place.holder(state)}",
            f"Ask them, or: labgrid-client -x {place.coordinator.address} -p {place.name} release --kick",
        )
    place.release(state.acquired)
    return f"{board.name} is free; it was held by {place.holder(state)}"


def _clear(board: FarmBoard, leases: Leases) -> str:
    lease = leases.take(board.key, _CLEAR_S, "harness boards clear")
    if lease is None:
        raise LeaseError(f"{board.name} is held by {leases.holder(board.key)}", "Clear it when it is free")
    try:
        before = load_health(leases, board.key)
        save_health(leases, board.key, Health())
    finally:
        lease.release()
    was = "out of quarantine" if before.quarantined else "was in no quarantine"
    return f"{board.name}: {was}, health forgotten"
