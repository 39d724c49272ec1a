"""What a correct device must answer for given data: computed once per artifact, compared many times.

Knows models, oracles and float references; knows nothing of boards or links.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.model.dataset import Dataset
from harness.model.reference import Reference
from harness.model.spec import ModelSpec
from harness.model.task import CLASSIFICATION, RECONSTRUCTION, Task, task_of
from harness.runtimes.base import Array, Artifact, Oracle


@dataclass(frozen=True)
class Expectation:
    """One artifact's integers for one dataset.

    `inputs` and `outputs` hold one array per tensor, samples first: (N, *shape).
    `layers` holds, for the first samples only, every layer's output.
    `reference` is the float model's first output, (N, elements), or None. `reference_top1_min`
    is what model.toml promises of it, set only for the whole of the model's own test set. `task` is one of
    `harness.model.task`; for a reconstruction `real` are the real values of the first input. `recordings` as
    in `Dataset`.
    """

    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]
    layers: tuple[tuple[Array, ...], ...]
    reference: NDArray[np.float32] | None
    reference_name: str
    labels: NDArray[np.int64] | None
    data_source: str
    data_digest: str
    reference_top1_min: float | None = None
    task: str = CLASSIFICATION
    real: NDArray[np.float32] | None = None
    recordings: NDArray[np.int64] | None = None

    @property
    def samples(self) -> int:
        return len(self.inputs[0])

    def payload(self, sample: int) -> bytes:
        """The input bytes of one inference as they travel: all inputs in order, no padding."""
        return b"".join(np.ascontiguousarray(tensor[sample]).tobytes() for tensor in self.inputs)


def expect(
    artifact: Artifact, oracle: Oracle, dataset: Dataset, reference: Reference | None, layer_samples: int
) -> Expectation:
    """Runs oracle and reference over the data; every layer for the first `layer_samples`."""
    inputs = dataset.quantised()
    samples = len(inputs[0])
    each = [[tensor[sample] for tensor in inputs] for sample in range(samples)]
    runs = [oracle.run(one) for one in each]
    outputs = tuple(np.stack([run[index] for run in runs]) for index in range(len(artifact.outputs)))
    layers = tuple(tuple(oracle.run_layers(one)) for one in each[:layer_samples])
    scores = None
    if reference is not None:
        scores = reference.run(dataset.real(), like=artifact.outputs[0].shape).reshape(samples, -1)
    return Expectation(
        inputs=tuple(inputs),
        outputs=outputs,
        layers=layers,
        reference=scores,
        reference_name=reference.name if reference is not None else "none",
        labels=dataset.labels,
        data_source=dataset.source,
        data_digest=dataset.digest,
    )


def for_task(expected: Expectation, task: str, dataset: Dataset) -> Expectation:
    """With what a network of this task is compared by."""
    real = dataset.real()[0] if task == RECONSTRUCTION else None
    return dataclasses.replace(expected, task=task, real=real, recordings=dataset.recordings)


def model_task(model: ModelSpec, artifact: Artifact, dataset: Dataset) -> Task:
    """What a model is for, by its declaration, else its data and shapes."""
    return task_of(model.task, model.classes, dataset.labels, artifact.inputs[0], artifact.outputs[0])


def tensor_digest(tensor: Array) -> bytes:
    """The 8-byte digest a device gives of a tensor's bytes (docs/protocol.md, Digests)."""
    return hashlib.blake2s(np.ascontiguousarray(tensor).tobytes(), digest_size=8).digest()
