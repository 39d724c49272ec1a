"""The window: requests on their way, what was lost, what is sent again, and when to give up.

Whenever something may have been lost (damaged chunks on either side, a quiet line) and no answer on its way
can tell, an empty ECHO goes out as a probe: the place of its answer in the order settles what has to be
sent again (`in_flight`). After a READY the probe is a HELLO. Knows nothing of networks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from harness.boards.base import Port
from harness.errors import DeviceError, LinkError, PortError, SilentError
from harness.link import codec
from harness.link.codec import REPLY, Kind, Status, expect_ok
from harness.link.fault_rate import FaultRate
from harness.link.frames import VERSION, Frame, encode_frame, encoded_limit, payload_limit
from harness.link.in_flight import InFlight, Request
from harness.link.messages import Hello, WireStatistics
from harness.link.watch import Watch
from harness.link.wire import Wire
from harness.link.wirelog import WireLog

_PROBE_BYTES = encoded_limit(8)
_MAX_PROBES = 4
MAX_TRIES = 20
_MAX_RESTARTS = 3
_FIRST_QUIET_S = 0.02
_UNTRIED_BYTES = 2048
# A request that takes no longer is as good a probe as an ECHO, and needs no second round trip.
_SHORT_S = 0.05


class Pipeline:
    """Sends requests over a port and collects their answers."""

    def __init__(
        self,
        port: Port,
        log: WireLog,
        timeout_s: float,
        baud: int = 0,
        board_state: Callable[[], str] | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.timeout_s = timeout_s
        self.wire = Wire(port, log, baud, board_state, watch)
        self.fault_rate = FaultRate()
        self._greeted(Hello(VERSION, 0, 0, 0, 0, 0))
        self._in_flight = InFlight()
        self._sequence = int.from_bytes(log.random_bytes(2), "little")
        self._connected = False
        self._boots_seen = 0
        self._restarts_in_a_row = 0
        self._suspicious = False
        self._damages = 0  # on either side, since the last answer
        self._ready_seen = False
        self._progress_s = 0.0
        self._quiet_periods = 0
        self._answer_s = 0.0  # the longest of late between one answer and the next

    @property
    def log(self) -> WireLog:
        """Also the clock, and the source of random numbers."""
        return self.wire.log

    @property
    def statistics(self) -> WireStatistics:
        return self.wire.statistics

    def connect(self, timeout_s: float) -> Hello:
        """Finds the device: HELLO until it answers. Forgets all requests in flight.

        Raises:
            SilentError: no answer in `timeout_s`.
            LinkError: no common protocol version, or limits too small to work with.
        """
        self._in_flight.clear()
        self._connected = False
        give_up_s = self.log.clock() + timeout_s
        interval_s = 0.1
        sent: list[Request] = []
        while not any(hello.reply for hello in sent):
            if self.log.clock() >= give_up_s:
                raise self.wire.silence("HELLO", timeout_s)
            sent.append(self._send_hello())
            until_s = min(self.log.clock() + interval_s, give_up_s)
            interval_s = min(2 * interval_s, 1.0)
            while not any(hello.reply for hello in sent) and (left_s := until_s - self.log.clock()) > 0:
                self._poll(left_s)
                # After READY or damage there is no point in waiting on.
                if self._take_suspicion():
                    break
        self._in_flight.clear()
        self._take_suspicion()
        self._connected = True
        if self.max_request_payload < 64 or self.hello.max_payload < 64:
            raise LinkError(
                f"the device takes payloads of {self.hello.max_payload} bytes in a window of "
                f"{self.hello.rx_window}, too little to work with",
                "Raise the buffers in its firmware",
            )
        return self.hello

    def has_room(self, payload_bytes: int) -> bool:
        """Whether a request with such a payload may be sent now.

        A line of which little is known yet gets little at a time: on a faulty one all of it may be lost.
        """
        if not self._in_flight:
            return True
        most = min(self.window_bytes, _UNTRIED_BYTES + self.fault_rate.answered_bytes)
        return self._in_flight.used_bytes + encoded_limit(payload_bytes) <= most

    def submit(
        self, kind: Kind, payload: bytes, what: str, report_to: deque[Request] | None = None
    ) -> Request:
        """Sends a request as soon as the window has room. `what` names it in errors.

        Args:
            report_to: gets the request when it is answered or lost. Without it the request is sent
                again until it is answered.
        """
        if len(payload) > self.max_request_payload:
            raise LinkError(
                f"{what} has {len(payload)} bytes, the device takes at most {self.max_request_payload}"
            )
        while not self.has_room(len(payload)):
            self.pump()
        if not self._in_flight:
            self._note_progress()
        request = self._new_request(kind, payload, what)
        request.report_to = report_to
        self._transmit(request)
        return request

    def repeat(self, request: Request) -> None:
        """One more copy at once, of a request whose loss would cost much; not if its fate is known by now."""
        if self._in_flight.get(request.sequence) is request:
            self._transmit(request)

    def hear(self) -> None:
        """As `pump`, until a frame came: before, nothing else may be sent than could be already."""
        heard = self.statistics.frames_received
        while self.statistics.frames_received == heard:
            self.pump()

    def wait(self, request: Request) -> Frame:
        while request.reply is None:
            self.pump()
        return request.reply

    def exchange(self, requests: Iterable[tuple[Kind, bytes, str]]) -> list[Frame]:
        """Answers to many requests, in order, sent as the window allows."""
        return [self.wait(sent) for sent in [self.submit(*request) for request in requests]]

    def call(self, kind: Kind, payload: bytes, what: str) -> bytes:
        """One request; the payload of its answer. Raises as `expect_ok` for a bad status."""
        reply = self.wait(self.submit(kind, payload, what))
        expect_ok(reply, what)
        return reply.payload

    def abandon(self, requests: Iterable[Request]) -> None:
        """Answers to these are no longer wanted; until they come they count in the window."""
        for request in requests:
            request.wanted = False

    def pump(self) -> None:
        """Waits until something happens to the requests in flight, and does what it asks for.

        Raises:
            SilentError: no answer for `timeout_s`.
            LinkError: one request was lost too often.
            DeviceError: the device restarts over and over.
            PortError: the port is gone.
        """
        quiet_s = max(_FIRST_QUIET_S, 2 * self._answer_s) * 2**self._quiet_periods
        wake_s = self._progress_s + min(quiet_s, self.timeout_s)
        self._poll(max(0.0, wake_s - self.log.clock()))
        now_s = self.log.clock()
        if self._take_suspicion():
            self._probe()
        elif now_s >= self._progress_s + self.timeout_s and self._in_flight:
            waiting = (request.what for request in self._in_flight if request.wanted)
            raise self.wire.silence(next(waiting, "HELLO"), self.timeout_s)
        elif now_s >= self._progress_s + quiet_s:
            self._quiet_periods += 1
            self._probe(quiet=True)

    def settle(self) -> None:
        """Returns when nothing is in flight."""
        while self._in_flight:
            self.pump()

    def restart(self, timeout_s: float) -> Hello:
        """RESET, and the handshake with the device that comes back."""
        for _ in range(_MAX_RESTARTS):
            self.settle()
            boots, self._connected = self._boots_seen, False
            reply = self._call_once(Kind.RESET, b"", "RESET")
            if reply is not None:
                expect_ok(reply, "RESET")
            hello = self.connect(timeout_s)
            if reply is not None or self._boots_seen > boots:
                return hello
        raise LinkError(
            f"the device did not restart after {_MAX_RESTARTS} RESET requests", "Reset it by hand"
        )

    def restart_unheard(self, timeout_s: float) -> Hello:
        """RESET to a device that is silent, and the handshake with what comes back, in `timeout_s`."""
        give_up_s = self.log.clock() + timeout_s
        self._in_flight.clear()
        self._connected = False
        self._call_once(Kind.RESET, b"", "RESET")
        return self.connect(give_up_s - self.log.clock())

    def change_baud(self, baud: int, timeout_s: float) -> None:
        """Both ends to `baud`; back to the old rate when the device cannot be heard at the new one."""
        self.settle()
        old = self.statistics.baud
        reply = self._call_once(Kind.SET_BAUD, codec.pack_baud(baud), f"SET_BAUD {baud}")
        if reply is not None:
            expect_ok(reply, f"SET_BAUD {baud}")
        try:
            self.wire.set_baud(baud)
            self.connect(0.9)
        except (SilentError, PortError) as error:
            self.wire.set_baud(old)
            self.connect(timeout_s)
            if isinstance(error, PortError):
                raise
            raise LinkError(
                f"the device took {baud} baud but cannot be heard at it; back at {old}",
                "Choose a lower --baud",
            ) from None
        self.statistics.baud = baud

    def _call_once(self, kind: Kind, payload: bytes, what: str) -> Frame | None:
        """For what must not be sent twice: None when no answer came in half a second."""
        request = self._new_request(kind, payload, what)
        self._transmit(request)
        until_s = self.log.clock() + 0.5
        while request.reply is None and (left_s := until_s - self.log.clock()) > 0:
            self._poll(left_s)
        return request.reply

    def _new_request(self, kind: Kind, payload: bytes, what: str) -> Request:
        self._sequence = (self._sequence + 1) & 0xFFFF
        encoded = encode_frame(Frame(kind, self._sequence, payload))
        return Request(kind, self._sequence, encoded, what)

    def _transmit(self, request: Request) -> None:
        request.sent_s = self.log.clock()
        self._in_flight.add_copy(request)
        self.wire.send(request.encoded)

    def _send_hello(self) -> Request:
        nonce = int.from_bytes(self.log.random_bytes(4), "little")
        request = self._new_request(Kind.HELLO, codec.pack_hello(nonce), "HELLO")
        request.nonce, request.wanted, request.probe = nonce, False, True
        self._transmit(request)
        return request

    def _probe(self, *, quiet: bool = False) -> None:
        if not self._in_flight:
            return
        probes = [request for request in self._in_flight if request.probe]
        if len(probes) >= _MAX_PROBES:
            # On a quiet line all of them may be lost: a restart takes them, and its READY can be damaged.
            if quiet:
                self._transmit(probes[0])
        elif self._ready_seen:
            self._send_hello()
        elif not quiet and self._damages < len(self._in_flight):
            # Not all that are in flight can have been lost: the next answer tells which.
            pass
        elif len(self._in_flight) == 1 and not probes and not quiet and self._answer_s < _SHORT_S:
            self.statistics.retries += 1
            self._transmit(next(iter(self._in_flight)))
        else:
            request = self._new_request(Kind.ECHO, b"", "ECHO")
            request.wanted, request.probe = False, True
            self._transmit(request)

    def _forget_echoes(self) -> None:
        """A restart took the probes under way: they must not keep HELLO from being sent."""
        for request in list(self._in_flight):
            if request.probe and request.kind == Kind.ECHO:
                self._in_flight.remove(request)

    def _take_suspicion(self) -> bool:
        suspicious, self._suspicious = self._suspicious, False
        return suspicious

    def _poll(self, timeout_s: float) -> None:
        self.wire.receive(timeout_s, self._take, self._note_damage)

    def _note_damage(self) -> None:
        self._damages += 1
        self._suspicious = True

    def _take(self, frame: Frame) -> None:
        if frame.kind == Kind.READY:
            self._suspicious = self._ready_seen = True
            self._forget_echoes()
            self._boots_seen += 1
            if self._connected:
                self._count_restart(frame.payload[1] if len(frame.payload) > 1 else 0)
        elif frame.kind == Kind.BAD_FRAME:
            self.statistics.device_bad_frames += 1
            self._note_damage()
        else:
            request = self._in_flight.get(frame.sequence)
            if request is None or frame.kind != request.kind | REPLY:
                self.statistics.duplicates += 1
            elif request.kind != Kind.HELLO:
                # The parts of an input may all be taken, and each run of it still end in a restart.
                if not request.probe and request.kind != Kind.INPUT and frame.status == Status.OK:
                    self._restarts_in_a_row = 0
                self._answered(request, frame)
            elif self._take_hello(request, frame):
                self._answered(request, frame)

    def _take_hello(self, request: Request, frame: Frame) -> bool:
        if frame.status == Status.VERSION:
            spoken = " to ".join(str(version) for version in frame.payload[:2])
            raise LinkError(
                f"the device speaks protocol version {spoken}, this bench speaks {VERSION}",
                "Rebuild and flash its firmware",
            )
        expect_ok(frame, "HELLO")
        nonce, hello = codec.parse_hello(frame.payload)
        if nonce != request.nonce:
            self.statistics.duplicates += 1
            return False
        self._greeted(hello)
        self._ready_seen = False
        return True

    def _greeted(self, hello: Hello) -> None:
        self.hello = hello
        # What requests may take of the device's window: probes must always find room.
        self.window_bytes = hello.rx_window - _MAX_PROBES * _PROBE_BYTES
        # The largest payload a request may have: it fits the device's frame and its window.
        self.max_request_payload = min(hello.max_payload, payload_limit(self.window_bytes))

    def _count_restart(self, boot_reason: int) -> None:
        self.statistics.restarts += 1
        self._restarts_in_a_row += 1
        waiting = [request.what for request in self._in_flight if request.wanted]
        if waiting and self._restarts_in_a_row >= _MAX_RESTARTS:
            reason = codec.boot_reason_name(boot_reason)
            raise DeviceError(
                f"the device restarted {self._restarts_in_a_row} times in a row instead of answering "
                f"{waiting[0]}; boot reason: {reason}",
                self.wire.last_words(),
            )

    def _answered(self, request: Request, frame: Frame) -> None:
        if len(request.transmissions) == 1:
            awaited_s = self.log.clock() - max(request.sent_s, self._progress_s)
            self._answer_s = max(awaited_s, 0.9 * self._answer_s)
        lost = self._in_flight.answered(request)
        request.reply = frame
        self._note_progress()
        answer_bytes = encoded_limit(len(frame.payload))
        self.fault_rate.count(len(request.encoded) + answer_bytes, lost=False)
        if request.report_to is not None and request.wanted:
            request.report_to.append(request)
        for other in lost:
            self._lost(other)

    def _lost(self, request: Request) -> None:
        self.fault_rate.count(len(request.encoded), lost=True)
        if not request.wanted:
            self._in_flight.remove(request)
            return
        self.statistics.retries += 1
        if request.report_to is not None:
            self._in_flight.remove(request)
            request.lost = True
            request.report_to.append(request)
        elif request.tries >= MAX_TRIES:
            raise self.hopeless(request.what, request.tries)
        else:
            self._transmit(request)

    def hopeless(self, what: str, tries: int) -> LinkError:
        """The error for a request that is lost over and over."""
        return LinkError(
            f"{what} was lost {tries} times while the device answered others "
            f"({self.statistics.crc_errors} damaged frames here, "
            f"{self.statistics.device_bad_frames} there)",
            "Check the cable, or choose a lower --baud",
        )

    def _note_progress(self) -> None:
        self._progress_s = self.log.clock()
        self._quiet_periods = self._damages = 0
