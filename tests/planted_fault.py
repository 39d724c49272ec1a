"""One-LSB faults in the generated C, one for each layer, and whether the harness finds each where it is.

A build has them all: the input's first byte names the layer that is to go wrong, so that one board serves a
whole network. What is read of a fault is what a user reads: `locate`'s account of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.bench import Bench
from harness.deployment import LinkedDeployment
from harness.divergence import locate
from harness.expectation import Expectation, expect
from harness.items import Item
from harness.model.dataset import dataset_from
from harness.portable.c_text import fill
from harness.records.schema import Divergence
from harness.runtimes import get_runtime
from harness.runtimes.base import Artifact, Project
from harness.runtimes.planned import PlannedArtifact
from harness.settings import settings_from

SOUND = 255
"""A first byte that arms no fault."""

_INVOKE = "const char *engine_invoke("
_LOOP = """    for (uint16_t index = 0; index < count; index++) {
        run_layer(index);
"""
_FAULTY = """    const uint8_t armed = (uint8_t)arena.bytes[input_offset[0]];
    for (uint16_t index = 0; index < count; index++) {
        run_layer(index);
        if (armed < sizeof fault_layer / sizeof fault_layer[0] && index == fault_layer[armed]) {
            /* The lowest bit of an element; of a float, of its significand. */
            arena.bytes[layer_offset[index] + fault_offset[armed]] ^= 1;
        }
"""


@dataclass(frozen=True)
class Fault:
    """`element` is a place in the flattened output of layer `layer`."""

    layer: int
    element: int


def plant(project: Project, artifact: Artifact, layers: Sequence[int], seed: int = 0) -> tuple[Fault, ...]:
    """After this, an input whose first byte is N makes the N-th of `layers` wrong in one element, by one
    LSB.
    """
    assert len(layers) < SOUND
    generator = np.random.default_rng(seed)
    outputs = [artifact.layers[layer].output for layer in layers]
    faults = tuple(
        Fault(layer, int(generator.integers(info.elements)))
        for layer, info in zip(layers, outputs, strict=True)
    )
    offsets = [
        f"{fault.element * (info.size_bytes // info.elements)}u"
        for fault, info in zip(faults, outputs, strict=True)
    ]
    tables = ["static const uint16_t fault_layer[] = {", *fill(map(str, layers)), "};"]
    tables += ["static const uint32_t fault_offset[] = {", *fill(offsets), "};", "", _INVOKE]
    source = project.directory / "model.c"
    text = source.read_text(encoding="utf-8")
    assert text.count(_INVOKE) == text.count(_LOOP) == 1
    text = text.replace(_INVOKE, "\n".join(tables)).replace(_LOOP, _FAULTY)
    source.write_text(text, encoding="utf-8")
    return faults


def bench_for(root: Path, model: str, target: str, runtime: str) -> Bench:
    """A bench of one item."""
    given = {"model": model, "runtime": runtime, "reference": "none", "samples": "4"}
    settings = settings_from(
        lambda option: given.get(option.field, option.default),
        target=target, port=None, baud=None, root=root,
    )  # fmt: skip
    return Bench(settings, reports_root=root / "reports", command="test")


def faulty(
    bench: Bench, item: Item, layers: Sequence[int] | None = None, seed: int = 0
) -> tuple[LinkedDeployment, tuple[Fault, ...]]:
    """The item on its board, with a fault in each of `layers`, or in every one."""
    artifact = bench.artifact(item)
    project = bench.project(item, artifact)
    faults = plant(project, artifact, range(len(artifact.layers)) if layers is None else layers, seed)
    image = bench.image(item, project)
    deployment = bench.deploy(item, artifact, image, bench.board(item, image))
    assert isinstance(deployment, LinkedDeployment)
    return deployment, faults


def naming(artifact: Artifact, runtime: str, first_bytes: Sequence[int]) -> Expectation:
    """Random inputs with these first bytes."""
    generator = np.random.default_rng(3)
    (info,) = artifact.inputs
    limits = np.iinfo(info.dtype)
    images = generator.integers(limits.min, limits.max, (len(first_bytes), *info.shape), info.dtype, True)
    images.reshape(len(first_bytes), -1).view(np.uint8)[:, 0] = first_bytes
    dataset = dataset_from(images, None, artifact.inputs, None)
    return expect(artifact, get_runtime(runtime).oracle(artifact), dataset, None, 0)


@dataclass(frozen=True)
class Attempt:
    """What became of a fault. `complaint`: what is wrong with the account of it, None when it is exact;
    `reaches_output`: the network's own outputs are wrong too; `inferences` are those that locating took.
    """

    fault: Fault
    complaint: str | None
    reaches_output: bool
    inferences: int


def attempts(deployment: LinkedDeployment, faults: Sequence[Fault], directory: Path) -> Iterator[Attempt]:
    """Arms each fault in turn and locates it; reproducers go to `directory`/LAYER."""
    artifact, link = deployment.artifact, deployment.link
    assert isinstance(artifact, PlannedArtifact)
    expected = naming(artifact, deployment.item.runtime, range(len(faults)))
    for sample, fault in enumerate(faults):
        before = link.infer(expected.payload(sample))
        found = locate(deployment, expected, sample, directory / str(fault.layer))
        # The link numbers its inferences.
        after = link.infer(expected.payload(sample))
        right = b"".join(tensor[sample].tobytes() for tensor in expected.outputs)
        complaint = _complaint(found, artifact, fault)
        yield Attempt(fault, complaint, before.output != right, after.inference - before.inference - 1)


def _complaint(found: Divergence | None, artifact: PlannedArtifact, fault: Fault) -> str | None:
    layer = artifact.layers[fault.layer]
    if found is None:
        return "not found"
    if (found.index, found.op, found.shape) != (layer.index, layer.op, layer.output.shape):
        return f"located in layer {found.index} {found.op} {found.shape}"
    if (found.max_lsb, found.mismatching_elements) != (1, 1):
        return f"{found.mismatching_elements} elements, {found.max_lsb} LSB"
    if int(np.ravel_multi_index(found.worst_index, found.shape)) != fault.element:
        return f"worst element {found.worst_index}, not {fault.element}"
    off = [(abs(part.low), part.elements) for part in found.histogram if part.low]
    if off != [(1, 1)]:
        return f"histogram {found.histogram}"
    if not all(part.values for part in found.inputs):
        return f"inputs {found.inputs}"
    return None
