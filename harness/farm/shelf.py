"""The boards one run may use: which of them an item gets, and what becomes of a board that fails.

Takes leases, keeps health, quarantines; the flow itself (build, deploy, compare) is `harness.bench`'s.
Without a farm file an attached board is leased by its port, and emulators are as many as are asked for.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

from harness.boards import Attachment, check_choice, choose_board, is_attached
from harness.boards.base import Board
from harness.boards.choose import ATTACHED, KINDS, Place
from harness.boards.serial_port import SerialBoard
from harness.errors import HarnessError, LeaseError, UsageError
from harness.farm.file import Farm, FarmBoard, place_key
from harness.farm.health import QUARANTINE_S, Health, Outcome, load_health, save_health
from harness.farm.leases import Holder, Lease, Leases, clock
from harness.farm.places import HeldPlace, PlaceQueue
from harness.farm.recovery import LeasedPort, climb, first_line, ladder
from harness.link.client import Link
from harness.progress import Say, silent
from harness.targets import Target
from harness.toolchains.base import Image

_POLL_S = 0.1


@dataclass
class Held:
    """A board that is ours for one item, and what happened to it. `farm` is None for one not of the farm."""

    board: Board
    reason: str
    lease: Lease | None = None
    farm: FarmBoard | None = None
    health: Health = field(default_factory=Health)
    port: LeasedPort | None = None
    link: Link | None = None
    place: HeldPlace | None = None
    recoveries: int = 0
    failure: str = ""
    quarantined: bool = False


@dataclass(frozen=True)
class Wish:
    """What boards the user wants: the options --board, --port…, --tag, --wait and --lease."""

    board: str = "auto"
    attachment: Attachment = field(default_factory=Attachment)
    dialect: str | None = None
    tags: frozenset[str] = frozenset()
    wait_s: float = 0.0
    lease_s: float = 3600.0


class Shelf:
    """Gives out boards and takes them back. One per run; the leases are those of every run on this host."""

    def __init__(self, farm: Farm, wish: Wish, say: Say = silent) -> None:
        """Raises UsageError for a wish that no board of the farm or of any kind can be."""
        self._farm = farm
        self._wish = wish
        self._say = say
        self._leases: Leases | None = None
        known = wish.board in KINDS
        if not known and farm.board(wish.board) is None:
            boards = ", ".join(board.name for board in farm.boards) or "none, as there is no farm.toml"
            raise UsageError(
                f"expected --board to be one of {', '.join(KINDS)} or a board of the farm ({boards}), "
                f"got '{wish.board}'",
                "See: harness boards",
            )
        if wish.attachment.named and (wish.tags or not known):
            raise UsageError("--port names one board, --tag and --board NAME another", "Drop one of them")
        if wish.tags and farm.path is None:
            raise UsageError("--tag asks for boards of a farm, and there is no farm.toml", "See docs/farm.md")
        if known and not (farm.boards and wish.board in ATTACHED):
            check_choice(wish.board, wish.attachment, wish.dialect)

    def check(self, target: Target) -> None:
        """Raises UsageError when the farm has no board for `target` and something was asked of it."""
        if not self._candidates(target) and (self._wish.tags or self._wish.board not in KINDS):
            wanted = target.id if self._wish.board in KINDS else f"{self._wish.board} that is an {target.id}"
            tags = f" with {', '.join(sorted(self._wish.tags))}" if self._wish.tags else ""
            raise UsageError(
                f"no {wanted}{tags} in {self._farm.path} (there: {self._described()})",
                "See: harness boards",
            )

    def kind(self, target: Target) -> str:
        """What an item of `target` runs on: `--board`, or what the farm has for it, the real ones first."""
        candidates = self._candidates(target)
        if not candidates:
            return self._wish.board
        return candidates[0].kind

    def place(self, target: Target) -> Place | None:
        """Where items of `target` run, as far as it is known before a board is leased; None where the farm
        has none for it.
        """
        if not self._candidates(target):
            return None
        assert self._farm.path is not None
        return Place(self.kind(target), f"{target.id}: a board of {self._farm.path.name}", "")

    def attached(self, target: Target) -> bool:
        """Whether that is an attached board, whatever is built."""
        return is_attached(self.kind(target), self._wish.attachment)

    def take(
        self,
        target: Target,
        image: Image | None,
        purpose: str,
        anywhere: Callable[[], tuple[Board, str]],
        *,
        without: Collection[str] = (),
    ) -> Held:
        """A free board for `target`, its lease taken, not opened; waits for one as long as was asked.

        Args:
            anywhere: chooses the board, and says why, where the farm has none for `target`.
            without: names of farm boards that have had their turn.

        Raises:
            LeaseError: none became free in time, or all are in quarantine; says who holds which.
            PortError, IdentityError, MissingError, UsageError: as `choose_board`.
        """
        candidates = self._candidates(target)
        if not candidates:
            return self._take_any(anywhere, purpose)
        candidates = [board for board in candidates if board.name not in without]
        absent: HarnessError | None = None
        queue = _Queue(self._wish.wait_s, f"a free {target.id}", self._say)
        with PlaceQueue() as places:
            while candidates:
                held_by: dict[str, Holder] = {}
                for farm in self._fit(candidates):
                    try:
                        if held := self._try(farm, target, image, purpose, places, held_by):
                            return held
                    except HarnessError as error:
                        # Unplugged, or another chip in its place: no illness, and no use now.
                        candidates.remove(farm)
                        absent = error
                if candidates:
                    queue.wait(held_by)
                    places.line_up(
                        [farm.labgrid for farm in candidates if farm.labgrid],
                        {f"target={target.id}", *self._wish.tags},
                    )
        raise absent or LeaseError(f"no other {target.id} of the farm is left to try", "See: harness boards")

    def judges(self, held: Held) -> bool:
        """Whether this board is one of a farm, and speaks: of one that only prints nothing is known."""
        return held.farm is not None and self._wish.dialect is None

    def recover(self, held: Held, error: HarnessError, say: Say) -> bool:
        """Climbs the ladder; whether the board answers again. Only boards of a farm are recovered."""
        held.failure = first_line(error)
        if not self.judges(held) or held.farm is None or held.port is None:
            return False
        name = held.farm.name
        say(f"{name}: {held.failure}; bringing it back")
        rungs = ladder(held.board, held.port, held.link, held.farm.power)
        held.recoveries += 1
        answers = climb(rungs, lambda line: say(f"{name}: {line}")) is not None
        if held.place and not answers:
            self._tell_lost(held.place, lambda line: say(f"{name}: {line}"))
        return answers

    def _tell_lost(self, place: HeldPlace, say: Say) -> None:
        """Behind labgrid it may be a host that failed, and no board."""
        try:
            for exporter in place.lost_exporters():
                say(f"its exporter {exporter} is not connected to labgrid any more")
        except HarnessError as error:
            say(first_line(error))

    def quarantine(self, held: Held, say: Say) -> None:
        """Nobody is given this board for a while: it failed, and nothing brought it back."""
        if held.farm is not None:
            held.quarantined = True
            say(f"{held.farm.name}: in quarantine for {QUARANTINE_S / 60:.0f} min: {held.failure}")

    def give_back(self, held: Held) -> None:
        """Keeps what the item showed of the board's health, and frees it; safe to call twice."""
        lease, held.lease = held.lease, None
        if lease is None:
            return
        try:
            if held.farm is not None:
                held.health = held.health.after(_outcome(held))
                if held.quarantined:
                    held.health = held.health.quarantine(held.failure)
                save_health(self._book, held.farm.key, held.health)
                _show(held)
        finally:
            lease.release()

    @property
    def _book(self) -> Leases:
        """Made when the first board is leased: emulators need none."""
        if self._leases is None:
            self._leases = Leases()
        return self._leases

    def _candidates(self, target: Target) -> list[FarmBoard]:
        """The farm's boards that would do: all attached, or all one kind of emulator."""
        wish = self._wish
        if wish.attachment.named:
            return []
        boards = [
            board
            for board in self._farm.boards
            if board.target == target.id
            and wish.tags <= board.tags
            and wish.board in (board.name, "auto", board.kind, *(ATTACHED if board.kind == "serial" else ()))
            and not 0 < board.max_baud < (wish.attachment.baud or 0)
        ]
        boards.sort(key=lambda board: board.kind != "serial")
        return [board for board in boards if board.kind == boards[0].kind]

    def _fit(self, candidates: list[FarmBoard]) -> list[FarmBoard]:
        """Those not in quarantine, the healthiest first. Raises LeaseError when there is none."""
        health = {board.name: load_health(self._book, board.key) for board in candidates}
        fit = [board for board in candidates if not health[board.name].quarantined]
        if not fit:
            told = "; ".join(
                f"{board.name} until {clock(found.quarantined_until)} ({found.reason})"
                for board in candidates
                for found in (health[board.name],)
            )
            raise LeaseError(
                f"every {candidates[0].target} of the farm that would do is in quarantine: {told}",
                "Mend it and run: harness boards clear NAME",
            )
        return sorted(fit, key=lambda board: health[board.name].sick)

    def _try(
        self,
        farm: FarmBoard,
        target: Target,
        image: Image | None,
        purpose: str,
        places: PlaceQueue,
        held_by: dict[str, Holder],
    ) -> Held | None:
        """The board if it is free; else None, and who has it in `held_by`. Raises as `_opened`."""
        holder = places.holder(farm.labgrid) if farm.labgrid else None
        lease = None if holder else self._book.take(farm.key, self._wish.lease_s, purpose)
        if lease is None:
            holder = holder or self._book.holder(farm.key)
            held_by.update({farm.name: holder} if holder else {})
            return None
        try:
            if farm.labgrid is None:
                return self._opened(farm, lease, target, image)
            place = places.acquire(farm.labgrid, lease)
            if isinstance(place, Holder):
                held_by[farm.name] = place
                lease.release()
                return None
            lease.first(lambda: self._release(place))
            port, baud = place.serial_port()
            where = replace(farm.attachment, port=port, baud=farm.attachment.baud or self._baud or baud)
            there = replace(farm, attachment=where, power=farm.power or place.power())
            return replace(self._opened(there, lease, target, image), place=place)
        except BaseException:
            lease.release()
            raise

    def _release(self, place: HeldPlace) -> None:
        try:
            place.release()
        except HarnessError as error:
            self._say(str(error))

    def _opened(self, farm: FarmBoard, lease: Lease, target: Target, image: Image | None) -> Held:
        """The board behind a lease. What its health is, is known only now."""
        health = load_health(self._book, farm.key)
        if health.quarantined:
            raise LeaseError(f"{farm.name} went into quarantine: {health.reason}", "See: harness boards")
        kind, attachment = farm.kind, farm.attachment
        if kind == "serial":
            kind = self._wish.board if self._wish.board in ATTACHED else kind
            attachment = replace(attachment, baud=attachment.baud or self._baud)
        board, reason = choose_board(target, image, kind=kind, attachment=attachment)
        board.info = replace(board.info, name=farm.name)
        assert self._farm.path is not None
        held = Held(board, f"{reason}; {farm.name} of {self._farm.path.name}", lease, farm, health)
        _show(held)
        return held

    @property
    def _baud(self) -> int | None:
        return self._wish.attachment.baud

    def _take_any(self, anywhere: Callable[[], tuple[Board, str]], purpose: str) -> Held:
        """As without a farm: emulators are not shared, an attached board is leased by where it is."""
        wish = self._wish
        board, reason = anywhere()
        if not isinstance(board, SerialBoard):
            return Held(board, reason)
        key = place_key(Attachment(port=board.info.name))
        queue = _Queue(wish.wait_s, board.info.name, self._say)
        while (lease := self._book.take(key, wish.lease_s, purpose)) is None:
            holder = self._book.holder(key)
            queue.wait({board.info.name: holder} if holder else {})
        return Held(board, reason, lease)

    def _described(self) -> str:
        return ", ".join(
            " ".join((board.name, board.target, *sorted(board.tags))) for board in self._farm.boards
        )


