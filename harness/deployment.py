"""One model on one board: send inputs, collect answers, compare them with what is right.

The only place where the device's answers meet the oracle's and the float model's, whether they come
over the link or, of other people's firmware, from its console. It starts nothing and reports nothing.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from harness.boards.base import Board
from harness.errors import IdentityError, LinkError
from harness.expectation import Expectation, expect, tensor_digest
from harness.items import Item
from harness.link.client import Link
from harness.link.codec import Capability
from harness.link.messages import Identity, InferenceReply
from harness.measure import gaps
from harness.measure.counts import count_statistics
from harness.model.dataset import dataset_from
from harness.model.reference import Reference
from harness.progress import Progress
from harness.records.schema import (
    Accuracy,
    CountStatistics,
    LayerRecord,
    Memory,
    QuantisationGap,
    RuntimeGap,
    Sample,
)
from harness.runtimes.base import Array, Artifact, Oracle
from harness.toolchains.base import Image

COUNT_UNITS = {
    ("instructions", "isa"): "instructions (emulated)",
    ("instructions", "soc"): "instructions (emulated)",
    ("instructions", "silicon"): "instructions",
    ("cycles", "silicon"): "cycles",
}
"""What a device's counter may be called, by its fidelity. Anything else is not reported at all:
an emulator's cycles are its host's clock."""


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
    layers: tuple[LayerRecord, ...]
    samples: tuple[Sample, ...]
    data_digest: str
    reference_top1_min: float | None

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
        return found


@dataclass(frozen=True)
class Answer:
    """What came with one inference beside its outputs; None is not known, or means nothing."""

    count: int | None = None
    time_us: int | None = None
    retries: int = 0


class Deployment(ABC):
    """A model running on a board. A context manager; made by `Bench.deploy`.

    `result` is the last one; None until something ran. `identity` is what the firmware says of
    itself, None where it says nothing.
    """

    identity: Identity | None = None

    def __init__(
        self,
        item: Item,
        artifact: Artifact,
        oracle: Oracle,
        reference: Reference | None,
        board: Board,
        layer_samples: int,
    ) -> None:
        self.item = item
        self.artifact = artifact
        self.board = board
        self._oracle = oracle
        self._reference = reference
        self._layer_samples = layer_samples
        self.result: Result | None = None

    def __enter__(self) -> Deployment:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the board; safe to call twice."""
        self.board.close()

    @property
    def fidelity(self) -> str | None:
        """What this board's numbers mean: the device's own word, unless the board knows better. None
        when the device says nothing.
        """
        return self.board.info.fidelity if self.identity else None

    def infer(self, images: Array | Sequence[Array], labels: Array | None = None) -> Result:
        """Runs the network on every image and compares.

        Args:
            images: (N, *input shape): float32 real values, or the artifact's own integers;
                for several inputs, one such array each.
            labels: (N,) class numbers, for top-1.

        Raises:
            DataError: wrong shape or dtype, NaN or infinity.
            SilentError, LinkError, DeviceError, PortError: the device failed.
        """
        dataset = dataset_from(images, labels, self.artifact.inputs, self.item.model.preprocess)
        expected = expect(self.artifact, self._oracle, dataset, self._reference, self._layer_samples)
        return self.run(expected)

    @abstractmethod
    def run(self, expected: Expectation, progress: Progress | None = None) -> Result:
        """As `infer`, for data whose right answers are already known."""

    def memory(self) -> Memory | None:
        """Sizes, as far as they are known."""
        return None

    def wire_counts(self) -> dict[str, int]:
        """What happened on the wire so far, as one flat mapping."""
        return {}

    def notes(self) -> tuple[str, ...]:
        """What a reader must know of the last run, a sentence each."""
        return ()


