"""Which board an item runs on, and why: one sentence that goes to the terminal and the record.

Nothing falls back: who asks for silicon gets silicon or an error.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.boards.base import UNKNOWN_FIDELITY, Board
from harness.boards.detect import Attachment, find_port, normal_mac, usb_ports
from harness.boards.esp_emulators import EspEmuBoard, EspQemuBoard, find_esp_qemu, find_espemu
from harness.boards.host import HostBoard
from harness.boards.qemu import MACHINES, QemuBoard
from harness.boards.serial_port import SerialBoard
from harness.errors import PortError, UsageError
from harness.targets import Target
from harness.toolchains.base import Image
from harness.toolchains.flash_image import FlashImage

KINDS = ("auto", "qemu", "host", "serial", "silicon", "esp_qemu", "espemu")
ATTACHED = ("serial", "silicon")


def check_choice(kind: str, attachment: Attachment, dialect: str | None = None) -> None:
    """Opens and asks nothing.

    Raises:
        UsageError: a kind of board, a port and a dialect that do not go together, what is no MAC, or an
            attached board asked for where there is none.
    """
    if attachment.mac:
        normal_mac(attachment.mac)
    if kind not in KINDS:
        raise UsageError(f"expected --board to be one of {', '.join(KINDS)}, got {kind!r}")
    if kind in ATTACHED and not attachment.named and not usb_ports():
        raise UsageError(
            f"--board {kind} needs an attached board, and no USB port here may be one",
            "Attach one, or name it: --port /dev/ttyUSB0",
        )
    if kind not in ("auto", *ATTACHED) and attachment.named:
        given = attachment.port or attachment.mac or attachment.location
        raise UsageError(
            f"--board {kind} does not use a port, but one was given: {given}", "Drop one of them"
        )
    if dialect and not attachment.named:
        raise UsageError(
            "--dialect reads an attached board, but no --port was given", "Add --port /dev/ttyUSB0"
        )
    if dialect and kind == "silicon":
        raise UsageError(
            "--board silicon with --dialect: firmware that only prints cannot say what it runs on",
            "Drop --board silicon",
        )


def is_attached(kind: str, attachment: Attachment) -> bool:
    """Whether the choice can only be an attached board, whatever is built."""
    return kind in ATTACHED or (kind == "auto" and attachment.named)


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
    attachment: Attachment | None = None,
) -> tuple[Board, str]:
    """The board, not yet opened, and the reason as a sentence without a full stop.

    Args:
        image: what an emulator or the host runs; not needed for a board that is attached.
        kind: one of `KINDS`. `auto` is the attached board that is named; with a flash image also
            one that is found, then Espressif's emulator; else QEMU.

    Raises:
        UsageError: an unknown kind, or no image for an emulator.
        PortError, IdentityError: no such board is attached.
        MissingError: the emulator is not installed.
    """
    attachment = attachment or Attachment()
    check_choice(kind, attachment)
    if is_attached(kind, attachment):
        return _attached(target, kind, attachment)
    if image is None:
        raise UsageError(f"--board {kind} needs a built image", "Build the item first")
    if kind == "host":
        return (
            HostBoard(target.id, image.elf),
            f"{target.id}: a native process on this machine, fidelity host, as asked",
        )
    if kind in ("esp_qemu", "espemu"):
        if image.flash is None:
            raise UsageError(
                f"--board {kind} boots a flash image, and this firmware is built for {image.platform}",
                "Leave --board out, or build for the chip",
            )
        return _soc(target, image.flash, kind, "as asked")
    if kind == "auto" and image.flash is not None:
        return _best_for_flash(target, image, image.flash, attachment)
    return _isa(target, image, "as asked" if kind == "qemu" else "as no --port is given")


def _attached(target: Target, kind: str, attachment: Attachment) -> tuple[Board, str]:
    port = find_port(attachment, target.id)
    fidelity = "silicon" if kind == "silicon" else UNKNOWN_FIDELITY
    how = "" if attachment.port else f" at USB location {attachment.location}" if attachment.location else ""
    how += f", MAC {attachment.mac}" if attachment.mac else ""
    how = how or ("" if attachment.port else ", the first that has this chip")
    what = "real silicon" if kind == "silicon" else "the board"
    return (
        SerialBoard(target.id, port, attachment.baud, fidelity, attachment.reset),
        f"{target.id}: {what} on {port}{how}",
    )


def _best_for_flash(
    target: Target, image: Image, flash: FlashImage, attachment: Attachment
) -> tuple[Board, str]:
    """An attached board with the chip, else an emulator of it, else of its instruction set."""
    why = "as no board is attached"
    if usb_ports():
        try:
            return _attached(target, "auto", attachment)
        except PortError as error:
            why = f"as {error.message}"
    for kind, found in (("esp_qemu", find_esp_qemu(target.id)), ("espemu", find_espemu(target.id))):
        if found is not None:
            return _soc(target, flash, kind, why)
    if image.platform in MACHINES:
        return _isa(target, image, f"{why} and no emulator of the chip is on PATH")
    raise PortError(
        f"{why.removeprefix('as ')}, and no emulator of the {target.name} is on PATH: "
        "nothing here can run this flash image",
        "Attach a board, or see: harness doctor",
    )


def _soc(target: Target, flash: FlashImage, kind: str, why: str) -> tuple[Board, str]:
    board: Board = EspQemuBoard(target.id, flash) if kind == "esp_qemu" else EspEmuBoard(target.id, flash)
    name = "Espressif's QEMU" if kind == "esp_qemu" else "esp-emu"
    return (
        board,
        f"{target.id}: {name} stands in (fidelity soc: the chip emulated, its flash image booted), {why}",
    )


def _isa(target: Target, image: Image, why: str) -> tuple[Board, str]:
    if image.platform not in MACHINES:
        raise UsageError(f"QEMU runs images for {', '.join(MACHINES)}, not for {image.platform}")
    return (
        QemuBoard(target.id, image.platform, image.elf),
        f"{target.id}: QEMU stands in ({image.platform}, fidelity isa: the same instruction set, "
        f"not the chip), {why}",
    )
