"""The first layer of a device that goes wrong: found by digests, described, kept so that it can be replayed.

Used after a runtime gap and by `harness diff-layers`. It judges nothing: that outputs differ is known
before it is asked.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.deployment import LinkedDeployment
from harness.errors import HarnessError, UnsupportedError
from harness.expectation import Expectation, tensor_digest
from harness.link.client import Link
from harness.link.codec import Capability
from harness.measure.divergence import lsb_histogram, worst_element
from harness.measure.gaps import difference
from harness.portable.plan import Plan
from harness.portable.receptive_field import receptive_field, region_text
from harness.records.schema import Divergence, InputRegion, RuntimeGap, Sample
from harness.reproducer import Reproducer
from harness.result import Result
from harness.runtimes.base import Array
from harness.runtimes.planned import PlannedArtifact

SHOWN_INPUTS = 64
FILE_NAME = "divergence.npz"


@dataclass(frozen=True)
class Found:
    """Layer `index` is the first that is wrong; `later` more are, None where not all were asked."""

    index: int
    later: int | None


def first_difference(link: Link, payload: bytes, expected: Sequence[Array], plan: Plan) -> Found | None:
    """The first layer whose output is not the expected one, or None.

    One inference where one reply has room for the digests of all layers. Else, where the outputs are wrong,
    by bisection over digests of the network's beginnings: log2(layers) inferences, and one for each layer
    that the found one reads; where they are right, one for each layer until one differs.

    Raises:
        UnsupportedError: the device gives no layers.
    """
    if link.room_for_layers(counts=False, digests=True):
        digests = link.infer(payload, layer_digests=True).layer_digests
        wrong = [
            index
            for index, (digest, tensor) in enumerate(zip(digests, expected, strict=True))
            if digest != tensor_digest(tensor)
        ]
        return Found(wrong[0], len(wrong) - 1) if wrong else None
    if not link.hello.capabilities & Capability.LAYER_TAPS:
        raise UnsupportedError("this device's firmware gives neither digests nor outputs of layers")
    known: dict[int, bool] = {}

    def differs(index: int) -> bool:
        if index not in known:
            known[index] = link.layer_digest(payload, index) != tensor_digest(expected[index])
        return known[index]

    index = bisect(plan, differs)
    if index is None:
        index = next((each for each in range(len(expected)) if differs(each)), None)
    return None if index is None else Found(index, None)


def bisect(plan: Plan, differs: Callable[[int], bool]) -> int | None:
    """A layer that differs though every layer it reads is right; None when the outputs are.

    A wrong layer may leave later ones right (a pool drops it, a branch goes round it), so that the
    bisection alone could name a layer that was given wrong inputs; those are asked last.
    """
    writer = {tensor.index: step.index for step in plan.steps for tensor in step.writes}
    ends = [writer[tensor] for tensor in plan.graph.outputs if tensor in writer and differs(writer[tensor])]
    if not ends:
        return None
    low, high = 0, min(ends)
    while low < high:
        middle = (low + high) // 2
        if differs(middle):
            high = middle
        else:
            low = middle + 1
    while wrong := [
        writer[tensor.index]
        for tensor in plan.steps[high].reads
        if tensor.index in writer and differs(writer[tensor.index])
    ]:
        high = min(wrong)
    return high


def suspects(gap: RuntimeGap, samples: Sequence[Sample]) -> list[int]:
    """The samples to look at until a wrong layer is found: the first whose outputs differ, then, where
    layers differed, those whose layers were compared; none when the gap is exact.
    """
    wrong = [sample.index for sample in samples if sample.mismatching_elements][:1]
    checked = range(gap.layer_samples) if gap.mismatching_layers else ()
    return list(dict.fromkeys([*wrong, *checked]))


def search(
    deployment: LinkedDeployment, expected: Expectation, result: Result, directory: Path
) -> tuple[Divergence | None, str | None]:
    """The first wrong layer where something is wrong, or a note on why none is named.

    Not to find it is no second failure: no error of the device or of the link leaves here.
    """
    samples = suspects(result.runtime_gap, result.samples)
    try:
        located = (locate(deployment, expected, sample, directory) for sample in samples)
        found = next((one for one in located if one is not None), None)
    except HarnessError as error:
        return None, f"the first layer that differs was not found: {error}"
    if samples and found is None:
        again = f"sample {samples[0]}, run again, is right in every layer"
        return None, f"{again}: the device does not repeat itself"
    return found, None


def locate(
    deployment: LinkedDeployment, expected: Expectation, sample: int, directory: Path
) -> Divergence | None:
    """Runs sample `sample` again and describes the first layer that is wrong; writes a reproducer.

    None when every layer is right this time.

    Args:
        directory: where the reproducer goes, `FILE_NAME`; made if absent.

    Raises:
        UnsupportedError: the device gives no layers.
        OutputError: the reproducer cannot be written.
        SilentError, LinkError, DeviceError, PortError: the device failed.
    """
    artifact = deployment.artifact
    assert isinstance(artifact, PlannedArtifact), "every runtime has a plan"
    payload, plan = expected.payload(sample), artifact.plan
    inputs = [tensor[sample] for tensor in expected.inputs]
    layers = deployment.oracle_layers(inputs)
    found = first_difference(deployment.link, payload, layers, plan)
    if found is None:
        return None
    step, oracle = plan.steps[found.index], layers[found.index]
    raw = deployment.link.read_layer(payload, found.index)
    device = np.frombuffer(raw, oracle.dtype).reshape(oracle.shape)
    # A layer's first output is what a tap gives; the inputs are right, so the oracle's are the device's.
    known = dict(zip(plan.graph.inputs, inputs, strict=True))
    known |= {each.writes[0].index: layer for each, layer in zip(plan.steps, layers, strict=True)}
    reads = {tensor.index: known.get(tensor.index) for tensor in step.reads}
    worst, wrong = worst_element(device, oracle), difference(device, oracle)
    if not wrong.mismatching_elements:
        return None  # right this time, or -0.0 for 0.0
    regions = []
    for tensor, region in zip(step.reads, receptive_field(step, worst.index), strict=True):
        values = reads[tensor.index]
        part = None if values is None else values.reshape(tensor.info.shape)[region].reshape(-1)
        regions.append(
            InputRegion(
                name=tensor.info.name,
                region=region_text(region, tensor.info.shape),
                elements=0 if part is None else part.size,
                values=() if part is None else tuple(float(value) for value in part[:SHOWN_INPUTS]),
            )
        )
    kept = _keep(deployment, found.index, sample, list(reads.values()), oracle, device, directory / FILE_NAME)
    return Divergence(
        sample=sample,
        index=found.index,
        op=step.op,
        name=step.writes[0].info.name,
        shape=oracle.shape,
        dtype=oracle.dtype.name,
        max_lsb=wrong.max_lsb,
        mismatching_elements=wrong.mismatching_elements,
        elements=oracle.size,
        histogram=lsb_histogram(device, oracle),
        worst_index=worst.index,
        worst_device=worst.device,
        worst_oracle=worst.oracle,
        inputs=tuple(regions),
        later=found.later,
        reproducer=FILE_NAME if kept else None,
        command=f"harness diff-layers {os.path.relpath(kept)}" if kept else None,
    )


def _keep(
    deployment: LinkedDeployment,
    index: int,
    sample: int,
    reads: Sequence[Array | None],
    oracle: Array,
    device: Array,
    path: Path,
) -> Path | None:
    """None where an input is the second output of a layer, which nothing gives."""
    values = [value for value in reads if value is not None]
    if len(values) != len(reads):
        return None
    artifact, item = deployment.artifact, deployment.item
    Reproducer(
        model=artifact.data,
        name=artifact.name,
        runtime=item.runtime,
        target=item.target.id,
        layer=index,
        sample=sample,
        inputs=tuple(values),
        oracle=oracle,
        device=device,
    ).save(path)
    return path
