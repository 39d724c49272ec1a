"""int16 and w8a16 of runtime espdl as generated C, 0 LSB on every layer, with sanitizers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.portable.ops.power_of_two import ShiftedSums
from harness.runtimes.espdl import Espdl, EspdlArtifact
from tests.engine_host import assert_exact
from tests.espdl_builder import EspdlBuilder
from tests.espdl_cases import CASES16, network

VARIANTS = ("c", "esp32s3", "esp32p4")
SUMS = ("Conv", "depthwise Conv", "Gemm", "MatMul")
OTHERS = tuple(op for op in CASES16 if op not in SUMS)


def load(model: EspdlBuilder, outputs: list[str], directory: Path) -> EspdlArtifact:
    path = directory / "model.espdl"
    path.write_bytes(model.build(outputs))
    return Espdl().load(path, model.variant)


@pytest.mark.parametrize(
    ("scheme", "variant"), [("int16", "c"), ("w8a16", "esp32s3"), ("int16", "esp32p4"), ("w8a16", "esp32p4")]
)
def test_sums_are_exact(scheme: str, variant: str, tmp_path: Path) -> None:
    """Sums of 32 and of 64 bits, scaled up and down, saturated at either end."""
    model, outputs = network(np.random.default_rng(VARIANTS.index(variant)), variant, SUMS, 7, scheme)
    artifact = load(model, outputs, tmp_path)
    assert artifact.scheme == scheme
    sums = [step.sums for step in artifact.plan.steps if isinstance(getattr(step, "sums", None), ShiftedSums)]
    assert {one.wide for one in sums} == {False, True}
    assert scheme != "int16" or {one.halved for one in sums if one.wide} == {False, True}
    assert max(max(one.shifts) for one in sums) > 30
    assert variant == "esp32p4" or min(min(one.shifts) for one in sums) < 0
    assert {one.weights.dtype.name for one in sums} == ({"int16"} if scheme == "int16" else {"int8", "int16"})
    assert_exact(artifact, tmp_path / "project")


@pytest.mark.parametrize("variant", VARIANTS)
def test_other_operators_are_exact(variant: str, tmp_path: Path) -> None:
    model, outputs = network(np.random.default_rng(7), variant, OTHERS, 5, "int16")
    assert_exact(load(model, outputs, tmp_path), tmp_path / "project")
