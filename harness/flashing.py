"""Brings a flash image onto an attached board: asks the board what it runs, writes what differs.

How flash is written is `harness.boards`' business; this is the decision, and the sentence about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.boards.console_watch import ConsoleWatch
from harness.boards.serial_port import SerialBoard
from harness.errors import DeviceError, LinkError, SilentError
from harness.link.client import Link
from harness.link.wirelog import WireLog
from harness.progress import Progress
from harness.toolchains.flash_image import FlashImage

# A chip answers HELLO well within a second of its reset; a board that runs something else never does.
ANSWER_S = 3.0


def install(board: SerialBoard, image: FlashImage, logs: Path, progress: Progress | None = None) -> str:
    """Makes the board run `image`. Returns what was done, as a sentence without a full stop.

    `logs` is a directory: `before_flashing.log` is what the board printed, `flash.log` what
    esptool did. The board is closed afterwards.

    Raises:
        PortError, IdentityError, FlashError: as `SerialBoard.flash`.
    """
    device = _what_it_runs(board, logs / "before_flashing.log")
    parts = image.changed_parts(device)
    if not parts:
        return f"nothing flashed: {board.info.name} already runs this firmware and model"
    board.flash(image, parts, logs / "flash.log", progress)
    names = ", ".join(part.name for part in parts)
    why = "the same firmware ran there, with another model" if parts == (image.model,) else _why(device)
    return f"flashed onto {board.info.name}: {names}; {why}"


def _what_it_runs(board: SerialBoard, log: Path) -> Mapping[str, str] | None:
    """What the board says in IDENTIFY; None when it does not speak our protocol."""
    with board as port, WireLog(text=log) as wire_log:
        link = Link(port, log=wire_log, timeout_s=ANSWER_S, watch=ConsoleWatch())
        try:
            link.connect(ANSWER_S)
            return link.identify().values
        except (SilentError, LinkError, DeviceError):
            return None
        finally:
            link.close()


def _why(device: Mapping[str, str] | None) -> str:
    if device is None:
        return "what it held before did not answer"
    return (
        f"it ran {device.get('model', '?')} ({device.get('firmware', '?')[:12]}) for {device.get('target')}"
    )