class LinkedDeployment(Deployment):
    """On firmware that speaks our protocol: its identity is checked before anything runs."""

    def __init__(
        self,
        item: Item,
        artifact: Artifact,
        oracle: Oracle,
        reference: Reference | None,
        board: Board,
        image: Image | None,
        link: Link,
        layer_samples: int,
    ) -> None:
        super().__init__(item, artifact, oracle, reference, board, layer_samples)
        self.image = image
        self.link = link
        self.identity: Identity = self._check_identity()

    def close(self) -> None:
        self.link.close()
        super().close()

    def run(self, expected: Expectation, progress: Progress | None = None) -> Result:
        layers = self._check_layers(expected)
        total = expected.samples
        outputs = tuple(np.empty_like(tensor) for tensor in expected.outputs)
        replies: list[InferenceReply] = []
        payloads = (expected.payload(sample) for sample in range(total))
        for sample, reply in enumerate(self.link.infer_stream(payloads)):
            for output, tensor in zip(outputs, self._split(reply.output), strict=True):
                output[sample] = tensor
            replies.append(reply)
            if progress is not None:
                progress(sample + 1, total)
        if len(replies) != total:
            raise LinkError(f"expected {total} answers, got {len(replies)}")
        unit = self._count_unit()
        timed = self.fidelity in ("silicon", "host")
        answers = [
            Answer(
                count=reply.count if unit is not None else None,
                time_us=reply.time_us if timed else None,
                retries=reply.retries,
            )
            for reply in replies
        ]
        self.result = compare(self.artifact, expected, outputs, answers, layers, unit)
        return self.result

    def memory(self) -> Memory:
        """Sizes from the image's ELF where there is one, and the device's own high-water marks."""
        image = self.image
        device = self.link.memory() if self.link.hello.capabilities & Capability.MEMORY else None
        return Memory(
            flash_bytes=image.flash_bytes if image else None,
            text_bytes=image.text_bytes if image else None,
            rodata_bytes=image.rodata_bytes if image else None,
            ram_bytes=image.ram_bytes if image else device.static_ram_bytes if device else None,
            arena_bytes=device.arena_bytes if device else None,
            model_bytes=device.model_bytes if device else None,
            stack_bytes=device.stack_bytes if device else None,
            stack_used_bytes=device.stack_used_bytes if device else None,
        )

    def wire_counts(self) -> dict[str, int]:
        """The link's statistics so far, as one flat mapping."""
        counts = dataclasses.asdict(self.link.statistics)
        extra: dict[str, int] = counts.pop("extra")
        return {**counts, **extra}

    def _check_identity(self) -> Identity:
        remedy = (
            "Rebuild: remove the build directory and run again"
            if self.image is not None
            else f"Flash the firmware of {self.artifact.name} for {self.item.target.id} onto this board first"
        )
        identity = self.link.expect_identity(
            artifact=self.artifact.digest,
            firmware=self.image.digest if self.image else None,
            target=self.item.target.id,
            model=self.artifact.name,
            remedy=remedy,
        )
        device = self.link.describe()
        for what, mine, theirs in (
            ("inputs", self.artifact.inputs, device.inputs),
            ("outputs", self.artifact.outputs, device.outputs),
            ("layers", [layer.output for layer in self.artifact.layers], [x.output for x in device.layers]),
        ):
            ours = [(tensor.shape, tensor.dtype) for tensor in mine]
            found = [(tensor.shape, tensor.dtype) for tensor in theirs]
            if ours != found:
                raise IdentityError(f"expected {what} {ours}, the device describes {found}", remedy)
        return identity

    def _split(self, output: bytes) -> list[Array]:
        parts: list[Array] = []
        offset = 0
        for tensor in self.artifact.outputs:
            piece = output[offset : offset + tensor.size_bytes]
            parts.append(np.frombuffer(piece, dtype=tensor.dtype).reshape(tensor.shape))
            offset += tensor.size_bytes
        return parts

    def _check_layers(self, expected: Expectation) -> tuple[LayerRecord, ...]:
        """Every layer of the first samples, by digest; a layer that differs is then read whole."""
        known = self.link.hello.capabilities
        if not expected.layers or not known & Capability.LAYER_DIGESTS:
            return ()
        payloads = [expected.payload(sample) for sample in range(len(expected.layers))]
        counts: list[tuple[int, ...]] = []
        worst = [gaps.Difference(0, 0)] * len(self.artifact.layers)
        replies = list(
            self.link.infer_stream(
                payloads, layer_counts=bool(known & Capability.LAYER_COUNTS), layer_digests=True
            )
        )
        for payload, reply, tensors in zip(payloads, replies, expected.layers, strict=True):
            counts.append(reply.layer_counts)
            for index, tensor in enumerate(tensors):
                if reply.layer_digests[index] == tensor_digest(tensor):
                    continue
                raw = np.frombuffer(self.link.read_layer(payload, index), dtype=tensor.dtype)
                found = gaps.difference(raw.reshape(tensor.shape), tensor)
                worst[index] = gaps.Difference(
                    max(worst[index].max_lsb, found.max_lsb),
                    worst[index].mismatching_elements + found.mismatching_elements,
                )
        named = self._count_unit() is not None and all(counts)
        return tuple(
            LayerRecord(
                index=layer.index,
                op=layer.op,
                name=layer.output.name,
                shape=layer.output.shape,
                macs=layer.macs,
                count=int(np.median([one[layer.index] for one in counts])) if named else None,
                max_lsb=difference.max_lsb,
                mismatching_elements=difference.mismatching_elements,
            )
            for layer, difference in zip(self.artifact.layers, worst, strict=True)
        )

    def _count_unit(self) -> str | None:
        return COUNT_UNITS.get((self.identity.counter, self.identity.fidelity))


