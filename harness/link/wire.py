"""One port's two directions: frames out, frames in, log text aside, and the words for a silent device.

Counts and records what passes. What a frame means, and what to do when none comes, is `pipeline`.
"""

from __future__ import annotations

from collections.abc import Callable

from harness.boards.base import Port
from harness.errors import DeviceError, PortError, SilentError
from harness.link.frames import MIN_BODY_BYTES, Frame, FrameReader
from harness.link.messages import WireStatistics
from harness.link.watch import Watch
from harness.link.wirelog import Direction, WireLog

_TAIL_LINES = 10
# Frames are handed to the port together, as each hand-over costs the host more than a short frame does.
_TOGETHER_BYTES = 4096


class Wire:
    """What goes over `port`."""

    def __init__(
        self,
        port: Port,
        log: WireLog,
        baud: int = 0,
        board_state: Callable[[], str] | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.log = log
        self.statistics = WireStatistics(baud=baud)
        self._port = port
        self._board_state = board_state
        self._watch = watch
        self._reader = FrameReader()
        self._unsent = bytearray()

    @property
    def unfinished_text(self) -> bytes:
        return self._reader.pending

    def send(self, encoded: bytes) -> None:
        """Sends a frame, at the latest when the next bytes are waited for."""
        self.statistics.frames_sent += 1
        self.statistics.bytes_sent += len(encoded)
        self._unsent += encoded
        if len(self._unsent) >= _TOGETHER_BYTES:
            self._hand_over()

    def receive(self, timeout_s: float, take: Callable[[Frame], None], damage: Callable[[], None]) -> None:
        """Waits for bytes and gives each frame among them to `take`; `damage` hears of what was one once.

        Raises:
            DeviceError: the watch knows what the device printed for a crash.
            PortError: the port is gone.
        """
        self._hand_over()
        if self._watch is not None:
            timeout_s = min(timeout_s, self._watch.look_again_s())
        try:
            data = self._port.read(timeout_s)
        except PortError as error:
            raise self._with_last_words(error) from error
        if data:
            self._take_data(data, take, damage)
        if self._watch is not None and (fault := self._watch.fault()):
            what, remedy = fault
            raise DeviceError(what, "\n".join(filter(None, (remedy, self.last_words()))))

    def set_baud(self, baud: int) -> None:
        self._port.set_baud(baud)

    def silence(self, what: str, timeout_s: float) -> SilentError:
        damaged, strays = self.statistics.crc_errors, self.statistics.duplicates
        hint = f" ({damaged} damaged frames came: wrong baud rate?)" if damaged else ""
        hint += f" ({strays} answers bore the sequence number of no open request)" if strays else ""
        state = f" ({self._board_state()})" if self._board_state else ""
        advice = self._watch.hint() if self._watch else ""
        return SilentError(
            f"expected the answer to {what}, nothing valid came for {timeout_s:.1f} s{hint}{state}",
            f"{advice or 'Check port, baud rate and firmware, and reset the board'}. {self.last_words()}",
        )

    def last_words(self) -> str:
        lines = self.log.tail(_TAIL_LINES, self._reader.pending)
        where = f" (whole log: {self.log.text_path})" if self.log.text_path else ""
        if not lines:
            return f"The device printed nothing{where}"
        return f"The device's last lines{where}:\n" + "\n".join(f"  | {line}" for line in lines)

    def _hand_over(self) -> None:
        if not self._unsent:
            return
        data = bytes(self._unsent)
        self._unsent.clear()
        self.log.data(Direction.TO_DEVICE, data)
        try:
            self._port.write(data)
        except PortError as error:
            raise self._with_last_words(error) from error

    def _take_data(self, data: bytes, take: Callable[[Frame], None], damage: Callable[[], None]) -> None:
        self.log.data(Direction.FROM_DEVICE, data)
        self.statistics.bytes_received += len(data)
        for item in self._reader.feed(data):
            if isinstance(item, Frame):
                self.statistics.frames_received += 1
                if self._watch is not None:
                    self._watch.alive()
                take(item)
            elif item.damaged:
                self.statistics.crc_errors += 1
                if len(item.data) >= MIN_BODY_BYTES:
                    damage()
                self.log.damaged(item.data)
            else:
                self.statistics.text_bytes += len(item.data)
                self.log.text(item.data)
                if self._watch is not None:
                    self._watch.text(item.data)

    def _with_last_words(self, error: PortError) -> PortError:
        """The error of a port that went away, and what the device said last."""
        remedy = f"{error.remedy}. {self.last_words()}" if error.remedy else self.last_words()
        return PortError(error.message, remedy)
