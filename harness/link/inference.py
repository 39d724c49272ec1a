"""Inputs in, checked results out, in the order of the samples.

A result leaves here only if the device's digest of the input is the digest of what was sent, and
the output's digest that of the bytes that arrived. How inputs travel is `loading`; judging the
numbers is not done here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable

from harness.errors import DataError, LinkError
from harness.link import codec
from harness.link.codec import SEND_OUTPUT, InferResult, Kind, Status, expect_ok
from harness.link.frames import FRAME_OVERHEAD_BYTES, Frame
from harness.link.loading import Ask, Job, Loader, Numbers
from harness.link.messages import DeviceModel, InferenceReply
from harness.link.pipeline import Pipeline

_MAX_DISAGREEMENTS = 5
_MAX_AHEAD = 256
_LEAST_READ_BYTES = 32


class Inferences:
    """Runs inferences on the device behind `pipeline`, which executes `model`.

    `ratio` is IDENTIFY's counter_scale: reported counts times ratio[0] / ratio[1].
    """

    def __init__(self, pipeline: Pipeline, model: DeviceModel, ratio: tuple[int, int]) -> None:
        self._pipeline = pipeline
        self._model = model
        self._ratio = ratio
        self._numbers = Numbers()

    def stream(self, samples: Iterable[bytes], ask: Ask) -> Generator[InferenceReply, None, None]:
        """One checked reply per sample, in order; takes samples ahead as the window allows."""
        loader = Loader(self._pipeline, self._model, ask, self._numbers)
        source, more = enumerate(samples), True
        jobs: deque[Job] = deque()
        try:
            while more or jobs:
                loader.send()
                while more and len(jobs) < _MAX_AHEAD and loader.idle:
                    try:
                        jobs.append(self._job(*next(source)))
                    except StopIteration:
                        more = False
                    else:
                        loader.add(jobs[-1])
                        loader.send()
                if jobs and jobs[0].reply is not None:
                    yield jobs.popleft().reply  # type: ignore[misc]
                elif loader.has_news:
                    for job, frame in loader.answers():
                        self._take(loader, job, frame, ask)
                elif more or jobs:
                    self._pipeline.hear()
        finally:
            loader.abandon()

    def _job(self, place: int, data: bytes) -> Job:
        if len(data) != self._model.input_bytes:
            inputs = ", ".join(f"{t.name} {t.dtype}{list(t.shape)}" for t in self._model.inputs)
            raise DataError(
                f"expected {self._model.input_bytes} input bytes ({inputs}), {len(data)} were given"
            )
        return Job(place, data, codec.digest8(data))

    def _take(self, loader: Loader, job: Job, frame: Frame, ask: Ask) -> None:
        job.reply = self._checked(loader, job, frame, ask)
        if job.reply is not None:
            loader.finish(job)
            return
        if not loader.excused(job):
            job.disagreements += 1
        if job.disagreements >= _MAX_DISAGREEMENTS:
            raise LinkError(
                f"the device's digests disagree with what was sent {_MAX_DISAGREEMENTS} times in a row; "
                "its tensors are damaged or stale and are not scored",
                "Rebuild and flash its firmware",
            )
        self._pipeline.statistics.retries += 1
        loader.again(job)

    def _checked(self, loader: Loader, job: Job, frame: Frame, ask: Ask) -> InferenceReply | None:
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
        output = self._output(result, loader.result_bytes) if ask.flags & SEND_OUTPUT else b""
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
            retries=job.retries,
        )

    def _output(self, result: InferResult, total: int) -> bytes | None:
        """The output bytes, by READ if they did not come along; None when they are stale."""
        if result.output is not None or not total:
            output = result.output or b""
            if len(output) != total:
                raise LinkError(f"expected an output of {total} bytes, the device sent {len(output)}")
            return output
        best = self._pipeline.fault_rate.best_bytes(FRAME_OVERHEAD_BYTES + codec.READ_HEADER_BYTES)
        limit = self._pipeline.hello.max_payload - codec.READ_HEADER_BYTES
        step = int(min(limit, max(best, _LEAST_READ_BYTES)))
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
