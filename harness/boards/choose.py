"""Which board an item runs on, and why: one sentence that goes to the terminal and the record.

Nothing falls back: who asks for silicon gets silicon or an error.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.boards.base import Board
from harness.boards.host import HostBoard
from harness.boards.qemu import MACHINES, QemuBoard
from harness.boards.serial_port import SerialBoard
from harness.errors import UsageError
from harness.targets import Target
from harness.toolchains.base import Image

KINDS = ("auto", "qemu", "host", "serial", "silicon")


def check_choice(kind: str, port: str | None, dialect: str | None = None) -> None:
    """Raises UsageError for a kind of board, a port and a dialect that do not go together; opens nothing."""
    if kind not in KINDS:
        raise UsageError(f"expected --board to be one of {', '.join(KINDS)}, got {kind!r}")
    if kind in ("serial", "silicon") and not port:
        raise UsageError(f"--board {kind} needs the port of an attached board", "Add --port /dev/ttyUSB0")
    if kind in ("qemu", "host") and port:
        raise UsageError(
            f"--board {kind} does not use a port, but --port {port} was given", "Drop one of them"
        )

    if dialect and not port:
        raise UsageError(
            "--dialect reads an attached board, but no --port was given", "Add --port /dev/ttyUSB0"
        )
    if dialect and kind == "silicon":
        raise UsageError(
            "--board silicon with --dialect: firmware that only prints cannot say what it runs on",
            "Drop --board silicon",
        )


def check_targets(targets: Sequence[Target], dialect: str | None) -> None:
    """Raises UsageError for chips whose firmware is only generated, unless an attached board prints."""
    for target in targets:
        if target.isa_platform is None and dialect is None:
            raise UsageError(
                f"{target.id}: generate only: nothing here builds for it or runs its instruction set",
                f"Write its firmware with: harness generate MODEL --target {target.id} --out DIR; "
                "where a board runs that, add --port PORT --dialect himax",
            )


def choose_board(
    target: Target,
    image: Image | None,
    *,
    kind: str = "auto",
    port: str | None = None,
    baud: int | None = None,
) -> tuple[Board, str]:
    """The board, not yet opened, and the reason as a sentence without a full stop.

    Args:
        image: what an emulator or the host runs; not needed for a board that is attached.
        kind: one of `KINDS`. `auto` is the attached board when a port is given, else QEMU.

    Raises:
        UsageError: an unknown kind, no port for an attached board, or no image for an emulator.
        MissingError: QEMU is not installed.
    """
    check_choice(kind, port)
    if port:
        if kind == "silicon":
            return (
                SerialBoard(target.id, port, baud, fidelity="silicon"),
                f"{target.id}: real silicon on {port}",
            )
        return SerialBoard(target.id, port, baud), f"{target.id}: the board on {port}"
    if image is None:
        raise UsageError(f"--board {kind} needs a built image", "Build the item first")
    if kind == "host":
        return (
            HostBoard(target.id, image.elf),
            f"{target.id}: a native process on this machine, fidelity host, as asked",
        )
    if image.platform not in MACHINES:
        raise UsageError(f"QEMU runs images for {', '.join(MACHINES)}, not for {image.platform}")
    why = "as asked" if kind == "qemu" else "as no --port is given"
    return (
        QemuBoard(target.id, image.platform, image.elf),
        f"{target.id}: QEMU stands in ({image.platform}, fidelity isa: the same instruction set, "
        f"not the chip), {why}",
    )