class _Queue:
    """Waiting for a board, for so long: says once what for, and ends with who has them."""

    def __init__(self, wait_s: float, what: str, say: Say) -> None:
        self._wait_s = wait_s
        self._give_up_s = time.monotonic() + wait_s
        self._what = what
        self._say = say
        self._told = False

    def wait(self, held_by: dict[str, Holder]) -> None:
        """Raises LeaseError when the time is over, or when only this process could end the waiting."""
        who = "; ".join(f"{name} is held by {holder}" for name, holder in held_by.items())
        if held_by and all(holder.pid == os.getpid() for holder in held_by.values()):
            raise LeaseError(
                f"expected {self._what}, but this process itself has every one: {who}",
                "Let one deployment end before the next, or add boards",
            )
        if time.monotonic() >= self._give_up_s:
            raise LeaseError(
                f"expected {self._what} within {self._wait_s:g} s; {who or 'others were faster'}",
                "Wait longer with --wait SECONDS, or see: harness boards",
            )
        if not self._told and who:
            self._say(f"waiting up to {self._wait_s:g} s for {self._what}: {who}")
            self._told = True
        time.sleep(_POLL_S)


def _show(held: Held) -> None:
    """Into the record, by way of the board's details."""
    assert held.farm is not None
    facts = {"place": held.farm.place, "health": str(held.health)}
    if held.farm.tags:
        facts["tags"] = ", ".join(sorted(held.farm.tags))
    held.board.info = replace(held.board.info, details={**held.board.info.details, **facts})


def _outcome(held: Held) -> Outcome:
    wire = held.link.statistics if held.link else None
    return Outcome(
        when=time.time(),
        frames=wire.frames_sent + wire.frames_received if wire else 0,
        damaged=wire.crc_errors + wire.device_bad_frames if wire else 0,
        recoveries=held.recoveries,
        failure=held.failure,
    )
