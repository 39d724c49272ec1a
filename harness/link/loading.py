"""How inputs get onto the device: whole inside INFER, or in parts ahead of it, as the line allows.

On a good line all follow each other without a wait. Where parts are lost they get shorter, and the
next input waits until all parts are acknowledged and INFER is answered, or asked so often that it will be, as
the device holds only one. INFER is asked as soon as few parts are unacknowledged: it may all be there.
Results are not looked at here.
"""

from __future__ import annotations

import bisect
import itertools
from collections import deque
from dataclasses import dataclass, field

from harness.link import codec
from harness.link.codec import (
    ALL_LAYERS,
    SEND_COUNTS,
    SEND_DIGESTS,
    SEND_OUTPUT,
    Capability,
    Kind,
    Status,
    expect_ok,
)
from harness.link.frames import FRAME_OVERHEAD_BYTES, Frame, encoded_limit, payload_limit
from harness.link.in_flight import Request
from harness.link.messages import DeviceModel, Hello, InferenceReply
from harness.link.pipeline import MAX_TRIES, Pipeline

_OLDER = 1 << 30
_LEAST_PART_BYTES = 16
_PART_OVERHEAD_BYTES = FRAME_OVERHEAD_BYTES + codec.INPUT_HEADER_BYTES
_LEAST_ANSWER_BYTES = codec.infer_reply_bytes(16, 0, SEND_OUTPUT)
# Faults expected in one input from which on it is worth a round trip not to send all of it again.
_CAREFUL_FAULTS = 0.1
# So many are on the wire until an answer could be here; asking later lets the wire run dry.
_UNACKNOWLEDGED_PARTS = 3
# Of one round trip: above it, so many copies would be needed that waiting costs less.
_MOST_RISK = 0.5
# Less than that many frames in the window, and the wire waits for answers.
_FRAMES_IN_WINDOW = 3


@dataclass(frozen=True)
class Ask:
    """What to run and what to send back; `layers` None runs all of them."""

    flags: int
    layers: int | None = None


@dataclass(frozen=True)
class Way:
    """How an input travels: in parts of so many bytes (0: inside INFER), of which only those that were
    lost go out again (`careful`), the output fetched by READ (`reads`)."""

    part_bytes: int
    careful: bool
    reads: bool

    @property
    def alone(self) -> bool:
        """Nothing else may be loaded before this one's result is here, or can be relied on."""
        return self.careful or self.reads


class Numbers:
    """Inference numbers; the device takes no input with an older one than it has seen."""

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> int:
        self._last = (self._last + 1) & 0xFFFFFFFF
        return self._last

    def overtake(self, stale: int) -> None:
        """The device knows a newer number than `stale`; it may be any."""
        if (self._last - stale) & 0xFFFFFFFF < _OLDER:
            self._last = (self._last + _OLDER) & 0xFFFFFFFF


@dataclass(eq=False)
class Job:
    """One sample on its way; `place` is its place among the samples, `reply` what became of it."""

    place: int
    data: bytes
    digest: bytes
    reply: InferenceReply | None = None
    retries: int = 0
    disagreements: int = 0
    number: int = 0
    way: Way = Way(0, careful=False, reads=False)
    loads: int = 0
    lost: bool = False
    lost_in_a_row: int = 0
    restarts: int = 0
    unsent: list[tuple[int, int]] = field(default_factory=list)
    parts: dict[Request, tuple[int, int]] = field(default_factory=dict)
    infers: set[Request] = field(default_factory=set)
    asked: bool = False  # by an INFER behind all parts that were sent

    def __lt__(self, other: Job) -> bool:
        return self.place < other.place


