"""`harness link-test`: how good the line to each board is, for people who choose cables, hubs and rates.

It says nothing of networks; any image of ours will do, as only echoes are sent.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from harness.boards import choose_board
from harness.boards.base import Board, Port
from harness.boards.detect import usb_ports
from harness.boards.serial_port import DEFAULT_BAUD, SerialBoard
from harness.errors import HarnessError, UsageError
from harness.items import load_artifact
from harness.link.chaos import Chaos, ChaosPort, parse_chaos
from harness.link.client import Link
from harness.link.qualify import Rate, highest_clean, sweep
from harness.model.spec import load_model
from harness.runtimes import get_runtime
from harness.settings import build_root_under, split_list
from harness.targets import get_target
from harness.toolchains.bare_metal import build

# One chip of each instruction set, and the model whose firmware is built soonest.
STAND_INS = "esp32c3,esp32s3"
MODEL = "test15_sigmoid"
ANSWER_S = 3.0
NOT_CLEAN, NOT_MEASURED = 1, 3
_COLUMNS = "{:>9}  {:>16}  {:>16}  {:>17}  {}"
Parsers = Any  # argparse's own type of `add_subparsers` is private


def add_command(commands: Parsers) -> None:
    """Adds `link-test` to the command line."""
    parser = commands.add_parser(
        "link-test",
        help="throughput, error rate and highest clean baud of each board's line",
        description="Sends echoes to each attached board, at every baud rate. Where none is attached, to "
        "emulated ones. Exit code 1: a line is not clean at the rate it was opened with; 3: a board could "
        "not be measured.",
        epilog="harness link-test --port /dev/ttyUSB0 --baud 921600 --seconds 10",
    )
    parser.add_argument("--port", metavar="PORT", help="one attached board (default: each on USB)")
    parser.add_argument(
        "--baud", type=int, metavar="N", help=f"the firmware's rate at boot (default: {DEFAULT_BAUD})"
    )
    parser.add_argument(
        "--target", metavar="LIST", help=f"emulated boards instead (default with no board: {STAND_INS})"
    )
    parser.add_argument("--seconds", type=float, default=1.0, metavar="N", help="at each rate (default: 1)")
    parser.add_argument("--chaos", metavar="FAULTS", help="a faulty wire, e.g. drop=1e-3,seed=1")
    parser.set_defaults(run=_run)


def _run(parsed: argparse.Namespace) -> int:
    if not 0 < parsed.seconds < 1e6:
        raise UsageError(f"--seconds expects a number above 0, got {parsed.seconds:g}")
    if parsed.baud is not None and parsed.baud < 1:
        raise UsageError(f"--baud expects a whole number of at least 1, got {parsed.baud}")
    if parsed.port and parsed.target:
        raise UsageError("--port is an attached board, --target an emulated one", "Drop one of them")
    chaos = parse_chaos(parsed.chaos) if parsed.chaos else None
    code = 0
    for board in _boards(parsed):
        try:
            clean = _qualify(board, parsed.baud or DEFAULT_BAUD, parsed.seconds, chaos)
            code = max(code, 0 if clean else NOT_CLEAN)
        except HarnessError as error:
            print(f"harness: {board.info.name}: {error}", file=sys.stderr)
            code = NOT_MEASURED
    return code


def _boards(parsed: argparse.Namespace) -> list[Board]:
    if parsed.port:
        return [SerialBoard("unknown", parsed.port, parsed.baud)]
    usb = [port.device for port in usb_ports()]
    if usb and not parsed.target:
        return [SerialBoard("unknown", port, parsed.baud) for port in usb]
    if not parsed.target:
        print(f"No board is attached to USB: emulated ones instead ({STAND_INS}).")
    return [_emulated(name) for name in split_list("--target", parsed.target or STAND_INS)]


def _emulated(name: str) -> Board:
    target, runtime = get_target(name), get_runtime("tflm")
    if target.isa_platform is None:
        raise UsageError(f"{target.id} has no emulator here", f"e.g. --target {STAND_INS}")
    root = build_root_under(Path.cwd())
    artifact = load_artifact(load_model(MODEL), "tflm", target)
    project = runtime.generate(artifact, "portable", root / "projects" / "link-test")
    return choose_board(target, build(project, target, target.isa_platform, build_root=root), kind="qemu")[0]


def _qualify(board: Board, baud: int, seconds: float, chaos: Chaos | None) -> bool:
    """Prints the board's table as it grows; whether the line is clean at `baud`."""
    with board as opened:
        faulty = ChaosPort(opened, chaos, board.reset) if chaos else None
        port: Port = faulty or opened

        def connect() -> Link:
            link = Link(port, timeout_s=ANSWER_S, baud=baud, board_state=board.state)
            link.connect()
            return link

        def recover() -> Link:
            board.reset()
            port.set_baud(baud)
            return connect()

        link = connect()
        board.identified(link.identify().values)
        identity = link.identify()
        print(f"\n{board.info.name}: {identity.target}, fidelity {board.info.fidelity}")
        print(_COLUMNS.format("baud", "payload each way", "round trips lost", "faults per byte", "").rstrip())
        rates: list[Rate] = []
        for rate in sweep(link, baud, seconds, recover):
            rates.append(rate)
            print(_row(rate), flush=True)
        print(_verdict(rates, board.info.fidelity))
        if faulty:
            print(f"--chaos {chaos}: {', '.join(f'{n} {name[6:]}' for name, n in faulty.faults.items())}")
    first = rates[0].quality
    return first is not None and first.clean


def _row(rate: Rate) -> str:
    found = rate.quality
    if found is None:
        return f"{rate.baud:>9}  not measured: {rate.refusal}"
    return _COLUMNS.format(
        rate.baud,
        f"{found.payload_per_s / 1000:.1f} kB/s",
        f"{found.lost} of {found.echoes + found.lost}",
        f"{'' if found.lost else 'under '}{found.faults_per_byte:.1e}",
        "clean" if found.clean else f"damaged: {found.damaged_here} here, {found.damaged_there} there",
    )


def _verdict(rates: list[Rate], fidelity: str) -> str:
    best = highest_clean(rates)
    words = f"highest clean baud: {best if best is not None else 'none'}"
    if fidelity == "silicon":
        return words
    return f"{words} (fidelity {fidelity}: its UART has no rate of its own, so this says nothing of a cable)"
