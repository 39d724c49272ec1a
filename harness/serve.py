"""`harness serve`: a model on its emulated board, offered as a serial device to any other program.

The device is a pseudo-terminal. What is spoken over it, frames or the MLPerf Tiny dialect, is between
that program and the firmware.
"""

from __future__ import annotations

import argparse
import os
import select
import tempfile
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.boards.base import Port
from harness.boards.qemu import QemuBoard
from harness.errors import UsageError
from harness.items import Workshop, load_artifact
from harness.model.spec import load_model
from harness.runtimes import RUNTIMES, get_runtime
from harness.runtimes.base import Artifact
from harness.settings import build_root_under
from harness.targets import TARGETS, get_target
from harness.toolchains.bare_metal import build

# The firmware keeps an input of the MLPerf Tiny dialect in what it has for the longest answer.
_USUAL_PAYLOAD_BYTES = 4096
_MOST_PAYLOAD_BYTES = 65535
_POLL_S = 0.005
_READ_BYTES = 4096
Parsers = Any  # argparse's own type of `add_subparsers` is private


def add_command(commands: Parsers) -> None:
    """Adds `harness serve` to the command line."""
    parser = commands.add_parser(
        "serve",
        help="a model on its emulated board, as a serial device for any other program",
        description="Builds the firmware, starts it in QEMU and prints the path of a pseudo-terminal behind "
        "which it is, until interrupted. It speaks docs/protocol.md and the MLPerf Tiny dialect.",
        epilog="harness serve mnist_mlp --target esp32c3",
    )
    parser.add_argument("model", help="zoo name, directory with a model.toml, or model file")
    parser.add_argument("--target", required=True, metavar="NAME", help=f"of {', '.join(TARGETS)}")
    parser.add_argument("--runtime", default="tflm", choices=tuple(RUNTIMES))
    parser.set_defaults(run=_run)


def _run(parsed: argparse.Namespace) -> int:
    board = emulated_board(parsed.model, parsed.target, parsed.runtime, build_root_under(Path.cwd()))
    with board as port:
        serve(port, lambda path: print(f"{board.info.name} is at {path}; end with Ctrl-C", flush=True))
    return 0


def emulated_board(name: str, target_name: str, runtime_name: str, build_root: Path) -> QemuBoard:
    """The board, not yet started, with firmware of a model whose input fits the dialect's buffer.

    Raises:
        UsageError: no emulator runs images for this target.
    """
    target = get_target(target_name)
    if target.isa_platform is None:
        raise UsageError(f"no emulator runs an image for {target.id}", "Choose another --target")
    runtime = get_runtime(runtime_name)
    artifact = load_artifact(load_model(name), runtime_name, target, Workshop(build_root / "artifacts", None))
    with tempfile.TemporaryDirectory() as sources:
        project = runtime.generate(artifact, "portable", Path(sources))
        defines = _room_for(artifact)
        root = build_root / "images"
        image = build(
            project, target, target.isa_platform, build_root=root, defines=defines, mlperf_dialect=True
        )
    return QemuBoard(target.id, target.isa_platform, image.elf)


def _room_for(artifact: Artifact) -> dict[str, str]:
    wanted = sum(info.size_bytes for info in artifact.inputs)
    if wanted <= _USUAL_PAYLOAD_BYTES:
        return {}
    return {"LINK_MAX_PAYLOAD": str(min(wanted, _MOST_PAYLOAD_BYTES))}


def serve(port: Port, ready: Callable[[str], None]) -> None:
    """Carries bytes between `port` and a new pseudo-terminal, whose path goes to `ready`, for ever.

    Raises:
        PortError: the board is gone.
    """
    master, slave = os.openpty()
    try:
        # Nobody's line discipline; and with this end open, a client may come and go.
        tty.setraw(slave)
        ready(os.ttyname(slave))
        while True:
            if select.select([master], [], [], 0)[0]:
                port.write(os.read(master, _READ_BYTES))
            view = memoryview(port.read(_POLL_S))
            while view:
                view = view[os.write(master, view) :]
    finally:
        os.close(master)
        os.close(slave)
