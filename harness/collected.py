"""A device's answers as they come: integers and figures of one run, turned into samples batch by batch.

What a batch becomes is told to whoever keeps it before anybody is shown that it is done, so that what was
shown is never lost. Nothing here sends, and nothing here writes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.expectation import Expectation
from harness.progress import Progress
from harness.records.schema import LayerRecord, Sample
from harness.result import Answer, Result, compare, compare_samples
from harness.runtimes.base import Artifact

BATCH_SAMPLES = 64
BATCH_S = 0.1


@dataclass(frozen=True)
class Batch:
    """Samples in a row, and the device's integers behind them: all outputs of the first, of the second..."""

    samples: tuple[Sample, ...]
    outputs: bytes


Keep = Callable[[Batch], None]
"""Called with each batch, in order."""


class Collected:
    """The answers to `expected` so far; `kept` are those of an earlier, killed run, from the first on."""

    def __init__(
        self,
        artifact: Artifact,
        expected: Expectation,
        kept: Batch | None = None,
        keep: Keep | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._artifact, self._expected = artifact, expected
        self._keep, self._progress = keep, progress
        self._arrays = tuple(np.empty_like(tensor) for tensor in expected.outputs)
        self._answers: list[Answer] = []
        self._waiting: list[bytes] = []
        self._samples: list[Sample] = []
        self._flushed_s = time.monotonic()
        if kept is not None:
            self._take_kept(kept)

    @property
    def number(self) -> int:
        """How many answers there are: the index of the next sample."""
        return len(self._answers)

    @property
    def complete(self) -> bool:
        return self.number == self._expected.samples

    def take(self, output: bytes, answer: Answer) -> None:
        """The next sample's answer: the bytes of all output tensors, one after another."""
        self._waiting.append(output)
        self._answers.append(answer)
        full = len(self._waiting) >= BATCH_SAMPLES or self.complete
        if full or time.monotonic() - self._flushed_s >= BATCH_S:
            self.flush()

    def flush(self) -> None:
        """Makes samples of what is waiting, has them kept and then shown."""
        which = range(len(self._samples), self.number)
        if not which:
            return
        outputs = b"".join(self._waiting)
        self._waiting.clear()
        made = self._made(which, outputs)
        self._samples += made
        if self._keep is not None:
            self._keep(Batch(made, outputs))
        if self._progress is not None:
            self._progress(self.number, self._expected.samples)
        self._flushed_s = time.monotonic()

    def result(self, layers: tuple[LayerRecord, ...], unit: str | None, before: Sequence[Answer]) -> Result:
        """All answers compared; `layers`, `unit` and `before` as for `compare`."""
        return compare(
            self._artifact,
            self._expected,
            self._arrays,
            self._answers,
            layers,
            unit,
            before,
            self._samples,
        )

    def _made(self, which: range, outputs: bytes) -> tuple[Sample, ...]:
        """Samples of a batch, whose integers go to their places."""
        tensors = self._artifact.outputs
        rows = np.frombuffer(outputs, np.uint8).reshape(len(which), sum(t.size_bytes for t in tensors))
        offset = 0
        for array, tensor in zip(self._arrays, tensors, strict=True):
            column = np.ascontiguousarray(rows[:, offset : offset + tensor.size_bytes]).view(tensor.dtype)
            array[which.start : which.stop] = column.reshape(-1, *tensor.shape)
            offset += tensor.size_bytes
        return compare_samples(self._artifact, self._expected, self._arrays, self._answers, which)

    def _take_kept(self, kept: Batch) -> None:
        self._answers += [Answer(sample.count, sample.time_us, sample.retries) for sample in kept.samples]
        self._samples += self._made(range(len(kept.samples)), kept.outputs)
