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
        self._place(self.number, output)
        self._answers.append(answer)
        waiting = self.number - len(self._samples)
        if waiting >= BATCH_SAMPLES or self.complete or time.monotonic() - self._flushed_s >= BATCH_S:
            self.flush()

    def flush(self) -> None:
        """Makes samples of what is waiting, has them kept and then shown."""
        which = range(len(self._samples), self.number)
        if not which:
            return
        made = compare_samples(self._artifact, self._expected, self._arrays, self._answers, which)
        self._samples += made
        if self._keep is not None:
            outputs = (array[index].tobytes() for index in which for array in self._arrays)
            self._keep(Batch(made, b"".join(outputs)))
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

    def _place(self, index: int, output: bytes) -> None:
        offset = 0
        for array, tensor in zip(self._arrays, self._artifact.outputs, strict=True):
            piece = output[offset : offset + tensor.size_bytes]
            array[index] = np.frombuffer(piece, dtype=tensor.dtype).reshape(tensor.shape)
            offset += tensor.size_bytes

    def _take_kept(self, kept: Batch) -> None:
        size = sum(tensor.size_bytes for tensor in self._artifact.outputs)
        for index, sample in enumerate(kept.samples):
            self._place(index, kept.outputs[index * size : (index + 1) * size])
            self._answers.append(Answer(sample.count, sample.time_us, sample.retries))
        which = range(len(kept.samples))
        self._samples += compare_samples(self._artifact, self._expected, self._arrays, self._answers, which)
