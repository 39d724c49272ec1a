"""Inputs in, checked results out: pipelined where they fit the frames, in parts where they do not.

A result leaves here only if the device's digest of the input is the digest of what was sent, and
the output's digest that of the bytes that arrived. Judging the numbers is not done here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from dataclasses import dataclass

from harness.errors import DataError, LinkError
from harness.link import codec
from harness.link.codec import ALL_LAYERS, SEND_OUTPUT, InferResult, Kind, Status, expect_ok
from harness.link.frames import Frame
from harness.link.messages import DeviceModel, InferenceReply
from harness.link.pipeline import Pipeline, Request

_MAX_ATTEMPTS = 5
_MAX_AHEAD = 256
_OLDER = 1 << 30


@dataclass(frozen=True)
class Ask:
    """What to run and what to send back; `layers` None runs all of them."""

    flags: int
    layers: int | None = None


@dataclass
class _Job:
    data: bytes
    digest: bytes
    number: int
    request: Request
    retries: int = 0


class Inferences:
    """Runs inferences on the device behind `pipeline`, which executes `model`.

    `ratio` is IDENTIFY's counter_scale: reported counts times ratio[0] / ratio[1].
    """

    def __init__(self, pipeline: Pipeline, model: DeviceModel, ratio: tuple[int, int]) -> None:
        self._pipeline = pipeline
        self._model = model
        self._ratio = ratio
        self._number = 0

    def stream(self, samples: Iterable[bytes], ask: Ask) -> Generator[InferenceReply, None, None]:
        """One checked reply per sample, in order; takes samples ahead as the window allows."""
        if not self._fits(ask):
            for data in samples:
                yield self._in_parts(data, ask)
            return
        source = iter(samples)
        jobs: deque[_Job] = deque()
        more = True
        try:
            while True:
                while more and len(jobs) < _MAX_AHEAD and self._pipeline.has_room(self._request_bytes):
                    try:
                        jobs.append(self._start(next(source), ask))
                    except StopIteration:
                        more = False
                if not more and not jobs:
                    return
                # Without a job the window is full of requests that an earlier caller gave up.
                if not jobs or jobs[0].request.reply is None:
                    self._pipeline.pump()
                    continue
                job = jobs[0]
                reply = self._checked(job, self._pipeline.wait(job.request), ask)
                if reply is None:
                    self._again(job, ask)
                else:
                    jobs.popleft()
                    yield reply
        finally:
            self._pipeline.abandon(job.request for job in jobs)

    @property
    def _request_bytes(self) -> int:
        return codec.INFER_HEADER_BYTES + self._model.input_bytes

    def _fits(self, ask: Ask) -> bool:
        layers = len(self._model.layers) if ask.layers is None else ask.layers
        reply_bytes = codec.infer_reply_bytes(self._result_bytes(ask), layers, ask.flags)
        fits = self._request_bytes <= self._pipeline.max_request_payload
        return fits and reply_bytes <= self._pipeline.hello.max_payload

    def _result_bytes(self, ask: Ask) -> int:
        if ask.layers is None or not ask.layers:
            return self._model.output_bytes
        return self._model.layers[ask.layers - 1].output.size_bytes

    def _next_number(self) -> int:
        self._number = (self._number + 1) & 0xFFFFFFFF
        return self._number

    def _check_size(self, data: bytes) -> None:
        if len(data) != self._model.input_bytes:
            inputs = ", ".join(f"{t.name} {t.dtype}{list(t.shape)}" for t in self._model.inputs)
            raise DataError(
                f"expected {self._model.input_bytes} input bytes ({inputs}), {len(data)} were given"
            )

    def _send(self, number: int, digest: bytes, data: bytes, ask: Ask) -> Request:
        layers = ALL_LAYERS if ask.layers is None else ask.layers
        payload = codec.pack_infer(number, layers, ask.flags, digest, data)
        return self._pipeline.submit(Kind.INFER, payload, f"INFER {number}")

    def _start(self, data: bytes, ask: Ask) -> _Job:
        self._check_size(data)
        digest, number = codec.digest8(data), self._next_number()
        return _Job(data, digest, number, self._send(number, digest, data, ask))

    def _again(self, job: _Job, ask: Ask) -> None:
        self._count_retry(job.retries)
        job.retries += job.request.tries
        job.number = self._next_number()
        job.request = self._send(job.number, job.digest, job.data, ask)

    def _count_retry(self, retries: int) -> None:
        if retries + 1 >= _MAX_ATTEMPTS:
            raise LinkError(
                f"the device's digests disagree with what was sent {_MAX_ATTEMPTS} times in a row; "
                "its tensors are damaged or stale and are not scored",
                "Rebuild and flash its firmware",
            )
        self._pipeline.statistics.retries += 1

    def _in_parts(self, data: bytes, ask: Ask) -> InferenceReply:
        """One inference at a time: INPUT frames where the input, READ where the output does not fit."""
        self._check_size(data)
        digest, retries = codec.digest8(data), 0
        while True:
            number = self._next_number()
            whole = self._request_bytes <= self._pipeline.max_request_payload
            if whole or self._send_input(number, data):
                request = self._send(number, digest, data if whole else b"", ask)
                job = _Job(data, digest, number, request, retries)
                reply = self._checked(job, self._pipeline.wait(request), ask)
                if reply is not None:
                    return reply
            self._count_retry(retries)
            retries += 1

    def _send_input(self, number: int, data: bytes) -> bool:
        """False when the device knows a newer inference number: another one will do."""
        step = self._pipeline.max_request_payload - codec.INPUT_HEADER_BYTES
        replies = self._pipeline.exchange(
            (Kind.INPUT, codec.pack_input(number, at, data[at : at + step]), f"INPUT {number} at {at}")
            for at in range(0, len(data), step)
        )
        for reply in replies:
            if reply.status == Status.STALE:
                self._number = (self._number + _OLDER) & 0xFFFFFFFF
                return False
            expect_ok(reply, f"INPUT {number}")
        return True

    def _checked(self, job: _Job, frame: Frame, ask: Ask) -> InferenceReply | None:
        """None when the device did not run, or did not return, what it was asked for."""
        if frame.status == Status.INPUT_DIGEST:
            return None
        what = f"INFER {job.number}"
        expect_ok(frame, what)
        result = codec.parse_infer(frame.payload)
        expected_layers = len(self._model.layers) if ask.layers is None else ask.layers
        if result.inference != job.number or result.layers != expected_layers:
            raise LinkError(
                f"asked for {what} of {expected_layers} layers, the device answered inference "
                f"{result.inference} of {result.layers} layers"
            )
        if result.input_digest != job.digest:
            return None
        output = self._output(result, ask) if ask.flags & SEND_OUTPUT else b""
        if output is None or (ask.flags & SEND_OUTPUT and codec.digest8(output) != result.output_digest):
            return None
        return InferenceReply(
            inference=result.inference,
            layers=result.layers,
            input_digest=result.input_digest,
            output_digest=result.output_digest,
            count=self._scaled(result.count),
            time_us=result.time_us,
            output=output,
            layer_counts=tuple(self._scaled(count) for count in result.layer_counts),
            layer_digests=result.layer_digests,
            retries=job.retries + job.request.tries - 1,
        )

    def _output(self, result: InferResult, ask: Ask) -> bytes | None:
        """The output bytes, by READ if they did not come along; None when they are stale."""
        total = self._result_bytes(ask)
        if result.output is not None or not total:
            return result.output or b""
        step = self._pipeline.hello.max_payload - codec.READ_HEADER_BYTES
        replies = self._pipeline.exchange(
            (Kind.READ, codec.pack_read(result.inference, at, min(step, total - at)), f"READ at {at}")
            for at in range(0, total, step)
        )
        parts: list[bytes] = []
        for reply in replies:
            if reply.status == Status.STALE:
                return None
            expect_ok(reply, "READ")
            inference, device_total, data = codec.parse_read(reply.payload)
            if (inference, device_total) != (result.inference, total):
                raise LinkError(f"expected an output of {total} bytes, the device holds {device_total}")
            parts.append(data)
        return b"".join(parts)

    def _scaled(self, count: int) -> int:
        numerator, denominator = self._ratio
        return (2 * count * numerator + denominator) // (2 * denominator)
