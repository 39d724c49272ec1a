"""The boards of one item: taken, brought back when they fail, replaced when nothing helps, and noted.

How leases, health and the recovery ladder work is `harness.farm`'s; what runs on the boards is `bench`'s.
"""

from __future__ import annotations

import time
from collections.abc import Collection

from harness.boards.base import Board
from harness.errors import DeviceError, HarnessError, IdentityError, LeaseError
from harness.farm.shelf import Shelf
from harness.firmware import Firmware
from harness.ledger import Entry, Ledger
from harness.progress import Say
from harness.toolchains.base import Image

MAX_BOARDS = 3
"""So many boards of a farm an item is tried on: what fails on three is no fault of a board."""


class ItemBoards:
    """Gives items their boards. One per run."""

    def __init__(self, shelf: Shelf, firmware: Firmware, ledger: Ledger, say: Say) -> None:
        self._shelf = shelf
        self._firmware = firmware
        self._ledger = ledger
        self._say = say

    def take(self, entry: Entry, image: Image | None, without: Collection[str] = ()) -> Board:
        """A board for the item, its lease taken, not opened. Raises as `Shelf.take`."""
        item = entry.item
        held = self._shelf.take(
            item.target, image, item.key, lambda: self._firmware.board(item, image), without=without
        )
        entry.boards.append(held)
        entry.board = held.board
        entry.notes.append(held.reason)
        if held.health.sick:
            entry.notes.append(f"{held.board.info.name} is {held.health}")
        return held.board

    def recovered(self, entry: Entry, board: Board, error: HarnessError) -> bool:
        """Whether a board of the farm that failed answers again; every rung is told of."""
        held = entry.holding(board)
        return held is not None and self._shelf.recover(held, error, lambda line: self._tell(entry, line))

    def another(self, entry: Entry, board: Board, error: HarnessError) -> Board:
        """The board to go on with after `board` failed for good; raises `error` when there is none.

        A board that runs another model is none for this item, and not ill; nor is one whose firmware,
        flashed for this item, reports a failure of its own.
        """
        held = entry.holding(board)
        if held is None or not self._shelf.judges(held):
            raise error
        flashed = entry.image is not None and entry.image.flash is not None
        if flashed and isinstance(error, DeviceError):
            raise error
        if not isinstance(error, IdentityError):
            self._shelf.quarantine(held, lambda line: self._tell(entry, line))
        self._shelf.give_back(held)
        tried = [each.board.info.name for each in entry.boards]
        if len(tried) >= MAX_BOARDS:
            raise error
        try:
            return self.take(entry, entry.image, tried)
        except LeaseError as none_left:
            self._tell(entry, none_left.message)
            raise error from None

    def give_back(self, entry: Entry) -> None:
        """Frees the item's boards."""
        for held in entry.boards:
            self._shelf.give_back(held)

    def _tell(self, entry: Entry, line: str) -> None:
        entry.notes.append(line)
        self._say(line)
        logs = self._ledger.item_directory(entry.item)
        logs.mkdir(parents=True, exist_ok=True)
        with open(logs / "recovery.log", "a", encoding="utf-8") as log:
            log.write(f"{time.strftime('%H:%M:%S')} {line}\n")
