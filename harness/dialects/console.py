"""The console of an attached board: for a time, or until enough inferences have come.

Firmware that asks for its images (`image:N bytes, model:SHA-256`, made by `harness generate --target
himax_we1`) gets one for each asking. Other firmware runs what was compiled into it. What is
printed is a dialect's to read; here it is only collected, and counted.
"""

from __future__ import annotations

import re
import struct
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.boards.base import Port
from harness.dialects import Dialect
from harness.dialects.log import Line, read_log
from harness.errors import DeviceError, IdentityError, LinkError, SilentError
from harness.link.wirelog import Direction, WireLog
from harness.progress import Progress

_SLICE_S = 0.2
_TAIL_LINES = 5
_MAX_REPEATS = 3
# Of a console that says much but no scores; longer inferences are not counted.
_MAX_PENDING_LINES = 4096
# A board that asks so long after an image was sent has not seen its beginning.
_UNSEEN_S = 1.5
_ASKS = re.compile(r"image:([0-9]{1,9}) bytes, model:([0-9a-f]{64})")
_REFUSES = re.compile(r"refused:(.+)")
_FAILS = re.compile(r"failure:(.+)")


@dataclass(frozen=True)
class Images:
    """What firmware may ask for: input bytes by sample, of the artifact with `digest`."""

    payload: Callable[[int], bytes]
    samples: int
    digest: str


class Console:
    """One board's console. `text` is what it printed, from its first asking on if it asks; `inferences`
    are whole ones in it, `asked` whether it asked, `repeats` images that had to be sent again."""

    def __init__(self, port: Port, dialect: Dialect, log: WireLog, images: Images) -> None:
        self._port = port
        self._dialect = dialect
        self._log = log
        self._images = images
        self._unfinished = b""
        self._pending: list[Line] = []
        self.asked = False
        self._sent = 0
        self._sent_at = 0.0
        self._repeats_in_a_row = 0
        self.text = b""
        self.inferences = 0
        self.repeats = 0

    def read(self, inferences: int, timeout_s: float, progress: Progress | None = None) -> None:
        """Reads until so many inferences are whole, answering the board if it asks.

        Raises:
            SilentError: none for `timeout_s`; shows how many there were, and what was printed last.
            IdentityError: the board asks for images of another model.
            DeviceError, LinkError: it says that it failed, or refuses an image again and again.
        """
        while (before := self.inferences) < inferences:
            until = time.monotonic() + timeout_s
            while self.inferences == before:
                if time.monotonic() > until:
                    raise SilentError(self._silence(inferences, timeout_s), "Check port, baud and dialect")
                self._take(self._port.read(_SLICE_S))
            if progress is not None:
                progress(min(self.inferences, inferences), inferences)

    def _take(self, chunk: bytes) -> None:
        if not chunk:
            return
        self._log.data(Direction.FROM_DEVICE, chunk)
        self._log.text(chunk)
        data = self._unfinished + chunk
        end = 1 + max(data.rfind(b"\n"), data.rfind(b"\r"))
        whole, self._unfinished = data[:end], data[end:]
        waiting: list[bytes] = []
        for raw in whole.splitlines(keepends=True):
            if self._control(raw, waiting):
                waiting.clear()
            else:
                waiting.append(raw)
        self._count(waiting)

    def _control(self, raw: bytes, before: Sequence[bytes]) -> bool:
        """Whether the line is for us and not a figure; lines `before` it are counted first."""
        text = raw.decode("utf-8", "replace").strip()
        if match := _FAILS.fullmatch(text):
            raise DeviceError(f"the board says: {match[1]}", "See its console in the item's uart.log")
        refusal, asking = _REFUSES.fullmatch(text), _ASKS.fullmatch(text)
        if not refusal and not asking:
            return False
        self._count(before)
        if refusal:
            self._repeat(f"refused: {refusal[1]}")
        elif asking:
            self._answer(int(asking[1]), asking[2])
        return True

    def _answer(self, size_bytes: int, digest: str) -> None:
        if not self.asked:
            # What was printed before may be of another run.
            self.asked, self.text, self._pending, self.inferences = True, b"", [], 0
        if digest != self._images.digest:
            raise IdentityError(
                f"expected firmware of model {self._images.digest[:12]}, the board has {digest[:12]}",
                "Generate, build and flash the firmware of this model",
            )
        if self.inferences >= self._images.samples:
            return
        if self._sent > self.inferences:
            if time.monotonic() - self._sent_at < _UNSEEN_S:
                return
            self._repeat("not seen")
        payload = self._images.payload(self._sent)
        if len(payload) != size_bytes:
            raise IdentityError(f"expected to send {len(payload)} bytes, the board asks for {size_bytes}")
        frame = image_frame(payload)
        self._log.data(Direction.TO_DEVICE, frame)
        self._port.write(frame)
        self._sent, self._sent_at = self._sent + 1, time.monotonic()

    def _repeat(self, why: str) -> None:
        """The image sent last counts as not sent."""
        self._sent = self.inferences
        self.repeats += 1
        self._repeats_in_a_row += 1
        if self._repeats_in_a_row > _MAX_REPEATS:
            raise LinkError(
                f"image {self._sent} did not arrive in {self._repeats_in_a_row} attempts ({why})",
                "Check the cable, and that nothing else uses the port",
            )

    def _count(self, raw: Sequence[bytes]) -> None:
        if not raw:
            return
        self.text += b"".join(raw)
        first = self._pending[-1].number if self._pending else 0
        lines = read_log(b"".join(raw)).lines
        self._pending += [Line(first + line.number, line.text, line.tag) for line in lines]
        found = self._dialect.parse(self._pending).inferences
        if whole := sum(inference.complete for inference in found):
            self.inferences += whole
            self._repeats_in_a_row = 0
            rest = found[-1].line if not found[-1].complete else self._pending[-1].number + 1
            self._pending = [line for line in self._pending if line.number >= rest]
        del self._pending[:-_MAX_PENDING_LINES]

    def _silence(self, wanted: int, timeout_s: float) -> str:
        tail = " | ".join(self._log.tail(_TAIL_LINES, self._unfinished)) or "nothing"
        return (
            f"{self.inferences} of {wanted} inferences came in dialect {self._dialect.name}, then none for "
            f"{timeout_s:g} s; the last lines: {tail}"
        )


def capture(port: Port, seconds: float) -> bytes:
    """What the board prints in so long."""
    until, text = time.monotonic() + seconds, b""
    while (left := until - time.monotonic()) > 0:
        text += port.read(left)
    return text


def image_frame(payload: bytes) -> bytes:
    """One image as firmware/himax_we1/image_frame.h describes it."""
    return b"IMG:" + struct.pack("<I", len(payload)) + payload + struct.pack("<I", zlib.crc32(payload))
