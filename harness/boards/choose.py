"""Which board an item runs on, and why: one sentence that goes to the terminal and the record.

Nothing falls back: who asks for silicon gets silicon or an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.boards.base import UNKNOWN_FIDELITY, Board
from harness.boards.detect import Attachment, find_port, normal_mac, usb_ports
from harness.boards.esp_emulators import (
    EspEmuBoard,
    EspQemuBoard,
    find_esp_qemu,
    find_espemu,
    require_esp_qemu,
    require_espemu,
)
from harness.boards.host import HostBoard
from harness.boards.qemu import MACHINES, QemuBoard
from harness.boards.serial_port import SerialBoard
from harness.errors import PortError, UsageError
from harness.targets import Target
from harness.toolchains.base import Image

KINDS = ("auto", "qemu", "host", "serial", "silicon", "esp_qemu", "espemu")
ATTACHED = ("serial", "silicon")
EMULATORS_OF_CHIPS = ("esp_qemu", "espemu")


@dataclass(frozen=True)
class Place:
    """Where firmware of a target will run, known before it is built.

    `kind` is one of `KINDS` and not auto; an attached board has a `port`. `what` and `why` are the two
    halves of the reason.
    """

    kind: str
    what: str
    why: str
    port: str = ""

    @property
    def reason(self) -> str:
        """A sentence without a full stop."""
        return ", ".join(filter(None, (self.what, self.why)))

    @property
    def attached(self) -> bool:
        return self.kind in ATTACHED

    @property
    def boots_flash(self) -> bool:
        """Whether what runs there is the chip's own flash image."""
        return self.attached or self.kind in EMULATORS_OF_CHIPS


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


def choose_place(
    target: Target, *, kind: str = "auto", attachment: Attachment | None = None, flashable: bool = False
) -> Place:
    """Where firmware of `target` will run. Starts nothing; a board that is asked which chip it has restarts.

    Args:
        kind: one of `KINDS`. `auto` is the attached board that is named; else, if `flashable`, one that
            is found, then Espressif's emulator; else QEMU.
        flashable: whether there is a flash image, or will be one.

    Raises:
        UsageError: an unknown kind, or one that does not go with the attachment or the chip.
        PortError, IdentityError: no such board is attached.
        MissingError: the emulator asked for is not installed.
    """
    attachment = attachment or Attachment()
    check_choice(kind, attachment)
    if is_attached(kind, attachment):
        return _attached(target, kind, attachment)
    if kind == "auto":
        return _best(target, attachment) if flashable else _emulated(target, "qemu", "as no --port is given")
    if kind in EMULATORS_OF_CHIPS:
        (require_esp_qemu if kind == "esp_qemu" else require_espemu)(target.id)
    return _emulated(target, kind, "as asked")


def board_at(target: Target, place: Place, image: Image | None, attachment: Attachment) -> Board:
    """The board at `place`, not yet opened; `image` is not needed for an attached one.

    Raises:
        UsageError: no image for an emulator, or one that it does not run.
        MissingError: the emulator is not installed.
    """
    if place.attached:
        fidelity = "silicon" if place.kind == "silicon" else UNKNOWN_FIDELITY
        return SerialBoard(target.id, place.port, attachment.baud, fidelity, attachment.reset)
    if image is None:
        raise UsageError(f"--board {place.kind} needs a built image", "Build the item first")
    if place.kind == "host":
        return HostBoard(target.id, image.elf)
    if place.kind in EMULATORS_OF_CHIPS:
        if image.flash is None:
            raise UsageError(
                f"--board {place.kind} boots a flash image, and this firmware is built for {image.platform}",
                "Leave --board out, or build for the chip",
            )
        known = EspQemuBoard if place.kind == "esp_qemu" else EspEmuBoard
        return known(target.id, image.flash)
    if image.platform not in MACHINES:
        raise UsageError(
            f"QEMU runs images for {', '.join(MACHINES)}, not for {image.platform} ({place.why})",
            "Attach a board, or see: harness doctor",
        )
    return QemuBoard(target.id, image.platform, image.elf)


def choose_board(
    target: Target,
    image: Image | None,
    *,
    kind: str = "auto",
    attachment: Attachment | None = None,
) -> tuple[Board, str]:
    """The board for firmware that is built already, not yet opened, and the reason for the choice.

    Raises: as `choose_place` and `board_at`.
    """
    flashable = image is not None and image.flash is not None
    place = choose_place(target, kind=kind, attachment=attachment, flashable=flashable)
    return board_at(target, place, image, attachment or Attachment()), place.reason


def _attached(target: Target, kind: str, attachment: Attachment) -> Place:
    port = find_port(attachment, target.id)
    how = [f"at USB location {attachment.location}"] if attachment.location and not attachment.port else []
    how += [f"MAC {attachment.mac}"] if attachment.mac else []
    if not attachment.named:
        how = ["the first that has this chip"]
    what = "real silicon" if kind == "silicon" else "the board"
    place = "silicon" if kind == "silicon" else "serial"
    return Place(place, f"{target.id}: {what} on {port}", ", ".join(how), port)


def _best(target: Target, attachment: Attachment) -> Place:
    """An attached board with the chip, else an emulator of it, else of its instruction set."""
    why = "as no board is attached"
    if usb_ports():
        try:
            return _attached(target, "auto", attachment)
        except PortError as error:
            why = f"as {error.message}"
    for kind, found in (("esp_qemu", find_esp_qemu(target.id)), ("espemu", find_espemu(target.id))):
        if found is not None:
            return _emulated(target, kind, why)
    return _emulated(target, "qemu", f"{why} and no emulator of the chip is on PATH")


def _emulated(target: Target, kind: str, why: str) -> Place:
    if kind == "host":
        return Place(kind, f"{target.id}: a native process on this machine, fidelity host", why)
    if kind == "qemu":
        platform = f"{target.isa_platform}, fidelity isa: the same instruction set, not the chip"
        return Place(kind, f"{target.id}: QEMU stands in ({platform})", why)
    name = "Espressif's QEMU" if kind == "esp_qemu" else "esp-emu"
    what = f"{name} stands in (fidelity soc: the chip emulated, its flash image booted)"
    return Place(kind, f"{target.id}: {what}", why)