class Loader:
    """Loads the jobs of one stream, one after another, and tells what the device answered."""

    def __init__(self, pipeline: Pipeline, model: DeviceModel, ask: Ask, numbers: Numbers) -> None:
        self._pipeline = pipeline
        self._ask = ask
        self._numbers = numbers
        self.result_bytes = (
            model.layers[ask.layers - 1].output.size_bytes if ask.layers else model.output_bytes
        )
        layers = len(model.layers) if ask.layers is None else ask.layers
        self._reply_bytes = codec.infer_reply_bytes(self.result_bytes, layers, ask.flags)
        # What is counted and digested layer by layer no device keeps: it would run again.
        keeps = pipeline.hello.capabilities & Capability.KEEPS_RESULT
        self._may_repeat = bool(keeps) and not ask.flags & (SEND_COUNTS | SEND_DIGESTS)
        self._whole_bytes = codec.INFER_HEADER_BYTES + model.input_bytes
        self._known_way: tuple[tuple[float, Hello], Way] | None = None
        self._queue: list[Job] = []
        self._loading: Job | None = None
        self._settled: deque[Request] = deque()
        self._owners: dict[Request, Job] = {}

    @property
    def idle(self) -> bool:
        """Whether another job would be begun at once."""
        return self._loading is None and not self._queue and self._has_room(self._way())

    @property
    def has_news(self) -> bool:
        """Whether something was answered or lost since `answers`."""
        return bool(self._settled)

    def add(self, job: Job) -> None:
        bisect.insort(self._queue, job)

    def send(self) -> None:
        """Sends what may be sent now."""
        while True:
            if self._loading is None:
                way = self._way()
                if not self._queue or not self._has_room(way):
                    return
                self._loading = self._queue.pop(0)
                self._begin(self._loading, way)
            if not self._advance(self._loading):
                return
            self._loading = None

    def answers(self) -> list[tuple[Job, Frame]]:
        """Answers to INFER that came since; what was lost goes out again with the next `send`."""
        found: list[tuple[Job, Frame]] = []
        refused: dict[Job, Frame] = {}
        while self._settled:
            request = self._settled.popleft()
            job = self._owners.pop(request)
            if request in job.parts:
                self._part_settled(job, request, job.parts.pop(request))
            elif request in job.infers:
                job.infers.remove(request)
                if request.reply is None:
                    self._infer_lost(job)
                elif job.way.careful and request.reply.status == Status.INPUT_DIGEST:
                    refused[job] = request.reply
                else:
                    found.append((job, request.reply))
                    job.infers.clear()
                    refused.pop(job, None)
        for job, frame in refused.items():
            if job.asked and not (job.unsent or job.parts or job.infers):
                found.append((job, frame))
        return found

    def again(self, job: Job) -> None:
        """The job from its beginning, under a new number."""
        job.retries += 1
        job.number = 0
        self._requeue(job)

    def finish(self, job: Job) -> None:
        """The job's result is here, and the device's may be overwritten."""
        if self._loading is job:
            self._loading = None

    def abandon(self) -> None:
        """Nothing of what is under way is wanted any more."""
        self._pipeline.abandon(self._owners)

    def excused(self, job: Job) -> bool:
        """Whether it is no wonder that the device held another input: something was lost meanwhile."""
        return job.lost or self._pipeline.statistics.restarts != job.restarts

    def _way(self) -> Way:
        """Worked out anew when the line erred or the device is another: it is asked for at every turn."""
        line = (self._pipeline.fault_rate.per_byte, self._pipeline.hello)
        if self._known_way is None or self._known_way[0] != line:
            self._known_way = line, self._best_way()
        return self._known_way[1]

    def _best_way(self) -> Way:
        pipeline = self._pipeline
        best = max(pipeline.fault_rate.best_bytes(_PART_OVERHEAD_BYTES), _LEAST_PART_BYTES)
        reads = self._reply_bytes > min(pipeline.hello.max_payload, max(best, _LEAST_ANSWER_BYTES))
        if self._whole_bytes <= min(pipeline.max_request_payload, best):
            return Way(0, careful=False, reads=reads)
        share = payload_limit(pipeline.window_bytes // _FRAMES_IN_WINDOW)
        room = min(pipeline.max_request_payload, share) - codec.INPUT_HEADER_BYTES
        careful = pipeline.fault_rate.per_byte * self._whole_bytes > _CAREFUL_FAULTS
        return Way(int(min(best, max(room, _LEAST_PART_BYTES))), careful, reads)

    def _has_room(self, way: Way) -> bool:
        first_bytes = codec.INPUT_HEADER_BYTES + way.part_bytes if way.part_bytes else self._whole_bytes
        return self._pipeline.has_room(first_bytes)

    def _begin(self, job: Job, way: Way) -> None:
        job.loads += 1
        if job.loads > MAX_TRIES:
            raise self._pipeline.hopeless(f"INFER {job.number}", job.loads - 1)
        if way.part_bytes or not job.number:
            job.number = self._numbers.next()
        job.way, job.lost = way, False
        job.restarts = self._pipeline.statistics.restarts
        job.unsent = _cut(0, len(job.data), -(-len(job.data) // way.part_bytes)) if way.part_bytes else []

    def _advance(self, job: Job) -> bool:
        """Sends what is next of `job`; true when the next job may follow."""
        while job.unsent:
            at, size = job.unsent[-1]
            if not self._pipeline.has_room(codec.INPUT_HEADER_BYTES + size):
                return False
            job.unsent.pop()
            payload = codec.pack_input(job.number, at, job.data[at : at + size])
            request = self._submit(job, Kind.INPUT, payload, f"INPUT {job.number} at {at}")
            job.parts[request] = (at, size)
            job.asked = False
        if not job.asked:
            if job.way.careful and len(job.parts) > _UNACKNOWLEDGED_PARTS:
                return False
            carried = b"" if job.way.part_bytes else job.data
            if not self._pipeline.has_room(codec.INFER_HEADER_BYTES + len(carried)):
                return False
            self._ask_for(job, carried)
            job.asked = True
        if job.way.careful and self._may_repeat:
            return not (job.parts or job.way.reads) and self._insist(job)
        return not job.way.alone

    def _ask_for(self, job: Job, carried: bytes) -> Request:
        layers = ALL_LAYERS if self._ask.layers is None else self._ask.layers
        flags = self._ask.flags & ~SEND_OUTPUT if job.way.reads else self._ask.flags
        payload = codec.pack_infer(job.number, layers, flags, job.digest, carried)
        request = self._submit(job, Kind.INFER, payload, f"INFER {job.number}")
        job.infers.add(request)
        return request

    def _insist(self, job: Job) -> bool:
        """Asks for what is all there, so often that the next input may follow without waiting for the answer.

        Were all copies or all answers lost, this input would go out again: the next has taken its place.
        """
        ask_bytes = encoded_limit(codec.INFER_HEADER_BYTES)
        round_bytes = ask_bytes + encoded_limit(self._reply_bytes)
        chance = risk = 1 - (1 - self._pipeline.fault_rate.per_byte) ** round_bytes
        if risk > _MOST_RISK:
            return False
        copies = 1
        while chance * len(job.data) > ask_bytes:
            chance *= risk
            copies += 1
        if not self._pipeline.has_room(copies * ask_bytes):
            return False
        request = self._ask_for(job, b"")
        job.asked = True
        for _ in range(copies - 1):
            self._pipeline.repeat(request)
        return True

    def _submit(self, job: Job, kind: Kind, payload: bytes, what: str) -> Request:
        request = self._pipeline.submit(kind, payload, what, self._settled)
        self._owners[request] = job
        return request

    def _requeue(self, job: Job) -> None:
        job.parts.clear()
        job.infers.clear()
        job.asked = False
        if self._loading is job:
            self._loading = None
        self.add(job)

    def _infer_lost(self, job: Job) -> None:
        self._count_loss(job, f"INFER {job.number}")
        if self._loading is job:
            # The device may still hold its result, and then answers without the input.
            job.asked = bool(job.infers)
        elif not job.infers:
            self._requeue(job)

    def _part_settled(self, job: Job, request: Request, part: tuple[int, int]) -> None:
        reply = request.reply
        if reply is None:
            self._count_loss(job, request.what)
            if self._loading is job:
                best = self._way().part_bytes or part[1]
                job.unsent += _cut(*part, max(1, round(part[1] / best)))
        elif reply.status == Status.STALE:
            self._numbers.overtake(job.number)
            self._pipeline.statistics.retries += 1
            self.again(job)
        else:
            expect_ok(reply, request.what)
            job.lost_in_a_row = 0

    def _count_loss(self, job: Job, what: str) -> None:
        job.lost = True
        job.lost_in_a_row += 1
        job.retries += 1
        if job.lost_in_a_row >= 2 * MAX_TRIES:
            raise self._pipeline.hopeless(what, job.lost_in_a_row)


def _cut(at: int, size: int, parts: int) -> list[tuple[int, int]]:
    """Offset and size of so many parts, all alike, the first one last."""
    ends = [at + size * part // parts for part in range(parts + 1)]
    return [(start, end - start) for start, end in reversed(list(itertools.pairwise(ends)))]
