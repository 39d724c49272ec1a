"""What came back from a device, compared with what is right: the figures of one run of one item.

Made from integers that are already here, whoever sent them; it talks to no device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.expectation import Expectation
from harness.measure import gaps
from harness.measure.counts import count_statistics
from harness.measure.gates import FAIL
from harness.measure.reconstruction import reconstruction
from harness.model.task import CLASSIFICATION
from harness.records.schema import (
    Accuracy,
    CountStatistics,
    LayerRecord,
    Measurement,
    QuantisationGap,
    Reconstruction,
    RuntimeGap,
    Sample,
)
from harness.runtimes.base import Array, Artifact


@dataclass(frozen=True)
class Result:
    """What came back, compared.

    `outputs` are the device's integers, one array (N, *shape) per output tensor; `scores`
    its first output as real values, (N, elements). The gaps cover the first output's scores
    (quantisation) and all outputs (runtime).
    """

    outputs: tuple[Array, ...]
    scores: NDArray[np.float32]
    runtime_gap: RuntimeGap
    quantisation_gap: QuantisationGap | None
    accuracy: Accuracy
    counts: CountStatistics | None
    latency: CountStatistics | None
    layers: tuple[LayerRecord, ...]
    samples: tuple[Sample, ...]
    data_digest: str
    reference_top1_min: float | None
    task: str
    reconstruction: Reconstruction | None
    measurements: tuple[Measurement, ...] = ()

    @property
    def failures(self) -> tuple[str, ...]:
        """One line per measurement that is out of its range; empty when all are in."""
        return tuple(self._failures())

    def _failures(self) -> Sequence[str]:
        found = []
        gap = self.runtime_gap
        if gap.mismatching_elements:
            found.append(
                f"runtime gap: {gap.mismatching_elements} of {gap.elements} output elements differ from "
                f"the oracle, by up to {gap.max_lsb} LSB, in {gap.mismatching_samples} of {gap.samples} "
                "samples; expected 0"
            )
        if gap.mismatching_layers:
            found.append(f"runtime gap: layers differ from the oracle: {', '.join(gap.mismatching_layers)}")
        top1, least = self.accuracy.reference, self.reference_top1_min
        if top1 is not None and least is not None and top1 < least:
            found.append(f"float model: top-1 is {top1:.4f}, model.toml expects at least {least}")
        found += [
            f"{one.name}: {one.reason}; declared: {one.limits}"
            for one in self.measurements
            if one.verdict == FAIL
        ]
        return found


@dataclass(frozen=True)
class Answer:
    """What came with one inference beside its outputs; None is not known, or means nothing."""

    count: int | None = None
    time_us: int | None = None
    retries: int = 0


def compare(
    artifact: Artifact,
    expected: Expectation,
    outputs: Sequence[Array],
    answers: Sequence[Answer],
    layers: tuple[LayerRecord, ...] = (),
    unit: str | None = None,
    before: Sequence[Answer] = (),
    samples: Sequence[Sample] | None = None,
) -> Result:
    """A result from the device's integers, one array (N, *shape) per output tensor, and what came with
    them; `unit` is that of the counts, `before` what came with the inferences ahead, the cold start first.
    `samples`: what `compare_samples` makes of all this, where it has been made already.
    """
    total = expected.samples
    counts = [answer.count for answer in answers]
    if samples is None:
        samples = compare_samples(artifact, expected, outputs, answers, range(total))
    device, oracle = (_scores(artifact, tensors) for tensors in (outputs, expected.outputs))
    distance, reference = _distance(outputs, expected.outputs), expected.reference
    classifies = expected.task == CLASSIFICATION
    return Result(
        outputs=tuple(outputs),
        scores=device,
        runtime_gap=gaps.runtime_gap(
            distance,
            layer_samples=len(expected.layers) if layers else 0,
            layers=len(layers),
            mismatching_layers=tuple(
                f"{layer.index} {layer.op}" for layer in layers if layer.mismatching_elements
            ),
        ),
        quantisation_gap=gaps.quantisation_gap(
            oracle, reference, expected.reference_name, classifies=classifies
        )
        if reference is not None
        else None,
        accuracy=gaps.accuracy(expected.labels if classifies else None, device, oracle, reference),
        counts=count_statistics(counts, unit, *_apart(before, "count")) if unit else None,
        latency=count_statistics([answer.time_us for answer in answers], "us", *_apart(before, "time_us")),
        layers=layers,
        samples=tuple(samples),
        data_digest=expected.data_digest,
        reference_top1_min=expected.reference_top1_min,
        task=expected.task,
        reconstruction=reconstruction(
            expected.real, device, oracle, reference, expected.labels, expected.recordings
        )
        if expected.real is not None
        else None,
    )


def compare_samples(
    artifact: Artifact,
    expected: Expectation,
    outputs: Sequence[Array],
    answers: Sequence[Answer],
    which: range,
) -> tuple[Sample, ...]:
    """The records of samples `which`, from arrays and answers of all samples up to these at least."""
    if not which:
        return ()
    part = slice(which.start, which.stop)
    device = _scores(artifact, [tensor[part] for tensor in outputs])
    oracle = _scores(artifact, [tensor[part] for tensor in expected.outputs])
    distance = _distance([tensor[part] for tensor in outputs], [tensor[part] for tensor in expected.outputs])
    reference = expected.reference[part] if expected.reference is not None else None
    several = device.shape[1] > 1 and expected.task == CLASSIFICATION
    device_class, oracle_class = gaps.classes(device), gaps.classes(oracle)
    reference_class = gaps.classes(reference) if reference is not None else None
    return tuple(
        Sample(
            index=index,
            label=int(expected.labels[index]) if expected.labels is not None else None,
            device_class=int(device_class[row]) if several else None,
            oracle_class=int(oracle_class[row]) if several else None,
            reference_class=int(reference_class[row]) if several and reference_class is not None else None,
            max_lsb=int(distance[row].max()),
            mismatching_elements=int(np.count_nonzero(distance[row])),
            count=answers[index].count,
            time_us=answers[index].time_us,
            retries=answers[index].retries,
            device_scores=_floats(device[row]),
            oracle_scores=_floats(oracle[row]),
            reference_scores=_floats(reference[row]) if reference is not None else None,
        )
        for row, index in enumerate(which)
    )


def _scores(artifact: Artifact, outputs: Sequence[Array]) -> NDArray[np.float32]:
    """The first output as real values, (N, elements)."""
    return artifact.outputs[0].dequantise(outputs[0]).reshape(len(outputs[0]), -1)


def _distance(mine: Sequence[Array], theirs: Sequence[Array]) -> NDArray[np.uint64]:
    """All outputs side by side, in LSB, (N, elements of all)."""
    parts = [gaps.distance_lsb(a, b).reshape(len(a), -1) for a, b in zip(mine, theirs, strict=True)]
    return np.concatenate(parts, axis=1)


def _apart(before: Sequence[Answer], figure: str) -> tuple[int | None, list[int]]:
    """The cold start's figure and those of the inferences after it."""
    figures: list[int | None] = [getattr(answer, figure) for answer in before]
    return (figures[0] if figures else None), [value for value in figures[1:] if value is not None]


def _floats(scores: NDArray[np.float32]) -> tuple[float, ...]:
    return tuple(float(score) for score in scores)
