"""One port's two directions: frames out, frames in, log text aside, and the words for a silent device.

Counts and records what passes. What a frame means, and what to do when none comes, is `pipeline`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.boards.base import Port
from harness.errors import DeviceError, PortError, SilentError
from harness.link.frames import MIN_BODY_BYTES, Frame, FrameReader
from harness.link.messages import WireStatistics
from harness.link.watch import Watch
from harness.link.wirelog import Direction, WireLog

_TAIL_LINES = 10


class Wire:
    """What goes over `port`. `damaged` is set when a chunk came that was a frame once."""

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
        self.damaged = False
        self._port = port
        self._board_state = board_state
        self._watch = watch
        self._reader = FrameReader()

    @property
    def unfinished_text(self) -> bytes:
        return self._reader.pending

    def send(self, encoded: bytes) -> None:
        self.log.data(Direction.TO_DEVICE, encoded)
        self.statistics.frames_sent += 1
        self.statistics.bytes_sent += len(encoded)
        with self._told():
            self._port.write(encoded)

    def receive(self, timeout_s: float, take: Callable[[Frame], None]) -> None:
        """Waits for bytes and gives each frame among them to `take`.

        Raises:
            DeviceError: the watch knows what the device printed for a crash.
            PortError: the port is gone.
        """
        if self._watch is not None:
            timeout_s = min(timeout_s, self._watch.look_again_s())
        with self._told():
            data = self._port.read(timeout_s)
        if data:
            self._take_data(data, take)
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

    def _take_data(self, data: bytes, take: Callable[[Frame], None]) -> None:
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
                self.damaged |= len(item.data) >= MIN_BODY_BYTES
                self.log.damaged(item.data)
            else:
                self.statistics.text_bytes += len(item.data)
                self.log.text(item.data)
                if self._watch is not None:
                    self._watch.text(item.data)

    def _told(self) -> _WithLastWords:
        return _WithLastWords(self.last_words)


@dataclass(frozen=True)
class _WithLastWords:
    """Adds what the device said last to the error of a port that went away."""

    last_words: Callable[[], str]

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, PortError):
            remedy = f"{error.remedy}. {self.last_words()}" if error.remedy else self.last_words()
            raise PortError(error.message, remedy) from error