def compare(
    artifact: Artifact,
    expected: Expectation,
    outputs: Sequence[Array],
    answers: Sequence[Answer],
    layers: tuple[LayerRecord, ...] = (),
    unit: str | None = None,
) -> Result:
    """A result from the device's integers, one array (N, *shape) per output tensor, and what came with
    them; `unit` is that of the counts.
    """
    total = expected.samples
    counts = [answer.count for answer in answers]
    tensor = artifact.outputs[0]
    device = tensor.dequantise(outputs[0]).reshape(total, -1)
    oracle = tensor.dequantise(expected.outputs[0]).reshape(total, -1)
    reference = expected.reference
    distances = [
        gaps.distance_lsb(mine, theirs).reshape(total, -1)
        for mine, theirs in zip(outputs, expected.outputs, strict=True)
    ]
    distance = np.concatenate(distances, axis=1)
    several = device.shape[1] > 1
    classes = [gaps.classes(device), gaps.classes(oracle)]
    reference_class = gaps.classes(reference) if reference is not None else None
    samples = tuple(
        Sample(
            index=index,
            label=int(expected.labels[index]) if expected.labels is not None else None,
            device_class=int(classes[0][index]) if several else None,
            oracle_class=int(classes[1][index]) if several else None,
            reference_class=int(reference_class[index]) if several and reference_class is not None else None,
            max_lsb=int(distance[index].max()),
            mismatching_elements=int(np.count_nonzero(distance[index])),
            count=counts[index],
            time_us=answers[index].time_us,
            retries=answers[index].retries,
            device_scores=_floats(device[index]),
            oracle_scores=_floats(oracle[index]),
            reference_scores=_floats(reference[index]) if reference is not None else None,
        )
        for index in range(total)
    )
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
        quantisation_gap=gaps.quantisation_gap(oracle, reference, expected.reference_name)
        if reference is not None
        else None,
        accuracy=gaps.accuracy(expected.labels, device, oracle, reference),
        counts=count_statistics(counts, unit) if unit else None,
        layers=layers,
        samples=samples,
        data_digest=expected.data_digest,
        reference_top1_min=expected.reference_top1_min,
    )


def _floats(scores: NDArray[np.float32]) -> tuple[float, ...]:
    return tuple(float(score) for score in scores)
