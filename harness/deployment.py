"""One model on one board: send inputs, collect answers, compare them with what is right.

Here the device's answers meet the oracle's and the float model's, whether they come over the link or, of
other people's firmware, from its console; `result` compares them. It starts nothing and reports nothing.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType

import numpy as np

from harness.boards.base import Board
from harness.collected import Batch, Collected, Keep
from harness.errors import IdentityError, LinkError
from harness.expectation import Expectation, expect, for_task, model_task, tensor_digest
from harness.items import Item
from harness.link.client import Link
from harness.link.codec import Capability
from harness.link.messages import Identity, InferenceReply
from harness.measure import gaps
from harness.model.dataset import dataset_from
from harness.model.reference import Reference
from harness.progress import Progress
from harness.records.schema import LayerRecord, Memory, TaskStack
from harness.result import Answer, Result
from harness.runtimes.base import Array, Artifact, Oracle
from harness.runtimes.planned import PlannedArtifact
from harness.toolchains.base import Image

HANDSHAKE_S = 10.0
"""How long a device may take from its start to its first answer."""

COUNT_UNITS = {
    ("instructions", "isa"): "instructions (emulated)",
    ("instructions", "soc"): "instructions (emulated)",
    ("instructions", "silicon"): "instructions",
    ("cycles", "silicon"): "cycles",
}
"""What a device's counter may be called, by its fidelity. Anything else is not reported at all:
an emulator's cycles are its host's clock."""


class Deployment(ABC):
    """A model running on a board. A context manager; made by `Bench.deploy`.

    `result` is the last one; None until something ran. `identity` is what the firmware says of
    itself, None where it says nothing. `cold`: the next inference is the first since the device started.
    """

    identity: Identity | None = None
    cold = True

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
        task = model_task(self.item.model, self.artifact, dataset)
        expected = for_task(expected, task.name, dataset)
        return self.run(expected)

    def oracle_layers(self, inputs: Sequence[Array]) -> list[Array]:
        """What every layer must give for one inference's inputs."""
        return self._oracle.run_layers(inputs)

    @abstractmethod
    def run(
        self,
        expected: Expectation,
        progress: Progress | None = None,
        keep: Keep | None = None,
        kept: Batch | None = None,
    ) -> Result:
        """As `infer`, for data whose right answers are already known.

        Args:
            keep: told of every batch of samples before `progress` is.
            kept: the first samples' answers, from a run that was killed; they are not asked for again.
        """

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
        warmup: int = 0,
    ) -> None:
        """`warmup`: inferences between the first after the start and those that are measured."""
        super().__init__(item, artifact, oracle, reference, board, layer_samples)
        self._warmup = warmup
        self.image = image
        self.link = link
        self.identity: Identity = self._check_identity()

    def close(self) -> None:
        self.link.close()
        super().close()

    def run(
        self,
        expected: Expectation,
        progress: Progress | None = None,
        keep: Keep | None = None,
        kept: Batch | None = None,
    ) -> Result:
        before = self._warm_up(expected.payload(0))
        layers = self._check_layers(expected)
        collected = Collected(self.artifact, expected, kept, keep, progress)
        payloads = (expected.payload(sample) for sample in range(collected.number, expected.samples))
        try:
            for reply in self.link.infer_stream(payloads):
                collected.take(reply.output, self._answer(reply))
        finally:
            collected.flush()
        if not collected.complete:
            raise LinkError(f"expected {expected.samples} answers, got {collected.number}")
        self.result = collected.result(layers, self._count_unit(), before)
        return self.result

    def _warm_up(self, payload: bytes) -> list[Answer]:
        """The first inferences on this link, apart from those that are measured; none a second time."""
        number = 1 + self._warmup if self.cold else 0
        self.cold = False
        return [self._answer(reply) for reply in self.link.infer_stream([payload] * number)]

    def _answer(self, reply: InferenceReply) -> Answer:
        """Without the figures that mean nothing on this fidelity."""
        return Answer(
            count=reply.count if self._count_unit() is not None else None,
            time_us=reply.time_us if self.fidelity in ("silicon", "host") else None,
            retries=reply.retries,
        )

    def memory(self) -> Memory:
        """Sizes from the image's ELF where there is one, and the device's own high-water marks."""
        image = self.image
        flash = image.flash if image else None
        # A model in a partition of its own is constants too.
        apart = flash.model.size_bytes if flash and flash.model else 0
        plan = self.artifact.plan if isinstance(self.artifact, PlannedArtifact) else None
        device = self.link.memory() if self.link.hello.capabilities & Capability.MEMORY else None
        return Memory(
            flash_bytes=image.flash_bytes + apart if image else None,
            text_bytes=image.text_bytes if image else None,
            rodata_bytes=image.rodata_bytes + apart if image else None,
            ram_bytes=image.ram_bytes if image else device.static_ram_bytes if device else None,
            arena_bytes=device.arena_bytes if device else None,
            model_bytes=device.model_bytes if device else None,
            stack_bytes=device.stack_bytes if device else None,
            stack_used_bytes=device.stack_used_bytes if device else None,
            arena_used_bytes=device.arena_used_bytes if device else None,
            arena_planned_bytes=plan.memory.peak_bytes if plan else None,
            arena_least_bytes=plan.memory.lower_bound_bytes if plan else None,
            heap_bytes=device.heap_bytes if device else None,
            heap_low_bytes=device.heap_low_bytes if device else None,
            ram_budget_bytes=self.item.target.sram_bytes,
            flash_budget_bytes=flash.flash_bytes if flash else self.item.target.flash_bytes or None,
            tasks=tuple(TaskStack(**vars(task)) for task in device.tasks) if device else (),
        )

    def notes(self) -> tuple[str, ...]:
        offers = self.link.hello.capabilities & Capability.LAYER_DIGESTS
        if not offers or self.link.room_for_layers(counts=False, digests=True):
            return ()
        return (f"layers not compared: digests of {len(self.artifact.layers)} do not fit into one reply",)

    def wire_counts(self) -> dict[str, int]:
        """The link's statistics so far, as one flat mapping."""
        counts = dataclasses.asdict(self.link.statistics)
        extra: dict[str, int] = counts.pop("extra")
        return {**counts, **extra}

    def _check_identity(self) -> Identity:
        remedy = (
            "Rebuild: remove the build directory and run again"
            if self.image is not None
            else f"Flash the firmware of {self.artifact.name} for {self.item.target.id} onto this board "
            "first; with ESP-IDF active (. $IDF_PATH/export.sh) that is done here"
        )
        identity = self.link.expect_identity(
            artifact=self.artifact.digest,
            firmware=self.image.digest if self.image else None,
            target=self.item.target.id,
            model=self.artifact.name,
            remedy=remedy,
        )
        if identity.kernels != self.item.kernels:
            raise IdentityError(
                f"expected kernels {self.item.kernels}, the device has {identity.kernels}", remedy
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

    def _check_layers(self, expected: Expectation) -> tuple[LayerRecord, ...]:
        """Every layer of the first samples, by digest; a layer that differs is then read whole."""
        if not expected.layers or not self.link.room_for_layers(counts=False, digests=True):
            return ()
        payloads = [expected.payload(sample) for sample in range(len(expected.layers))]
        worst = [gaps.Difference(0, 0)] * len(self.artifact.layers)
        # From some 250 layers on, one reply has not room for both.
        together = self.link.room_for_layers(counts=True, digests=True)
        replies = list(self.link.infer_stream(payloads, layer_counts=together, layer_digests=True))
        counts = [reply.layer_counts for reply in replies]
        if not together and self.link.room_for_layers(counts=True, digests=False):
            counts = [reply.layer_counts for reply in self.link.infer_stream(payloads, layer_counts=True)]
        for payload, reply, tensors in zip(payloads, replies, expected.layers, strict=True):
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
        return COUNT_UNITS.get((self.identity.counter, self.board.info.fidelity))
